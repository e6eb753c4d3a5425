"""Fixes that take words out: forbidden words, and keywords or letters that may not come up so often.

A word is replaced by a synonym in the same form, or by what its sentence says without it; dropped where the sentence stays
one; or, where it is a noun, replaced by one that says little. Sentences in which nothing of that fits go, unless most of the text would.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from spar.rewrite.changes import Change, changed
from spar.rewrite.cuts import cut_sentences
from spar.rewrite.edits import Arguments, CannotFix, Context, Edit, body
from spar.rewrite.english.capitals import as_sentence_start
from spar.rewrite.english.function_words import reformulations
from spar.rewrite.english.inflection import cased_like, with_article
from spar.rewrite.english.parts_of_speech import WORD, begins_sentence, is_name, is_part
from spar.rewrite.english.substitutes import can_be_dropped, neutral_nouns, synonyms
from spar.rewrite.layout import (
    Span,
    finditer_outside_code,
    is_protected,
    outside_code,
    sentences,
)

MOST_REMOVED = 0.6
"""Share of a response's words that may be cut for the sake of a word or a letter."""
MOST_NAMED = 3
"""Words that a summary lists; of more it gives the number."""
MOST_LETTER_WORDS = 12
"""Words that are replaced for the sake of a letter; beyond that whole sentences go."""


def forbidden_words(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Replace or remove every forbidden word."""
    words = [str(word) for word in arguments["forbidden_words"]]
    pattern = _pattern(rf"\b(?:{'|'.join(words)})\b")
    found = [match.span() for match in finditer_outside_code(pattern, text)]
    if not found:
        raise CannotFix("its code has the word")
    whole = sorted({_with_contraction(text, span) for span in found})
    yield from _removals(text, whole, pattern, context)


def keyword_less_often(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Replace or remove a keyword where it comes up too often; which of its places is drawn."""
    pattern = _pattern(str(arguments["keyword"]).strip())
    found = [match.span() for match in finditer_outside_code(pattern, text)]
    surplus = len(pattern.findall(text)) - int(arguments["frequency"]) + 1
    if not 0 < surplus <= len(found):
        raise CannotFix("its code has the word")
    whole = sorted({_whole_word(text, span) for span in found})
    context.rng.shuffle(whole)
    whole.sort(key=lambda span: not _options(text, span, pattern, context))
    chosen = sorted(whole[:surplus])
    yield from _removals(text, chosen, pattern, context)
    if len(chosen) < len(whole):
        yield from _removals(text, sorted(whole), pattern, context)


def letter_less_often(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Replace words with the letter, or cut sentences that have it."""
    letter = str(arguments["letter"]).lower()
    surplus = text.lower().count(letter) - int(arguments["let_frequency"]) + 1
    spans = [m.span() for a, b in outside_code(text) for m in WORD.finditer(text, a, b)]
    words = [span for span in spans if letter in text[slice(*span)].lower()]
    context.rng.shuffle(words)
    words.sort(key=lambda span: -text[slice(*span)].lower().count(letter))
    pattern = re.compile(re.escape(letter), re.IGNORECASE)
    chosen: list[Span] = []
    for span in words:
        if surplus > 0 and _options(text, span, pattern, context, neutral=False):
            chosen.append(span)
            surplus -= text[slice(*span)].lower().count(letter)
    if surplus <= 0 and 0 < len(chosen) <= MOST_LETTER_WORDS:
        yield from _removals(text, sorted(chosen), pattern, context, cut=False)
    yield _cut_letter(text, letter, int(arguments["let_frequency"]), context)


def _cut_letter(text: str, letter: str, frequency: int, context: Context) -> Edit:
    """Cut the sentences with most of the letter for their length until few enough are left."""
    free = sentences(text, body(text, context))
    surplus = text.lower().count(letter) - frequency + 1

    def count(span: Span) -> int:
        return text[slice(*span)].lower().count(letter)

    # Ties, and small differences, are drawn.
    order = sorted(free, key=lambda s: -count(s) / (s[1] - s[0]) * context.rng.uniform(0.8, 1.2))
    chosen: list[Span] = []
    for span in order:
        if surplus > 0 and count(span):
            chosen.append(span)
            surplus -= count(span)
    for span in sorted(chosen, key=count):  # what was taken before a larger one may not be needed
        if surplus + count(span) <= 0:
            chosen.remove(span)
            surplus += count(span)
    return _without(text, chosen)


def _removals(
    text: str,
    spans: Sequence[Span],
    pattern: re.Pattern[str],
    context: Context,
    *,
    cut: bool = True,
) -> Iterator[Edit]:
    """Edits that take the words at these places out: word by word, and by sentence where no other word fits."""
    changes = _apart([_options(text, span, pattern, context) for span in spans])
    stuck = [span for span, change in zip(spans, changes, strict=True) if change is None]
    chosen = [change for change in changes if change is not None]
    if not stuck:
        yield Edit(changed(text, chosen), f"replaced or left out {_named(text, spans)}")
    if not cut:
        return
    free = sentences(text, body(text, context))
    removed = {_sentence_of(free, span) for span in stuck}
    if None in removed:
        raise CannotFix("no other word fits in every place")
    elsewhere = [each for each in chosen if _sentence_of(free, each[:2]) not in removed]
    if removed and elsewhere:
        gone = sorted(filter(None, removed))
        left = [span for span in spans if _sentence_of(free, span) not in removed]
        summary = f"replaced or left out {_named(text, left)} and {_without(text, gone).summary}"
        moved = [_moved(sentence, elsewhere) for sentence in gone]
        yield Edit(cut_sentences(changed(text, elsewhere), moved), summary)
    every = {_sentence_of(free, span) for span in spans}
    if every != {None}:
        yield _without(text, sorted(filter(None, every)))


def _sentence_of(free: Sequence[Span], span: Span) -> Span | None:
    """The sentence in which a place lies, None where that is none of those that may be cut."""
    place = bisect_right(free, (span[0], sys.maxsize)) - 1
    return free[place] if place >= 0 and span[1] <= free[place][1] else None


def _moved(span: Span, changes: Sequence[Change]) -> Span:
    """Where a part of a text stands after changes elsewhere."""
    shift = sum(len(new) - (stop - start) for start, stop, new in changes if stop <= span[0])
    return span[0] + shift, span[1] + shift


def _apart(options: Sequence[Sequence[Change]]) -> list[Change | None]:
    """The first choice for each place that touches no earlier change, None where there is none."""
    chosen: list[Change | None] = []
    end = -1
    for choices in options:
        change = next((choice for choice in choices if choice[0] >= end), None)
        end = change[1] if change else end
        chosen.append(change)
    return chosen


def _named(text: str, spans: Sequence[Span]) -> str:
    """The words at these places, or their number where they are many."""
    words = [f'"{word}"' for word in dict.fromkeys(text[slice(*span)].lower() for span in spans)]
    return " and ".join(words) if len(words) <= MOST_NAMED else f"{len(spans)} words"


def _without(text: str, removed: Sequence[Span]) -> Edit:
    shorter = cut_sentences(text, removed)
    left, before = len(WORD.findall(shorter)), len(WORD.findall(text))
    if not left or left < (1 - MOST_REMOVED) * before:
        raise CannotFix("most of the text would have to go")
    cut = "a sentence" if len(removed) == 1 else f"{len(removed)} sentences"
    return Edit(shorter, f"cut {cut}")


def _options(
    text: str, span: Span, pattern: re.Pattern[str], context: Context, *, neutral: bool = True
) -> list[Change]:
    """What can be written at a place: drawn synonyms, the sentence without the word, a noun that says little."""
    word = text[slice(*span)]
    if is_protected(text, *span) or is_part(text, span):
        return []
    changes: list[Change] = []
    is_proper = is_name(text, span)
    rewordings = None if is_proper else reformulations(text, span)
    if rewordings is not None:
        most = len(pattern.findall(text[slice(*span)]))
        for start, stop, new in rewordings:
            surplus = len(pattern.findall(new)) - len(pattern.findall(text[start:stop])) + most
            if surplus <= 0:
                changes.append(with_article(text, (start, stop, context.cased(new))))
    elif not is_proper:
        changes += [
            _substitution(text, span, context.cased(choice))
            for choice in synonyms(text, span)
            if not pattern.search(choice)
        ]
    if can_be_dropped(text, span):
        changes.append(_substitution(text, span, ""))
    context.rng.shuffle(changes)
    if neutral and rewordings is None:
        for other in neutral_nouns(text, span):
            is_cased = word.isupper() or begins_sentence(text, span[0])
            choice = context.cased(cased_like(other, word) if is_cased else other)
            if not pattern.search(choice):
                changes.append(_substitution(text, span, choice))
    return changes


def _substitution(text: str, span: Span, choice: str) -> Change:
    """What to put where for a choice: with the right article, without a double space, with a capital at the start."""
    start, stop = span
    if not choice:
        is_first = text[start].isupper() and begins_sentence(text, start)
        if text[stop : stop + 1] == " " or (text[stop : stop + 2] == ", " and is_first):
            stop += 1 + (text[stop] == ",")
            if is_first and text[stop : stop + 1].islower():
                choice, stop = as_sentence_start(text[stop : stop + 40])[0], stop + 1
        elif text[:start].endswith(" "):
            start -= 1
    return with_article(text, (start, stop, choice))


def _with_contraction(text: str, span: Span) -> Span:
    """The span with a "'t" or "'ll" after it; not with a possessive "'s"."""
    contraction = re.compile(r"['’](?:t|re|ll|ve|d|m)\b", re.IGNORECASE).match(text, span[1])
    return (span[0], contraction.end()) if contraction else span


def _whole_word(text: str, span: Span) -> Span:
    """The span grown to the words that it touches."""
    start, end = span
    while start and (text[start - 1].isalnum() or text[start - 1] in "'’"):
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return start, end


def _pattern(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression, re.IGNORECASE)
    except re.error as error:
        raise CannotFix(f"{expression!r} is no pattern") from error
