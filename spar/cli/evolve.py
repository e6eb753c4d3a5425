"""`spar evolve`: have a teacher make plain prompts complex, by the paper's taxonomy of constraints.

    spar evolve seeds.jsonl --base-url http://host:8000/v1 --per-prompt 2 --out runs/evolved
    spar evolve seeds.txt --model DIR --dry-run
    spar evolve --checkable seeds.jsonl --n 2000 --out runs/checkable      # no teacher: constraints that a program checks

Flags override the recipe; the recipe overrides the defaults in `spar.evolve.settings.EvolveConfig`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
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
from spar.cli.show import checkable_report, evolve_report, report
from spar.config import default_recipe, specs
from spar.errors import UsageError
from spar.evolve.checkable.runner import make_checkable
from spar.evolve.checkable.settings import CheckableConfig, CheckableGroup, load_checkable
from spar.evolve.inputs import read_inputs
from spar.evolve.runner import dry_run_text, with_template
from spar.evolve.runner import evolve as run_evolve
from spar.evolve.settings import EvolveConfig, load_evolve
from spar.progress import open_progress
from spar.sanitize import printable

PANELS = (
    *("Evolution", "Checkable prompts", "Prompts", "Models", "Engine", "Servers and clusters"),
    *("Run", "Sampling"),
)


class EvolveFlags(EvolveConfig, CheckableGroup):
    """The flags of the command: a teacher's, and those of `--checkable`."""


@with_settings(EvolveFlags, panels=PANELS, leave_out=("greedy_first", "vote", "refine"))
def evolve(
    prompts: Annotated[
        str,
        typer.Argument(
            metavar="SEED_PROMPTS",
            help="Plain prompts: a file, a data set of the hub, or - for standard input.",
        ),
    ],
    *,
    checkable: Annotated[
        bool,
        typer.Option(
            "--checkable",
            help="Call no teacher: add constraints that programs check, in IFEval's types.",
            rich_help_panel=CheckableGroup.panel,
        ),
    ] = False,
    recipe: Recipe = None,
    out: Out = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    display: Display = "auto",
    json_report: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    overrides: dict[str, Any],
) -> None:
    """Make plain prompts complex, by a teacher or by a program. The same command resumes."""
    if checkable:
        if dry_run or recipe:
            raise UsageError("--checkable takes no --dry-run and no --recipe: it calls no model")
        _make_checkable(prompts, overrides, out=out, overwrite=overwrite, as_json=json_report)
        return
    if own := [flag for name, flag in _flags(overrides) if name in CheckableGroup.model_fields]:
        raise UsageError(f"{own[0]} is for --checkable; add it, or leave this flag out")
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


def _make_checkable(
    prompts: str, overrides: dict[str, Any], *, out: Path | None, overwrite: bool, as_json: bool
) -> None:
    if others := [
        flag for name, flag in _flags(overrides) if name not in CheckableConfig.model_fields
    ]:
        raise UsageError(f"{others[0]} has no use with --checkable, which calls no model")
    config = load_checkable({**overrides, "prompts": prompts})
    result = make_checkable(config, out=out, overwrite=overwrite)
    if as_json:
        print(checkable_report.as_json(result.report, result.directory))
        return
    checkable_report.print_report(result.report)
    report.print_run(result.directory)


def _flags(overrides: dict[str, Any]) -> list[tuple[str, str]]:
    """The settings on the command line, each with its flag."""
    flags = {spec.name: spec.flag for spec in specs(EvolveFlags)}
    names = {
        name: [f"{name}.{part}" for part in value] if isinstance(value, dict) else [name]
        for name, value in overrides.items()
    }
    return [
        (name, flags.get(each, flags.get(name, name)))
        for name, all_ in names.items()
        for each in all_
    ]
