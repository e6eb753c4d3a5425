"""What an evolution starts from: seed prompts that are in no benchmark, and the benchmarks to stay out of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spar.evolve.benchmarks import open_benchmarks
from spar.evolve.contamination import BenchmarkPrompts, Benchmarks
from spar.evolve.select import clean_seeds
from spar.evolve.settings import EvolveConfig
from spar.evolve.teacher import requests
from spar.prompts import read_prompts
from spar.record.evolution import Rejected
from spar.types import Prompt


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that is known before the teacher is asked."""

    config: EvolveConfig
    seeds: tuple[Prompt, ...]
    """Those that are sent."""
    bad_seeds: tuple[Rejected, ...]
    """Those in a benchmark."""
    prompts: tuple[BenchmarkPrompts, ...]
    """Of the benchmarks that are here."""
    benchmarks: Benchmarks
    """The same, to look texts up in."""
    absent: tuple[str, ...]
    """Benchmarks that are not here."""

    @property
    def num_requests(self) -> int:
        """Requests to the teacher."""
        return len(self.seeds) * self.config.per_prompt

    def requests(self) -> Iterator[Prompt]:
        """The requests, in order."""
        return requests(self.seeds, self.config.per_prompt, self.config.seed)


def open_material(config: EvolveConfig) -> Material:
    """Read seed prompts and benchmarks, and take out seeds that are in one.

    Raises
    ------
    UsageError
        A seed prompt or a benchmark's data cannot be read.
    """
    seeds = tuple(read_prompts(config.prompts, config.limit))
    prompts, absent = open_benchmarks(config.data)
    benchmarks = Benchmarks(prompts)
    clean, bad = clean_seeds(seeds, benchmarks)
    return Material(config, tuple(clean), tuple(bad), tuple(prompts), benchmarks, absent)
