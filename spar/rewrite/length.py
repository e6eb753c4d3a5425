"""Fixes of length: cut at the end of a sentence, split and join sentences. Nothing is written to make a text longer."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

from spar.instruction_checks import count_words
from spar.rewrite.cuts import cut_sentences
from spar.rewrite.edits import Arguments, CannotFix, Context, Edit, body
from spar.rewrite.english.capitals import as_sentence_rest, as_sentence_start
from spar.rewrite.english.joints import joints
from spar.rewrite.english.substitutes import can_be_dropped
from spar.rewrite.guards import unclosed
from spar.rewrite.layout import Span, lines, outside_code, sentences

_CLAUSE = re.compile(r"[,;:](?=\s)|[ ]+(?:-|–|—)(?=[ ])")
_STOP = re.compile(r"[.!?…]+(?=[\"'”’)\]*_]*\Z)")
_BETWEEN = re.compile(r"(?<=[ ])\w+(?=[ .!?])")
MOST_JOINED = 3
"""Sentences that are joined rather than cut."""


def fewer_words(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Cut whole sentences, few words more than needed: those at the end, or drawn ones of the right length."""
    surplus = count_words(text) - int(arguments["num_words"]) + 1
    free = sentences(text, body(text, context))
    lengths = {span: count_words(text[slice(*span)]) for span in free}
    cuts = _cuts(free, lengths, surplus, context)
    for cut in cuts:
        yield _cut(text, cut)
    if not cuts or len(free) == 1:
        yield from _within_sentence(text, free, surplus, context)


def _cuts(
    free: Sequence[Span], lengths: dict[Span, int], surplus: int, context: Context
) -> list[list[Span]]:
    """Sets of sentences that are long enough together, near the shortest of them in a drawn order."""
    if sum(lengths.values()) - surplus < 1 or len(free) < 2:
        return []
    options: list[list[Span]] = []
    for last in range(len(free), 1, -1):  # runs that end with sentence `last`
        run, total, index = [], 0, last
        while total < surplus and index > 1:  # the first sentence stays
            index -= 1
            run.append(free[index])
            total += lengths[free[index]]
        if total >= surplus:
            options.append(run[::-1])
    options += [[span] for span in free[1:] if lengths[span] >= surplus]

    def cost(option: list[Span]) -> int:
        return sum(lengths[span] for span in option)

    options.sort(key=cost)
    near = [option for option in options if cost(option) <= 1.25 * cost(options[0]) + 2]
    context.rng.shuffle(near)
    rest = [option for option in options if option not in near[:8]]
    return [*near[:4], *rest[:4]]


def _within_sentence(
    text: str, free: Sequence[Span], surplus: int, context: Context
) -> Iterator[Edit]:
    """Cut the last sentence at the end of a clause."""
    if not free:
        raise CannotFix("it has no sentence that could be cut")
    start, end = free[-1]
    ends = [m.start() for m in _CLAUSE.finditer(text, start, end)]
    last = _STOP.search(text, start, end)
    for clause in reversed(ends):
        left = text[start:clause]
        if (
            count_words(text[clause:end]) >= surplus
            and count_words(left) >= 3
            and unclosed(left) <= unclosed(text[start:end])
        ):
            stop = last.group() if last else ""
            yield Edit(text[:clause] + stop + text[end:], "cut the end of a sentence")
            return
    raise CannotFix("no sentence or clause ends before the limit")


def more_words(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Never: a program has nothing to say."""
    raise CannotFix(f"the text has {count_words(text)} words, and a program cannot invent more")
    yield


def exact_words(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Leave out adverbs, then sentences, where the text is too long."""
    surplus = count_words(text) - int(arguments["num_words"])
    if surplus < 0:
        yield from more_words(text, arguments, context)
    words = [m.span() for a, b in outside_code(text) for m in _BETWEEN.finditer(text, a, b)]
    free = [span for span in words if text[slice(*span)].islower() and can_be_dropped(text, span)]
    context.rng.shuffle(free)
    if 0 < surplus <= len(free):
        shorter = text
        for start, end in sorted(free[:surplus], reverse=True):
            shorter = shorter[: start - 1] + shorter[end:]
        yield Edit(shorter, f"left out {surplus} word{'s' * (surplus > 1)}")
    spans = sentences(text, body(text, context))
    for span in spans:
        if count_words(text[slice(*span)]) == surplus and len(spans) > 1:
            yield _cut(text, [span])


def fewer_sentences(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Join two or three sentences, or cut the last ones."""
    bound = int(arguments["num_sentences"])
    surplus = max(1, context.num_sentences(text) - bound + 1)
    free = sentences(text, body(text, context))
    if bound < 2:
        raise CannotFix(f"no text has less than {bound} sentences")
    joined = (_joined(text, free, surplus + extra, context) for extra in range(2))
    backs = (context.rng.choice((0, 0, 1)), 0)
    cut = (_cut_last(text, free, bound, back=back, context=context) for back in backs)
    for edit in chain(joined, cut) if surplus <= MOST_JOINED else chain(cut, joined):
        if edit is not None:
            yield edit


def _joined(text: str, free: Sequence[Span], number: int, context: Context) -> Edit | None:
    """Put a semicolon between neighbouring sentences of one line; which ones is drawn."""
    places = [
        (left, right)
        for left, right in pairwise(free)
        if text[left[1] - 1] == "."
        and not text[left[1] : right[0]].strip(" ")
        and right[1] - right[0] > 3
    ]
    if len(places) < number:
        return None
    # Where the capital may be a name's, it stays, and reads worse if it is none.
    sure = [place for place in places if as_sentence_rest(text, place[1][0]) != text[place[1][0]]]
    for left, right in sorted(
        context.rng.sample(sure if len(sure) >= number else places, number), reverse=True
    ):
        head = as_sentence_rest(text, right[0])
        text = f"{text[: left[1] - 1]};{text[left[1] : right[0]]}{head}{text[right[0] + 1 :]}"
    return Edit(text, "joined two sentences" if number == 1 else f"joined {number + 1} sentences")


def _cut_last(
    text: str, free: Sequence[Span], bound: int, *, back: int, context: Context
) -> Edit | None:
    """Cut as many of the last sentences as it takes, or so many that end `back` sentences before the last."""
    end = len(free) - back

    def is_short(number: int) -> bool:
        return context.num_sentences(cut_sentences(text, free[end - number : end])) < bound

    # Lines without a stop count together, so how many must go is found by trying.
    numbers = range(1, end)
    place = bisect_left(numbers, True, key=is_short)
    return _cut(text, free[end - numbers[place] : end]) if place < len(numbers) else None


def more_sentences(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """End lines that have no stop with one, and split sentences at semicolons and before "and", "but" and "so"."""
    missing = int(arguments["num_sentences"]) - context.num_sentences(text)
    start, end = body(text, context)
    places = [(*joint, ".") for joint in joints(text)]
    for line in lines(text):
        if (
            line.sentences
            and line.sentences[-1][1] < end
            and text[line.sentences[-1][1] - 1].isalnum()
        ):
            places.append((line.sentences[-1][1], line.sentences[-1][1], "."))
    places = [place for place in places if start < place[0] and place[1] < end]
    context.rng.shuffle(places)
    is_lower = context.arguments("change_case:english_lowercase") is not None
    if len(places) < missing:
        raise CannotFix(
            f"it has {context.num_sentences(text)} sentences, and only {len(places)} places to split one at"
        )
    for number in range(max(1, missing), min(len(places), missing + 4) + 1):
        split = text
        for a, b, stop in sorted(places[:number], reverse=True):
            following = split[b:]
            if following[:1].isspace() and not is_lower:
                following = as_sentence_start(following)
            split = split[:a] + stop + following
        yield Edit(split, f"split {number} sentence{'s' * (number > 1)}")


def _cut(text: str, removed: Sequence[Span]) -> Edit:
    cut = "a sentence" if len(removed) == 1 else f"{len(removed)} sentences"
    return Edit(cut_sentences(text, removed), f"cut {cut}")
