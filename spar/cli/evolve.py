"""`spar evolve`: have a teacher make plain prompts complex, by the paper's taxonomy of constraints.

    spar evolve seeds.jsonl --base-url http://host:8000/v1 --per-prompt 2 --out runs/evolved
    spar evolve seeds.txt --model DIR --dry-run

Flags override the recipe; the recipe overrides the defaults in `spar.evolve.settings.EvolveConfig`.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from spar.cli.flags import (
    Display,
    DryRun,
    Out,
    Overwrite,
    Recipe,
    default_recipe,
    with_settings,
)
from spar.evolve.settings import EvolveConfig, load_evolve

PANELS = ("Evolution", "Prompts", "Models", "Engine", "Servers and clusters", "Run", "Sampling")


@with_settings(EvolveConfig, panels=PANELS, leave_out=("greedy_first", "vote", "refine"))
def evolve(
    prompts: Annotated[
        str,
        typer.Argument(
            metavar="SEED_PROMPTS",
            help="Plain prompts: a .jsonl or .txt file, or - for standard input.",
        ),
    ],
    *,
    recipe: Recipe = None,
    out: Out = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    display: Display = "auto",
    json_report: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    overrides: dict[str, Any],
) -> None:
    """Have a teacher make plain prompts complex. The same command resumes."""
    from spar.cli.run_evolve import Invocation, run

    config = load_evolve(recipe or default_recipe(overrides), {**overrides, "prompts": prompts})
    run(
        config,
        Invocation(
            out=out,
            overwrite=overwrite,
            dry_run=dry_run,
            json_report=json_report,
            display=display,
        ),
    )
