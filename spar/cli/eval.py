"""`spar eval`: measure a model, or a model with a search on top, on the field's benchmarks.

    spar eval ifeval                                          the embedded model, greedily
    spar eval ifeval followbench --model DIR --strategy bfs --budget 15 --out runs/mine
    spar eval ifeval --responses answers.jsonl                score answers from anywhere
    spar eval compare runs/mine runs/other                    two runs, example by example

The same command resumes; on a finished run it only scores again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spar.cli.flags import (
    DECODING,
    HelpedGroup,
    SparCommand,
    benchmark_flags,
    default_recipe,
    settings_of,
    takes,
)

eval_app = typer.Typer(
    cls=HelpedGroup, help="Measure a model, or a search, on benchmarks.", rich_markup_mode=None
)


@eval_app.command(
    HelpedGroup.default,
    cls=SparCommand,
    hidden=True,
    epilog="spar eval compare RUN_A RUN_B compares two evaluations, example by example.",
)
@takes(benchmark_flags, *DECODING)
def evaluate(
    names: Annotated[
        list[str],
        typer.Argument(
            help="ifeval, followbench, llmbar, llmbar-pairwise, refinement, nano-if, gsm8k, mmlu, "
            "triviaqa, humaneval, or any task of lm-eval.",
            show_default=False,
        ),
    ],
    responses: Annotated[
        str | None, typer.Option(help="Score these answers: a file, a folder or a run directory.")
    ] = None,
    judgements: Annotated[
        str | None, typer.Option(help="llmbar: score these judgements; as --responses.")
    ] = None,
    judge_outputs: Annotated[
        str | None, typer.Option(help="followbench: score with these judge outputs.")
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Print the metrics by subset, type and level too.")
    ] = False,
    json_results: Annotated[
        bool, typer.Option("--json", help="Print the metrics as JSON, named as lm-eval does.")
    ] = False,
    **settings: Any,
) -> None:
    """Measure a model, or a model with a search on top, on one or more benchmarks."""
    from spar.cli.run_eval import Output, run
    from spar.config import EvalConfig, load_eval
    from spar.errors import UsageError
    from spar.eval.runner import EvalRequest

    fields = settings_of(settings, EvalConfig.model_fields)
    if responses and judgements:
        raise UsageError("--judgements and --responses name the same thing; give one of them")
    fields["responses"] = responses or judgements
    config = load_eval(settings["recipe"] or default_recipe(settings), fields)
    run(
        config,
        EvalRequest(
            names=tuple(names),
            out=settings["out"],
            overwrite=settings["fresh"],
            judge_outputs=judge_outputs or "",
            compat=settings["compat"],
            allow_code_execution=settings["allow_code_execution"],
            allow_missing=settings["allow_missing"],
        ),
        Output(as_json=json_results, details=details, display=settings["display"]),
    )


@eval_app.command("compare")
def compare(
    first: Annotated[Path, typer.Argument(help="Directory of an evaluation.")],
    second: Annotated[Path, typer.Argument(help="Directory of another one.")],
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Compare the examples that both have.")
    ] = False,
    flips: Annotated[int, typer.Option(help="Most flipped examples to list each way.")] = 10,
    json_results: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Compare two evaluations: paired intervals, and the prompts that flipped."""
    from spar.cli.run_compare import run

    run(first, second, allow_missing=allow_missing, flips=flips, json_results=json_results)
