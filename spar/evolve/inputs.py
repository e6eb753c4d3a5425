"""The inputs of an evolution: seed prompts that are in no benchmark, and the benchmarks to stay out of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spar.evolve.benchmarks import load_benchmark_prompts
from spar.evolve.contamination import BenchmarkIndex, BenchmarkPrompts
from spar.evolve.select import split_seeds
from spar.evolve.settings import EvolveConfig
from spar.evolve.teacher import requests
from spar.prompts import read_prompts
from spar.record.evolution import Rejected
from spar.rows.read import is_repeatable
from spar.store import TREES, tree_offsets
from spar.types import Prompt


@dataclass(frozen=True, slots=True)
class EvolveInputs:
    """Everything that is known before the teacher is called."""

    config: EvolveConfig
    seeds: tuple[Prompt, ...]
    """The seed prompts that are sent."""
    contaminated_seeds: tuple[Rejected, ...]
    """The seed prompts that are in a benchmark."""
    benchmarks: tuple[BenchmarkPrompts, ...]
    """The benchmarks on this machine."""
    index: BenchmarkIndex
    """The same benchmarks, searchable."""
    absent: tuple[str, ...]
    """Benchmarks whose data are not on this machine."""

    @property
    def num_requests(self) -> int:
        """Requests to the teacher."""
        return len(self.seeds) * self.config.per_prompt

    def requests(self) -> Iterator[Prompt]:
        """The requests, in order."""
        return requests(self.seeds, self.config.per_prompt, self.config.seed)


def read_inputs(config: EvolveConfig, run: Path | None = None) -> EvolveInputs:
    """Read seed prompts and benchmarks, and set seed prompts aside that are in a benchmark.

    Parameters
    ----------
    run:
        The run directory that is resumed, if there is one. One that the last version started has its ids.

    Raises
    ------
    UsageError
        A seed prompt or a benchmark's data cannot be read.
    """
    field = config.prompt_field
    prompts = tuple(read_prompts(config.prompts, config.limit, prompt_field=field))
    sent = _sent_seeds(run) if run is not None and is_repeatable(config.prompts) else set()
    if not sent <= {prompt.id for prompt in prompts}:
        by_line = read_prompts(config.prompts, config.limit, ids_by_line=True, prompt_field=field)
        prompts = tuple(by_line)
    benchmarks, absent = load_benchmark_prompts(config.data)
    index = BenchmarkIndex(benchmarks)
    seeds, contaminated = split_seeds(prompts, index)
    return EvolveInputs(config, tuple(seeds), tuple(contaminated), tuple(benchmarks), index, absent)


def _sent_seeds(run: Path) -> set[str]:
    """Ids of the seed prompts whose requests have a tree in a run."""
    path = run / TREES
    ids = tree_offsets(path) if path.is_file() else {}
    return {request.rpartition("/")[0] for request in ids}
