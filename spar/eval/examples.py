"""Which examples an evaluation has, and under which ids, where its directory already holds answers.

whole, examples = examples_of(benchmark, config, directory)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from spar.config import EvalConfig
from spar.eval.benchmark import Benchmark
from spar.eval.benchmark_results import loaded_by
from spar.prompts import with_stored_ids
from spar.store import TREES, stored_trees
from spar.types import Prompt


def examples_of(
    benchmark: Benchmark, config: EvalConfig, directory: Path
) -> tuple[Sequence[Prompt], Sequence[Prompt]]:
    """All that the benchmark has, as far as this is known without a model, and those of them that are evaluated.

    They have the ids that an evaluation in the directory has for them, where these come from the content.
    """
    path = directory / TREES
    stored = (
        {name: tree.digest for name, tree in stored_trees(path).items()} if path.is_file() else {}
    )
    whole = [*with_stored_ids(loaded_by(benchmark, config), stored)]
    if benchmark.limits_itself:
        return _unlimited(benchmark, whole, config, stored), whole
    return whole, _limited(benchmark, whole, config, stored)


def _unlimited(
    benchmark: Benchmark, examples: Sequence[Prompt], config: EvalConfig, stored: Mapping[str, str]
) -> Sequence[Prompt]:
    """What a benchmark that limits itself has without `--limit`, where rows of a file of responses may belong to any of it."""
    matches_rows = config.responses and not benchmark.refines_responses
    if config.limit is None or not matches_rows or benchmark.likelihoods_of:
        return examples
    whole = [
        *with_stored_ids(loaded_by(benchmark, config.model_copy(update={"limit": None})), stored)
    ]
    benchmark.load(config)  # what it loads last is what it scores
    return whole


def _limited(
    benchmark: Benchmark, whole: Sequence[Prompt], config: EvalConfig, stored: Collection[str]
) -> Sequence[Prompt]:
    """The examples that `--limit` takes.

    Of a file of responses they are the first ones, since it may have no others; and so they are in a directory in which an
    evaluation of an earlier version has answered these.
    """
    first = whole[: config.limit]
    if config.limit is None or config.responses:
        return first
    chosen = benchmark.limited(whole, config.limit)
    return first if _all_in(first, stored) and not _all_in(chosen, stored) else chosen


def _all_in(examples: Sequence[Prompt], stored: Collection[str]) -> bool:
    return all(prompt.id in stored for prompt in examples)
