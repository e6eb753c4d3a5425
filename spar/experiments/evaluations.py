"""Evaluations of an experiment, and what they read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from spar.config import EvalConfig
from spar.eval.needed_data import needed, present
from spar.eval.runner import EvalRequest, evaluate
from spar.experiments.experiment import Plan
from spar.nltk_folders import DATA_SETS
from spar.plugins import BENCHMARKS
from spar.record.evaluation import Example, read_examples


async def run_evaluation(
    plan: Plan, benchmark: str, config: EvalConfig, out: Path
) -> list[Example]:
    """Run or resume a benchmark in a folder below `out`; its scored examples.

    Raises
    ------
    UsageError, RunStopped
        As `spar.eval.runner.evaluate`.
    """
    return (await run_evaluations(plan, (benchmark,), config, out))[benchmark]


async def run_evaluations(
    plan: Plan, benchmarks: Sequence[str], config: EvalConfig, out: Path
) -> dict[str, list[Example]]:
    """Run or resume benchmarks, each in a folder below `out`; the model is loaded once for all of them.

    Raises
    ------
    UsageError, RunStopped
        As `spar.eval.runner.evaluate`.
    """
    request = EvalRequest(
        tuple(benchmarks), out=out, allow_code_execution=plan.allow_code_execution
    )
    _, error = await evaluate(config, request, plan.listener)
    if error is not None:
        raise error
    return {name: list(read_examples(out / name)) for name in benchmarks}


def digests_of(plan: Plan, benchmarks: Iterable[str]) -> dict[str, str]:
    """Data set to digest of those that benchmarks take their examples from, as far as they are on this machine."""
    names = (name for each in benchmarks for name in BENCHMARKS.spec(each).data)
    folders = present(needed([*dict.fromkeys(names)]), plan.data)
    return {folder.name: folder.digest for folder in folders if folder.name not in DATA_SETS}
