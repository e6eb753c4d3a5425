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
    benchmark_flags,
    default_recipe,
    model_flags,
    run_flags,
    server_flags,
    settings_of,
    shape_flags,
    takes,
)


@takes(benchmark_flags, shape_flags, model_flags, server_flags, run_flags)
def sweep(
    name: Annotated[str, typer.Argument(help="A benchmark of spar eval.", show_default=False)],
    strategies: Annotated[
        str, typer.Option(help="Separated by commas.")
    ] = "greedy,best-of-n,iterative,bfs,dfs",
    budgets: Annotated[
        str, typer.Option(help="Most responses a prompt, separated by commas.")
    ] = "1,3,7,15,31",
    metric: Annotated[
        str, typer.Option(help="What is plotted; none: the benchmark's own choice.")
    ] = "",
    responses: Annotated[
        str | None, typer.Option(help="refinement: the failing responses to refine.")
    ] = None,
    json_results: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    **settings: Any,
) -> None:
    """Evaluate every strategy at every budget, and plot accuracy against cost."""
    from spar.cli.run_sweep import run
    from spar.config import EvalConfig, load_eval
    from spar.eval.runner import EvalRequest
    from spar.eval.sweep_runner import Sweep, read_budgets, read_names

    fields = settings_of(settings, EvalConfig.model_fields)
    fields["responses"] = responses
    config = load_eval(settings["recipe"] or default_recipe(settings), fields)
    run(
        config,
        EvalRequest(
            names=(name,),
            out=settings["out"],
            overwrite=settings["fresh"],
            compat=settings["compat"],
            allow_code_execution=settings["allow_code_execution"],
        ),
        Sweep(
            strategies=read_names(strategies),
            budgets=read_budgets(budgets),
            metric=metric,
            deepen=settings["depth"] is None,
        ),
        as_json=json_results,
        display=settings["display"],
    )
