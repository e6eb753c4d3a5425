"""What `spar evolve` does once its settings are known: evolve, then print the report."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from spar.cli import evolve_report, report
from spar.cli.interrupts import interruptible
from spar.evolve.inputs import read_inputs
from spar.evolve.runner import dry_run_text, evolve, with_template
from spar.evolve.settings import EvolveConfig
from spar.progress import open_progress


@dataclass(frozen=True, slots=True)
class Invocation:
    """The flags that are not settings of the run."""

    out: Path | None = None
    overwrite: bool = False
    dry_run: bool = False
    json_report: bool = False
    display: str = "auto"


def run(config: EvolveConfig, invocation: Invocation) -> None:
    """Evolve, and print the report."""
    if invocation.dry_run:
        config, template = with_template(config)
        print(report.visible(dry_run_text(read_inputs(config), template)))
        return
    listener = open_progress(invocation.display)
    work = evolve(config, listener, out=invocation.out, overwrite=invocation.overwrite)
    with interruptible():
        evolved = asyncio.run(work)
    if invocation.json_report:
        print(evolve_report.as_json(evolved.report, evolved.directory))
    else:
        evolve_report.print_report(evolved.report, evolved.summary)
        report.print_run(evolved.directory)
