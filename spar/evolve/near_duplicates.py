"""Texts that are nearly the same, found without comparing all with all.

Two texts are as similar as the sets of their three-word runs: |both| / |either| (Jaccard). With a threshold
t, two sets of which one has n elements can only reach it if they share one of the n - ceil(t n) + 1 first ones in any
order that is the same for all sets (prefix filtering; Chaudhuri, Ganti and Kaushik 2006). Rarest first, those
are hardly shared by anybody else, so that few pairs are ever compared; none that counts is missed.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

RUN = 3
"""Words a run; a shorter text is one run."""
SIMILARITY = 0.7
"""Texts are nearly the same from here on: of 30 words one may be another (0.81), two may not (0.65)."""
_BUCKETS = 1 << 22
_BITS = 21


@dataclass(frozen=True, slots=True)
class Match:
    """A text that is nearly the one asked about."""

    number: int
    """Of the text, in the order in which they were added."""
    similarity: float
    new: int
    """Runs of the text asked about that this one has not."""
    missing: int
    """Runs of this one that the text asked about has not."""


class NearTexts:
    """Texts, as words, that can be asked which of them are nearly a given one.

    Parameters
    ----------
    corpus:
        Texts that show how rare runs are, best all that will be added or asked about. What is found does
        not hang on them, only how soon.
    """

    def __init__(self, corpus: Iterable[Sequence[str]]) -> None:
        self._numbers: dict[str, int] = {}
        self._counts = array("L", bytes(array("L").itemsize * _BUCKETS))
        self._texts: list[array[int]] = []
        self._holders: dict[int, list[int]] = defaultdict(list)
        for words in corpus:
            for run in self._runs(words):
                self._counts[run % _BUCKETS] += 1

    def add(self, words: Sequence[str]) -> int:
        """Add a text; its number."""
        runs = self._sorted(words)
        number = len(self._texts)
        self._texts.append(array("q", runs))
        for run in runs[: _prefix(len(runs))]:
            self._holders[run].append(number)
        return number

    def matches(self, words: Sequence[str]) -> Iterator[Match]:
        """The texts added so far that are nearly this one, in their order; none for a text without words."""
        runs = self._sorted(words)
        whole = frozenset(runs)
        holders = {
            number for run in runs[: _prefix(len(runs))] for number in self._holders.get(run, ())
        }
        for number in sorted(holders):
            other = self._texts[number]
            if min(len(other), len(whole)) < SIMILARITY * max(len(other), len(whole)):
                continue
            both = sum(run in whole for run in other)
            similarity = both / (len(whole) + len(other) - both)
            if similarity >= SIMILARITY:
                yield Match(number, similarity, len(whole) - both, len(other) - both)

    def _sorted(self, words: Sequence[str]) -> list[int]:
        return sorted(self._runs(words), key=lambda run: (self._counts[run % _BUCKETS], run))

    def _runs(self, words: Sequence[str]) -> set[int]:
        """Each run as one number: its words' numbers, 21 bits each, counted from 1."""
        numbers = [
            self._numbers.setdefault(word, (len(self._numbers) + 1) % (1 << _BITS))
            for word in words
        ]
        numbers += [0] * (RUN - len(numbers)) if numbers else []
        return {
            first << 2 * _BITS | second << _BITS | third
            for first, second, third in zip(numbers, numbers[1:], numbers[2:], strict=False)
        }


def _prefix(size: int) -> int:
    """How many of a set's first elements tell whether another can be similar enough."""
    # A hair less than the product, lest rounding make the prefix one too short.
    return size - math.ceil(SIMILARITY * size - 1e-9) + 1 if size else 0
