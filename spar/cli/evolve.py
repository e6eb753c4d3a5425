"""`spar evolve`: have a teacher make plain prompts complex, by the paper's taxonomy of constraints.

    spar evolve seeds.jsonl --base-url http://host:8000/v1 --per-prompt 2 --out runs/evolved
    spar evolve seeds.txt --model DIR --dry-run

Flags override the recipe; the recipe overrides the defaults in `spar.evolve.settings.EvolveConfig`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from spar.cli.flags import (
    Display,
    DryRun,
    Out,
    Overwrite,
    Recipe,
    with_settings,
)
from spar.cli.interrupts import interruptible
from spar.cli.show import evolve_report, report
from spar.config import default_recipe
from spar.evolve.inputs import read_inputs
from spar.evolve.runner import dry_run_text, with_template
from spar.evolve.runner import evolve as run_evolve
from spar.evolve.settings import EvolveConfig, load_evolve
from spar.progress import open_progress
from spar.sanitize import printable

PANELS = ("Evolution", "Prompts", "Models", "Engine", "Servers and clusters", "Run", "Sampling")


@with_settings(EvolveConfig, panels=PANELS, leave_out=("greedy_first", "vote", "refine"))
def evolve(
    prompts: Annotated[
        str,
        typer.Argument(
            metavar="SEED_PROMPTS",
            help="Plain prompts: a file, a data set of the hub, or - for standard input.",
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
    config = load_evolve(recipe or default_recipe(overrides), {**overrides, "prompts": prompts})
    if dry_run:
        config, template = with_template(config)
        print(printable(dry_run_text(read_inputs(config), template)))
        return
    work = run_evolve(config, open_progress(display), out=out, overwrite=overwrite)
    with interruptible():
        evolved = asyncio.run(work)
    if json_report:
        print(evolve_report.as_json(evolved.report, evolved.directory))
    else:
        evolve_report.print_report(evolved.report, evolved.summary)
        report.print_run(evolved.directory)
