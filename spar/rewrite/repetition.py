"""The fix of `quality:no_repetition`: leave out what was said before.

The sky is blue. It is clear. The sky is blue. It is clear. The sky -> The sky is blue. It is clear.
The sky is blue and the sky is blue and the sky is -> The sky is blue.

A sentence goes if the text has it already, if it is the beginning of one that it has, as where a model was stopped in the
middle of a loop, or if most of its word 4-grams occurred before. One that loops in itself is cut to where it first repeats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from spar.repetition import MOST, UNSPACED, N
from spar.rewrite.changes import Change
from spar.rewrite.cuts import cut_sentences
from spar.rewrite.edits import Arguments, CannotFix, Context, Edit, body
from spar.rewrite.guards import unclosed
from spar.rewrite.layout import Span, is_protected, sentences

_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_STOP = re.compile(r"[.!?…。！？]*[\"'”’)\]*_」』]*\Z")
_NO_LAST_WORD = frozenset(
    "a an the and or but so then that which who because if when while as of to in on at with for from by into is are was "
    "were very really more too i he she it we they".split()
)
"""Words that a sentence does not end with."""
_SHARES = (1.0, 0.5)
"""Shares of a sentence's word 4-grams that occurred before from which on it goes, the more careful one first."""
LEAST_WORDS = 3
"""Words that have to be left of a sentence that loops in itself; of fewer it is none."""

_Words = tuple[str, ...]


def no_repetition(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Leave out sentences that say again what the text said, and the loops within the others."""
    free = sentences(text, body(text, context))
    before: tuple[list[Span], list[Change]] = [], []
    for share in _SHARES:
        said_again, loops = _said_again(text, free, share)
        if (said_again, loops) in (([], []), before):
            continue
        before = said_again, loops
        count = len(said_again)
        again = "a sentence" if count == 1 else f"{count} sentences"
        done = [f"left out {again} that the text had before"] if said_again else []
        done += ["left out what a sentence repeats"] if loops else []
        yield Edit(_without(text, said_again, loops), " and ".join(done))
    if before == ([], []):
        raise CannotFix("it repeats itself within a sentence, or in what is no sentence")


def _said_again(text: str, spans: Sequence[Span], share: float) -> tuple[list[Span], list[Change]]:
    """The sentences of which at least that share was said before, and the changes of those that loop in themselves."""
    seen_grams: set[_Words] = set()
    seen: set[_Words] = set()
    again, loops = [], []
    for start, end in spans:
        words = _words(text[start:end])
        loop = _loop(text, start, end)
        if loop is not None:
            words = _words(text[start : loop[0]] + loop[2] + text[loop[1] : end])
        grams = _grams(words)
        num_seen = len(grams) - len(set(grams) - seen_grams)
        is_last = bool(words) and (start, end) == spans[-1]
        is_seen = words in seen or (is_last and any(_is_start(words, each) for each in seen))
        if words and seen and (is_seen or (grams and num_seen >= share * len(grams))):
            again.append((start, end))
            continue
        seen.add(words)
        seen_grams.update(grams)
        if loop is not None:
            loops.append(loop)
    return again, loops


def _loop(text: str, start: int, end: int) -> Change | None:
    """What to leave out of a sentence most of which repeats its own beginning; None where that leaves no sentence."""
    found = [*_WORD.finditer(text, start, end)]
    words = tuple(match.group().lower() for match in found)
    grams = _grams(words)
    if len(grams) - len(set(grams)) <= MOST * len(grams):
        return None
    first: dict[_Words, int] = {}
    repeated = [at for at, gram in enumerate(grams) if first.setdefault(gram, at) != at]
    stop, again = repeated[-1] + N, first[grams[repeated[-1]]] + N
    goes_on = stop < len(words) and not _is_start(words[stop:], words[again:])
    if goes_on and all(b == a + 1 for a, b in pairwise(repeated)):
        change = found[repeated[0]].start(), found[stop].start(), ""
    else:
        last = repeated[0]
        while last and words[last - 1] in _NO_LAST_WORD:
            last -= 1
        if last < LEAST_WORDS:
            return None
        match = _STOP.search(text, start, end)
        tail = match.group() if match else ""
        if not tail and text[start].isupper():
            tail = "."
        if not tail and re.match(f"[{UNSPACED}]", text[start]):
            tail = "。"
        change = found[last - 1].end(), end, tail
    left = text[start : change[0]] + change[2] + text[change[1] : end]
    if unclosed(left) > unclosed(text[start:end]) or is_protected(text, *change[:2]):
        return None
    return change


def _without(text: str, said_again: Sequence[Span], loops: Sequence[Change]) -> str:
    """The text with its loops changed and without the other sentences."""
    changed, gone = text, [*said_again]
    for start, end, new in reversed(loops):
        changed = changed[:start] + new + changed[end:]
        shift = len(new) - (end - start)
        gone = [(a + shift, b + shift) if a >= end else (a, b) for a, b in gone]
    return cut_sentences(changed, gone)


def _words(text: str) -> _Words:
    return tuple(_WORD.findall(text.lower()))


def _grams(words: _Words) -> list[_Words]:
    return [words[i : i + N] for i in range(len(words) - N + 1)]


def _is_start(words: _Words, sentence: _Words) -> bool:
    """Whether words are the beginning of a sentence, the last one being perhaps cut."""
    *whole, last = words
    index = len(whole)
    return (
        len(sentence) > index and [*sentence[:index]] == whole and sentence[index].startswith(last)
    )
