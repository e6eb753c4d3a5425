"""`spar sweep`: accuracy against what it costs, for every strategy and budget (the paper's Figure 5).

    spar sweep nano-if --limit 200
    spar sweep ifeval --model DIR --strategies greedy,best-of-n,bfs --budgets 1,3,7,15 --out runs/figure5

Trees that a larger run holds are not searched again. Each point is an evaluation of its own, which
`spar eval compare` and `spar tui` read. The same command resumes.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from spar.cli.flags import (
    AllowCode,
    Display,
    DryRun,
    OfficialScoring,
    Out,
    Overwrite,
    Recipe,
    accepted,
    default_recipe,
    with_settings,
)
from spar.config import EvalConfig, load_eval


@with_settings(EvalConfig, leave_out=("strategy", "budget"))
def sweep(
    name: Annotated[str, typer.Argument(metavar="BENCHMARK", help="A benchmark of spar eval.")],
    *,
    strategies: Annotated[
        str,
        typer.Option(
            help=f"Comma-separated strategies: {accepted('strategy')}.", rich_help_panel="Search"
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
    overrides: dict[str, Any],
) -> None:
    """Evaluate every strategy at every budget, and plot accuracy against cost."""
    from spar.cli.run_sweep import run, show_plan
    from spar.eval.runner import EvalRequest
    from spar.eval.sweep_runner import Sweep, read_budgets, read_names

    config = load_eval(recipe or default_recipe(overrides), overrides)
    request = EvalRequest(
        names=(name,),
        out=out,
        overwrite=overwrite,
        compat=official_scoring,
        allow_code_execution=allow_code_execution,
    )
    grid = Sweep(
        strategies=read_names(strategies),
        budgets=read_budgets(budgets),
        metric=metric,
        deepen="depth" not in overrides,
    )
    if dry_run:
        show_plan(config, request, grid)
    else:
        run(config, request, grid, as_json=json_results, display=display)
