"""Whether a prompt is in a benchmark, wholly or in part. Pure.

A prompt is contaminated by a benchmark's one
- that has the same words;
- that shares 13 words in a row with it: GPT-3's rule (Brown et al. 2020, appendix C: N-grams of lower-cased words
  without punctuation, N from 8 to 13), which lm-eval follows too (docs/decontamination.md, N = 13);
- that has 8 to 12 words, and the prompt has them all in a row: the same rule at the N of a short text;
- that is nearly the same text (`spar.evolve.near_duplicates`), such as one with a word or two exchanged. This one is ours.

A benchmark whose prompts are drawn from few templates shares such runs with every other draw; of it, only the
same words count (`whole_only`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spar.evolve.near_duplicates import NearTexts
from spar.evolve.normalize import words

LONG, SHORT = 13, 8
"""Words in a row that count (GPT-3: at most 13, at least 8)."""


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
class Contamination:
    """What a prompt was found in."""

    benchmark: str
    item: str
    why: str
    """In a few words for a person."""


class Benchmarks:
    """The prompts of several benchmarks, to look texts up in."""

    def __init__(self, benchmarks: Iterable[BenchmarkPrompts]) -> None:
        self._items: list[tuple[str, str]] = []
        self._joined: list[str] = []
        self._same: dict[str, int] = {}
        self._openings: dict[int, list[int]] = {}
        self._runs: dict[int, int] = {}
        self._near_items: list[int] = []
        compared = []
        for benchmark in benchmarks:
            for item, text in benchmark.texts.items():
                self._add(benchmark, item, found := words(text))
                if not benchmark.whole_only:
                    compared.append(found)
        self._near = NearTexts(compared)
        for found in compared:
            self._near.add(found)

    def find(self, text: str) -> Contamination | None:
        """Where a text was found first: as a whole, in part, nearly; None where it was not."""
        found = words(text)
        if not found:
            return None
        same = self._same.get(" ".join(found))
        if same is not None:
            return self._contamination(same, "the same words")
        return self._part(found) or self._nearly(found)

    def _add(self, benchmark: BenchmarkPrompts, item: str, found: Sequence[str]) -> None:
        number = len(self._items)
        self._items.append((benchmark.name, item))
        joined = " ".join(found)
        self._joined.append(f" {joined} ")
        if not found:
            joined = "\0"  # no text without words is the same as this one
        self._same.setdefault(joined, number)
        if benchmark.whole_only:
            return
        self._near_items.append(number)
        if SHORT <= len(found) < LONG:
            self._openings.setdefault(hash(tuple(found[:SHORT])), []).append(number)
        for start in range(len(found) - LONG + 1):
            self._runs.setdefault(hash(tuple(found[start : start + LONG])), number)

    def _part(self, found: Sequence[str]) -> Contamination | None:
        joined = f" {' '.join(found)} "
        for start in range(len(found) - SHORT + 1):
            for number in self._openings.get(hash(tuple(found[start : start + SHORT])), ()):
                if self._joined[number] in joined:  # two runs may have one hash
                    return self._contamination(number, f"has all of it:{self._joined[number]}")
            run = tuple(found[start : start + LONG])
            holder = self._runs.get(hash(run)) if len(run) == LONG else None
            if holder is not None and (shared := f" {' '.join(run)} ") in self._joined[holder]:
                return self._contamination(holder, f"{LONG} words in a row:{shared}")
        return None

    def _nearly(self, found: Sequence[str]) -> Contamination | None:
        for match in self._near.matches(found):
            why = f"nearly the same words (similarity {match.similarity:.2f})"
            return self._contamination(self._near_items[match.number], why)
        return None

    def _contamination(self, number: int, why: str) -> Contamination:
        return Contamination(*self._items[number], why.rstrip())
