"""The longest run of words that two collections of texts share. Pure.

It shows how far prompts are from the limit that contamination has (`spar.evolve.contamination.LONG`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spar.evolve.normalize import words


@dataclass(frozen=True, slots=True)
class SharedWords:
    """A run of words in a text of ours and in another one."""

    length: int = 0
    words: str = ""
    own: str = ""
    """Name of our text."""
    other: str = ""
    """Name of the other one."""


class SharedWordsIndex:
    """Our texts, searchable for the longest run of words that others share with them."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = {name: words(text) for name, text in texts.items()}
        self._ngrams: dict[int, dict[tuple[str, ...], str]] = {}

    def longest(self, others: Mapping[str, str]) -> SharedWords:
        """The longest run that one of the other texts shares; the first of several."""
        longest = SharedWords()
        for name, text in others.items():
            for found in self._longer(words(text), longest.length):
                longest = SharedWords(len(found[0]), " ".join(found[0]), found[1], name)
        return longest

    def _longer(self, text: Sequence[str], length: int) -> Iterable[tuple[tuple[str, ...], str]]:
        """Runs of this text that are in ours, each longer than the one before."""
        for start in range(len(text) - length):
            while len(ngram := tuple(text[start : start + length + 1])) == length + 1:
                own = self._of_length(length + 1).get(ngram)
                if own is None:
                    break
                length += 1
                yield ngram, own

    def _of_length(self, length: int) -> Mapping[tuple[str, ...], str]:
        if length not in self._ngrams:
            self._ngrams[length] = {
                tuple(text[start : start + length]): name
                for name, text in reversed(self._texts.items())
                for start in range(len(text) - length + 1)
            }
        return self._ngrams[length]
