"""`spar sweep`: accuracy against what it costs, for every strategy and budget (the paper's Figure 5).

    spar sweep nano-if --limit 200
    spar sweep nano-if --strategies best-of-n,best-of-n:waves=growing,ab-mcts,mypackage:ucb:c=0.7
    spar sweep ifeval --model DIR --strategies greedy,best-of-n,bfs --budgets 1,3,7,15 --out runs/figure5

Trees that a larger run holds are not searched again. Each point is an evaluation of its own, which
`spar eval compare` and `spar tui` read. The same command resumes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from spar.cli.flags import (
    AllowCode,
    Display,
    DryRun,
    OfficialScoring,
    Offline,
    Out,
    Overwrite,
    Recipe,
    accepted,
    with_settings,
)
from spar.cli.interrupts import interruptible
from spar.cli.show.report import as_text, open_console
from spar.cli.show.run_rows import print_run_table
from spar.config import EvalConfig, default_recipe, load_eval
from spar.estimate.evaluation import sweep_text
from spar.eval.runner import EvalRequest
from spar.eval.sweep_runner import Sweep, default_directory, read_budgets, read_names
from spar.eval.sweep_runner import sweep as run_sweep
from spar.eval.sweep_table import Row, sweep_table
from spar.progress import open_progress
from spar.run.resolve import check_combination
from spar.sanitize import printable


@with_settings(EvalConfig, leave_out=("strategy", "budget"))
def sweep(
    name: Annotated[str, typer.Argument(metavar="BENCHMARK", help="A benchmark of spar eval.")],
    *,
    strategies: Annotated[
        str,
        typer.Option(
            help=f"Comma-separated strategies: {accepted('strategy')}; own options follow a colon: "
            "best-of-n:waves=growing.",
            rich_help_panel="Search",
        ),
    ] = "greedy,best-of-n,iterative,bfs,dfs",
    budgets: Annotated[
        str,
        typer.Option(
            help="Comma-separated budgets: maximum responses per tree.", rich_help_panel="Search"
        ),
    ] = "1,3,7,15,31",
    metric: Annotated[
        str,
        typer.Option(help="Metric to plot; default: the benchmark's own choice."),
    ] = "",
    recipe: Recipe = None,
    out: Out = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    display: Display = "auto",
    json_results: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    official_scoring: OfficialScoring = False,
    allow_code_execution: AllowCode = False,
    offline: Offline = False,
    overrides: dict[str, Any],
) -> None:
    """Evaluate every strategy at every budget, and plot accuracy against cost."""
    config = load_eval(recipe or default_recipe(overrides), overrides, options_of_search=True)
    request = EvalRequest(
        names=(name,),
        out=out,
        overwrite=overwrite,
        official_scoring=official_scoring,
        allow_code_execution=allow_code_execution,
        offline=offline,
    )
    grid = Sweep(
        strategies=read_names(strategies),
        budgets=read_budgets(budgets),
        metric=metric,
        deepen="depth" not in overrides,
    )
    if dry_run:
        check_combination(config)
        print(printable(sweep_text(config, request, grid)))
    else:
        run(config, request, grid, as_json=json_results, display=display)


def run(
    config: EvalConfig,
    request: EvalRequest,
    grid: Sweep,
    *,
    as_json: bool = False,
    display: str = "auto",
) -> list[Row]:
    """Sweep, write the table and the plot, and print the table."""
    directory = (request.out or default_directory(config)) / request.names[0]
    work = run_sweep(
        config,
        request,
        grid,
        directory=directory,
        listener=open_progress(display),
        command=f"spar {shlex.join(sys.argv[1:])}",
    )
    with interruptible():
        rows = asyncio.run(work)
    if as_json:
        print(json.dumps({"sweep": str(directory), "rows": [dataclasses.asdict(r) for r in rows]}))
    else:
        _print(rows, directory)
    return rows


_ONLY_IN_FILES = ("depth", "steps", "solved", "optimism", "replayed")
"""Columns for which a terminal has no room."""


def _print(rows: Sequence[Row], directory: Path) -> None:
    print_run_table(sweep_table(rows, leave_out=_ONLY_IN_FILES))
    console = open_console()
    for name in ("sweep.csv", "sweep.md", "sweep.png"):
        console.print(as_text(f"{directory / name}"), soft_wrap=True)
