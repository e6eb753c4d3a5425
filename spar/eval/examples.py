"""Which examples an evaluation has, and under which ids, where its directory already holds answers.

examples = under_stored_ids(benchmark.load(config), directory)
limited(benchmark, examples, config, directory)              those that `--limit` takes
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spar.config import EvalConfig
from spar.eval.benchmark import Benchmark
from spar.prompts import with_stored_ids
from spar.store import TREES, stored_trees
from spar.types import Prompt


def under_stored_ids(examples: Sequence[Prompt], directory: Path) -> list[Prompt]:
    """The examples under the ids that an evaluation in the directory has for them, where these come from the content."""
    return [*with_stored_ids(examples, _digests(directory))]


def limited(
    benchmark: Benchmark, whole: Sequence[Prompt], config: EvalConfig, directory: Path
) -> Sequence[Prompt]:
    """The examples that `--limit` takes.

    Of a file of responses they are the first ones, since it may have no others; and so they are in a directory in which an
    evaluation of an earlier version has answered these.
    """
    first = whole[: config.limit]
    if config.limit is None or config.responses:
        return first
    chosen = benchmark.limited(whole, config.limit)
    stored = _digests(directory).keys()
    is_earlier = _ids(first) <= stored and not _ids(chosen) <= stored
    return first if is_earlier else chosen


def _digests(directory: Path) -> dict[str, str]:
    """Ids of the prompts that are answered there, each with the digest of its content."""
    path = directory / TREES
    trees = stored_trees(path) if path.is_file() else {}
    return {name: tree.digest for name, tree in trees.items()}


def _ids(examples: Sequence[Prompt]) -> set[str]:
    return {prompt.id for prompt in examples}
