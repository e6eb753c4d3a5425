"""An index of texts that finds near duplicates without comparing all pairs.

The similarity of two texts is the Jaccard similarity of their sets of three-word shingles: |both| / |either|.
With a threshold t, a set of n elements can only reach it together with another set if they share one of its first
n - ceil(t n) + 1 elements, in any order that is the same for all sets (prefix filtering; Chaudhuri, Ganti and Kaushik
2006). With the rarest shingles first, few texts share a prefix, so few pairs are compared, and none is missed.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

SHINGLE = 3
"""Words in a shingle; a shorter text is one shingle."""
SIMILARITY = 0.7
"""From here on, texts are near duplicates: of 30 words one may differ (0.81), two may not (0.65)."""
_BUCKETS = 1 << 22
_BITS = 21


@dataclass(frozen=True, slots=True)
class Match:
    """A near duplicate of the query."""

    number: int
    """Position of the text in the order in which texts were added."""
    similarity: float
    new: int
    """Shingles of the query that this text lacks."""
    missing: int
    """Shingles of this text that the query lacks."""


class NearDuplicateIndex:
    """Texts, as words, that can be searched for near duplicates of a query.

    Parameters
    ----------
    corpus:
        Texts that show how rare shingles are, ideally all texts that will be added or searched for. They
        affect the speed, not the result.
    """

    def __init__(self, corpus: Iterable[Sequence[str]]) -> None:
        self._word_numbers: dict[str, int] = {}
        self._counts = array("L", bytes(array("L").itemsize * _BUCKETS))
        self._texts: list[array[int]] = []
        self._postings: dict[int, list[int]] = defaultdict(list)
        for words in corpus:
            for shingle in self._shingles(words):
                self._counts[shingle % _BUCKETS] += 1

    def add(self, words: Sequence[str]) -> int:
        """Add a text; returns its number."""
        shingles = self._rarest_first(words)
        number = len(self._texts)
        self._texts.append(array("q", shingles))
        for shingle in shingles[: _prefix_length(len(shingles))]:
            self._postings[shingle].append(number)
        return number

    def matches(self, words: Sequence[str]) -> Iterator[Match]:
        """Near duplicates of a text among those added so far, in order; none for a text without words."""
        shingles = self._rarest_first(words)
        query = frozenset(shingles)
        prefix = shingles[: _prefix_length(len(shingles))]
        candidates = {number for s in prefix for number in self._postings.get(s, ())}
        for number in sorted(candidates):
            other = self._texts[number]
            if min(len(other), len(query)) < SIMILARITY * max(len(other), len(query)):
                continue
            both = sum(shingle in query for shingle in other)
            similarity = both / (len(query) + len(other) - both)
            if similarity >= SIMILARITY:
                yield Match(number, similarity, len(query) - both, len(other) - both)

    def _rarest_first(self, words: Sequence[str]) -> list[int]:
        return sorted(self._shingles(words), key=lambda s: (self._counts[s % _BUCKETS], s))

    def _shingles(self, words: Sequence[str]) -> set[int]:
        """Each shingle as one number: the numbers of its words, 21 bits each, counted from 1."""
        numbers = [
            self._word_numbers.setdefault(word, (len(self._word_numbers) + 1) % (1 << _BITS))
            for word in words
        ]
        numbers += [0] * (SHINGLE - len(numbers)) if numbers else []
        return {
            first << 2 * _BITS | second << _BITS | third
            for first, second, third in zip(numbers, numbers[1:], numbers[2:], strict=False)
        }


def _prefix_length(size: int) -> int:
    """Elements of a set of which a similar set must share at least one."""
    # Slightly less than the product, so that rounding cannot make the prefix too short.
    return size - math.ceil(SIMILARITY * size - 1e-9) + 1 if size else 0
