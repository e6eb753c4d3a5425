"""One evaluation of an experiment."""

from __future__ import annotations

from pathlib import Path

from spar.config import EvalConfig
from spar.eval.runner import EvalRequest, evaluate
from spar.experiments.experiment import Plan
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
    _, error = await evaluate(config, EvalRequest((benchmark,), out=out), plan.listener)
    if error is not None:
        raise error
    return list(read_examples(out / benchmark))
