"""What `spar eval` does once its settings are known: evaluate, then print the results."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spar.cli.eval_report import print_results
from spar.cli.interrupts import interruptible
from spar.cli.report import print_run, visible
from spar.config import EvalConfig
from spar.eval.runner import EvalRequest, evaluate
from spar.progress import open_progress
from spar.record.evaluation import Results, as_lm_eval


@dataclass(frozen=True, slots=True)
class Output:
    """How results are shown."""

    as_json: bool = False
    details: bool = False
    display: str = "auto"


def run(config: EvalConfig, request: EvalRequest, output: Output = Output()) -> list[Results]:
    """Evaluate, and print the results; raises the first error once the others are printed."""
    listener = open_progress(output.display)
    with interruptible():
        results, error = asyncio.run(evaluate(config, request, listener))
    if results:
        _print(results, output)
    if error is not None:
        raise error
    return results


def show_plan(config: EvalConfig, request: EvalRequest) -> None:
    """Print what `run` would do, and its cost."""
    from spar.estimate.evaluation import evaluation_text

    print(visible(evaluation_text(config, request)))


def _print(results: Sequence[Results], output: Output) -> None:
    if output.as_json:
        named = {result.benchmark: dict(as_lm_eval(result)) for result in results}
        runs = {result.benchmark: result.run for result in results}
        print(json.dumps({"results": named, "runs": runs}))
        return
    for result in results:
        print_results(result, details=output.details)
        print_run(Path(result.run["directory"]))
