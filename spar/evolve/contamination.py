"""Whether a prompt is contaminated by a benchmark, wholly or in part. Pure.

A prompt is contaminated by a prompt of a benchmark
- that has the same words;
- that shares 13 consecutive words with it: GPT-3's rule (Brown et al. 2020, appendix C: n-grams of lower-cased words
  without punctuation, n from 8 to 13), which lm-eval follows too (docs/decontamination.md, n = 13);
- that has 8 to 12 words, all of which occur in it consecutively: the same rule at the n of a short text;
- that is a near duplicate (`spar.evolve.near_duplicates`), such as one with a word or two replaced. This one is ours.

In a conversation with several turns, what the user says in one of them is compared by itself as well: a system turn
beside a benchmark's prompt changes neither its words nor that it is the benchmark's.

A benchmark whose prompts are drawn from few templates shares such n-grams with every other draw, so that for it
only the same words count (`whole_only`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spar.evolve.near_duplicates import NearDuplicateIndex
from spar.evolve.normalize import words
from spar.templates import transcript
from spar.types import Message

LONG, SHORT = 13, 8
"""Consecutive words that count (GPT-3: at most 13, at least 8)."""


@dataclass(frozen=True, slots=True)
class BenchmarkPrompts:
    """The prompts of one benchmark."""

    name: str
    texts: Mapping[str, str]
    """Name of an item to its text."""
    digest: str = ""
    """Of its data files, "" where it has none."""
    whole_only: bool = False
    """Whether only the same words count."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """A benchmark prompt that contaminates a text."""

    benchmark: str
    item: str
    why: str
    """A human-readable reason."""


class BenchmarkIndex:
    """The prompts of several benchmarks, searchable for overlaps with a text."""

    def __init__(self, benchmarks: Iterable[BenchmarkPrompts]) -> None:
        self._items: list[tuple[str, str]] = []
        self._joined: list[str] = []
        self._exact: dict[str, int] = {}
        self._short_prefixes: dict[int, list[int]] = {}
        self._ngrams: dict[int, int] = {}
        self._near_items: list[int] = []
        compared = []
        for benchmark in benchmarks:
            for item, text in benchmark.texts.items():
                item_words = words(text)
                self._add(benchmark, item, item_words)
                if not benchmark.whole_only:
                    compared.append(item_words)
        self._near = NearDuplicateIndex(compared)
        for item_words in compared:
            self._near.add(item_words)

    def find_in(self, messages: Sequence[Message]) -> Overlap | None:
        """The first overlap of a conversation: of all its turns together, or of one of the user's by itself."""
        turns = (message.content for message in messages if message.role == "user")
        overlaps = map(self.find, dict.fromkeys([transcript(messages), *turns]))
        return next(filter(None, overlaps), None)

    def find(self, text: str) -> Overlap | None:
        """The first overlap of a text: as a whole, in part, nearly; None where it has none."""
        text_words = words(text)
        if not text_words:
            return None
        number = self._exact.get(" ".join(text_words))
        if number is not None:
            return self._overlap(number, "the same words")
        return self._find_part(text_words) or self._find_near(text_words)

    def _add(self, benchmark: BenchmarkPrompts, item: str, item_words: Sequence[str]) -> None:
        number = len(self._items)
        self._items.append((benchmark.name, item))
        joined = " ".join(item_words)
        self._joined.append(f" {joined} ")
        if not item_words:
            joined = "\0"  # no text without words equals this item
        self._exact.setdefault(joined, number)
        if benchmark.whole_only:
            return
        self._near_items.append(number)
        if SHORT <= len(item_words) < LONG:
            self._short_prefixes.setdefault(hash(tuple(item_words[:SHORT])), []).append(number)
        for start in range(len(item_words) - LONG + 1):
            self._ngrams.setdefault(hash(tuple(item_words[start : start + LONG])), number)

    def _find_part(self, text_words: Sequence[str]) -> Overlap | None:
        joined = f" {' '.join(text_words)} "
        for start in range(len(text_words) - SHORT + 1):
            prefix = hash(tuple(text_words[start : start + SHORT]))
            for number in self._short_prefixes.get(prefix, ()):
                if self._joined[number] in joined:  # two prefixes may have one hash
                    return self._overlap(number, f"contains all of it:{self._joined[number]}")
            ngram = tuple(text_words[start : start + LONG])
            match = self._ngrams.get(hash(ngram)) if len(ngram) == LONG else None
            if match is not None and (shared := f" {' '.join(ngram)} ") in self._joined[match]:
                return self._overlap(match, f"{LONG} consecutive words:{shared}")
        return None

    def _find_near(self, text_words: Sequence[str]) -> Overlap | None:
        for match in self._near.matches(text_words):
            why = f"nearly the same words (similarity {match.similarity:.2f})"
            return self._overlap(self._near_items[match.number], why)
        return None

    def _overlap(self, number: int, why: str) -> Overlap:
        return Overlap(*self._items[number], why.rstrip())
