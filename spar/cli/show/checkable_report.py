"""What `spar evolve --checkable` prints: what became of the seed prompts, the mix, and how close benchmarks come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from spar.cli.show.evolve_report import PIPED_WIDTH
from spar.cli.show.report import as_text, open_console
from spar.record.checkable import REPORT, CheckableReport

SHOWN_REASONS = 6
"""Rare reasons beyond these are only in the file."""


def print_report(report: CheckableReport) -> None:
    """Print the tables and the notes."""
    console = open_console(PIPED_WIDTH)
    outcome = Table(title="prompts that a program can check", show_header=False)
    for name, value in _outcome(report):
        outcome.add_row(as_text(name), f"{value:,}")
    console.print(outcome)
    console.print(_mix(report))
    console.print(_benchmarks(report))
    for note in report.notes:
        console.print(as_text(note), soft_wrap=True)


def as_json(report: CheckableReport, directory: Path) -> str:
    """The report as one JSON object, with its directory."""
    return json.dumps({"run": str(directory), **report.model_dump(mode="json")})


def _outcome(report: CheckableReport) -> Iterator[tuple[str, int]]:
    seeds = report.seeds
    yield "seed prompts", seeds.read
    yield from ((f"  left out: {reason}", count) for reason, count in seeds.rejected.items())
    yield "  that take constraints", seeds.used
    yield from (
        (f"    not all types: {reason}", count) for reason, count in seeds.restricted.items()
    )
    for title, reasons in (("drawn again", report.redrawn), ("dropped", report.dropped)):
        shown = [*reasons.items()][:SHOWN_REASONS]
        yield from ((f"{title}: {reason}", count) for reason, count in shown)
        if rest := sum(reasons.values()) - sum(count for _, count in shown):
            yield f"{title}: other reasons, see {REPORT}", rest
    yield "prompts", report.prompts
    if report.asked_holdout:
        yield f"held out, of {report.held_out_seeds} other seed prompts", report.held_out
    yield "proved free of contradiction by a text that passes", report.witnesses


def _mix(report: CheckableReport) -> Table:
    table = Table(title="constraint types")
    table.add_column("type")
    table.add_column("prompts", justify="right")
    for name, count in report.by_type.items():
        table.add_row(name, f"{count:,}")
    for what, counts in (("constraints", report.by_count), ("words", report.by_length)):
        table.add_section()
        for name, count in counts.items():
            table.add_row(f"{what}: {name}", f"{count:,}")
    return table


def _benchmarks(report: CheckableReport) -> Table:
    table = Table(
        title="most consecutive words shared with a benchmark (13 would be contamination)"
    )
    table.add_column("benchmark", no_wrap=True)
    table.add_column("prompts", justify="right")
    table.add_column("shared", justify="right")
    table.add_column("words", overflow="fold")
    for name, compared in report.benchmarks.items():
        count = f"{compared.longest_shared}"
        table.add_row(name, f"{compared.prompts:,}", count, as_text(compared.shared_words))
    return table
