"""`spar eval`: measure a model, or a model with a search on top, on the field's benchmarks.

    spar eval ifeval                                          the embedded model, greedily
    spar eval ifeval followbench --model DIR --strategy bfs --budget 15 --out runs/mine
    spar eval ifeval --responses answers.jsonl                score stored answers
    spar eval compare runs/mine runs/other                    two runs or more, example by example

The same command resumes; on a finished run it only scores again.
"""

from __future__ import annotations

import asyncio
import json
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import typer

from spar.cli.flags import (
    AllowCode,
    Display,
    DryRun,
    HelpedGroup,
    OfficialScoring,
    Offline,
    Out,
    Overwrite,
    Recipe,
    SparCommand,
    accepted,
    with_settings,
)
from spar.cli.interrupts import interruptible
from spar.cli.show.compare_report import print_comparison, print_several
from spar.cli.show.eval_report import print_results
from spar.cli.show.report import print_run
from spar.config import EvalConfig, default_recipe, load_eval
from spar.errors import UsageError
from spar.estimate.evaluation import evaluation_text
from spar.eval.compare import as_dict
from spar.eval.compare import compare as compare_evaluations
from spar.eval.runner import EvalRequest
from spar.eval.runner import evaluate as run_evaluation
from spar.progress import open_progress
from spar.record.evaluation import Results, as_lm_eval
from spar.run.resolve import check_combination
from spar.sanitize import printable

eval_app = typer.Typer(
    cls=HelpedGroup,
    help="Measure a model, or a search, on benchmarks.",
    add_completion=False,
    rich_markup_mode="rich",
)


@eval_app.command(
    HelpedGroup.default,
    cls=SparCommand,
    hidden=True,
    epilog="spar eval compare RUN_A RUN_B compares evaluations, example by example.",
)
@with_settings(EvalConfig)
def evaluate(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="BENCHMARK",
            help=f"{accepted('benchmark')}, or a task of lm-eval.",
            show_default=False,
        ),
    ],
    *,
    recipe: Recipe = None,
    out: Out = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    display: Display = "auto",
    details: Annotated[
        bool,
        typer.Option("--details", help="Print the metrics by subset, type and level, too."),
    ] = False,
    json_results: Annotated[
        bool,
        typer.Option("--json", help="Print the metrics as JSON, named as lm-eval does."),
    ] = False,
    judgements: Annotated[
        str | None,
        typer.Option(
            help="llmbar: score these judgements; as --responses.", rich_help_panel="Benchmark"
        ),
    ] = None,
    judge_outputs: Annotated[
        str | None,
        typer.Option(
            help="Score with these outputs of a judge, for a benchmark that uses a grader.",
            rich_help_panel="Benchmark",
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Score what --responses has; a missing response fails.",
            rich_help_panel="Benchmark",
        ),
    ] = False,
    official_scoring: OfficialScoring = False,
    allow_code_execution: AllowCode = False,
    offline: Offline = False,
    overrides: dict[str, Any],
) -> None:
    """Measure a model, or a model with a search on top, on one or more benchmarks."""
    if judgements and overrides.get("responses"):
        raise UsageError("--judgements and --responses name the same thing; give one of them")
    if judgements:
        overrides["responses"] = judgements
    config = load_eval(recipe or default_recipe(overrides), overrides)
    request = EvalRequest(
        names=tuple(names),
        out=out,
        overwrite=overwrite,
        judge_outputs=judge_outputs or "",
        official_scoring=official_scoring,
        allow_code_execution=allow_code_execution,
        offline=offline,
        allow_missing=allow_missing,
    )
    if dry_run:
        check_combination(config)
        print(printable(evaluation_text(config, request)))
    else:
        run(config, request, as_json=json_results, details=details, display=display)


def run(
    config: EvalConfig,
    request: EvalRequest,
    *,
    as_json: bool = False,
    details: bool = False,
    display: str = "auto",
) -> list[Results]:
    """Evaluate, and print the results; raises the first error once the others are printed."""
    listener = open_progress(display)
    with interruptible():
        results, error = asyncio.run(run_evaluation(config, request, listener))
    if results and as_json:
        named = {result.benchmark: dict(as_lm_eval(result)) for result in results}
        runs = {result.benchmark: result.run for result in results}
        print(json.dumps({"results": named, "runs": runs}))
    for result in results if not as_json else ():
        print_results(result, details=details)
        print_run(Path(result.run["directory"]))
    if error is not None:
        raise error
    return results


@eval_app.command("compare")
def compare(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help="Directory of an evaluation.")],
    others: Annotated[
        list[Path],
        typer.Argument(
            metavar="OTHER", help="Directories of others, each of which is compared with it."
        ),
    ],
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Compare the examples that both have.")
    ] = False,
    flips: Annotated[
        int, typer.Option(help="Maximum flipped examples to list in each direction.")
    ] = 10,
    json_results: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Compare evaluations with the first: paired intervals, and the prompts that flipped."""
    comparisons = compare_evaluations(first, *others, allow_missing=allow_missing)
    by_benchmark = {
        name: list(each) for name, each in groupby(comparisons, attrgetter("benchmark"))
    }
    if json_results:
        values = {name: list(map(as_dict, each)) for name, each in by_benchmark.items()}
        alone = len(others) == 1
        print(json.dumps({name: each[0] if alone else each for name, each in values.items()}))
        return
    for several in by_benchmark.values():
        if len(several) > 1:
            print_several(several, flips=flips)
        else:
            print_comparison(several[0], flips=flips)
