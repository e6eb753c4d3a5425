"""The fix of `quality:no_repetition`: leave out what was said before.

The sky is blue. It is clear. The sky is blue. It is clear. The sky -> The sky is blue. It is clear.

A sentence goes if the text has it already, if it is the beginning of one that it has, as where a model was stopped in the
middle of a loop, or if most of its word 4-grams occurred before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from spar.repetition import N
from spar.rewrite.cuts import cut_sentences
from spar.rewrite.edits import Arguments, CannotFix, Context, Edit, body
from spar.rewrite.layout import Span, sentences

_WORD = re.compile(r"\w+")
_SHARES = (1.0, 0.5)
"""Shares of a sentence's word 4-grams that occurred before from which on it goes, the more careful one first."""


def no_repetition(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Leave out sentences that say again what the text said."""
    free = sentences(text, body(text, context))
    seen: list[Span] = []
    for share in _SHARES:
        said_again = _said_again(text, free, share)
        if not said_again or said_again == seen:
            continue
        seen = said_again
        shorter = cut_sentences(text, said_again)
        count = len(said_again)
        again = "a sentence" if count == 1 else f"{count} sentences"
        yield Edit(shorter, f"left out {again} that the text had before")
    if not seen:
        raise CannotFix("it repeats itself within a sentence, or in what is no sentence")


def _said_again(text: str, spans: Sequence[Span], share: float) -> list[Span]:
    """The sentences of which at least that share was said before, in the text or in the sentence itself."""
    seen_grams: set[tuple[str, ...]] = set()
    seen: set[tuple[str, ...]] = set()
    again = []
    for start, end in spans:
        words = tuple(_WORD.findall(text[start:end].lower()))
        grams = [words[i : i + N] for i in range(len(words) - N + 1)]
        num_seen = len(grams) - len(set(grams) - seen_grams)
        is_last = bool(words) and (start, end) == spans[-1]
        is_seen = words in seen or (is_last and any(_is_start(words, each) for each in seen))
        if words and seen and (is_seen or (grams and num_seen >= share * len(grams))):
            again.append((start, end))
        else:
            seen.add(words)
            seen_grams.update(grams)
    return again


def _is_start(words: tuple[str, ...], sentence: tuple[str, ...]) -> bool:
    """Whether words are the beginning of a sentence, the last one being perhaps cut."""
    *whole, last = words
    index = len(whole)
    return (
        len(sentence) > index and [*sentence[:index]] == whole and sentence[index].startswith(last)
    )
