"""What `spar evolve` prints: what became of the requests, and what of the taxonomy is covered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from spar.cli.show.report import as_text, open_console
from spar.infer.summary import Summary
from spar.record.evolution import REPORT, EvolveCounts, EvolveReport, GroupCoverage

PIPED_WIDTH = 120
"""Columns where the output is not a terminal."""


def print_report(report: EvolveReport, summary: Summary) -> None:
    """Print both tables and the notes."""
    console = open_console(PIPED_WIDTH)
    outcome = Table(title=as_text(f"evolved by {report.teacher}"), show_header=False)
    for name, value in _outcome(report.counts):
        outcome.add_row(name, f"{value:,}")
    usage = summary.usage
    outcome.add_row("calls", f"{usage.calls:,}")
    outcome.add_row(
        "tokens", f"{usage.prompt_tokens:,} read, {usage.completion_tokens:,} generated"
    )
    console.print(outcome)
    if report.counts.kept:
        _print_coverage(console, report)
    for note in report.notes:
        console.print(as_text(note), soft_wrap=True)


def _print_coverage(console: Console, report: EvolveReport) -> None:
    console.print(_coverage(report))
    share = 100 * report.never_covered_share
    console.print(
        f"never covered: {len(report.never_covered)} constraint types ({share:.0f} %), see {REPORT}"
    )
    if report.unknown_names:
        console.print(f"names that are not in the taxonomy: {report.unknown_names}")


def as_json(report: EvolveReport, directory: Path) -> str:
    """The report as one JSON object, with its directory."""
    return json.dumps({"run": str(directory), **report.model_dump(mode="json")})


def _outcome(counts: EvolveCounts) -> Iterator[tuple[str, int]]:
    yield "seed prompts", counts.seeds
    if counts.contaminated_seeds:
        yield "  in a benchmark, not sent", counts.contaminated_seeds
    yield "requests", counts.asked
    yield "  answered None", counts.none
    if counts.refused:
        yield "  refused by the engine", counts.refused
    yield "  unparsable", counts.unparsable
    yield "  in a benchmark", counts.contaminated
    yield "  duplicates", counts.exact_duplicates
    yield "  near duplicates", counts.near_duplicates
    yield "selected", counts.kept


def _coverage(report: EvolveReport) -> Table:
    table = Table(title="selected prompts by constraint: as the main one / as any")
    table.add_column("group", no_wrap=True)
    table.add_column("prompts", justify="right", no_wrap=True)
    table.add_column("types", overflow="fold")
    for group, covered in report.coverage.items():
        table.add_row(group, f"{covered.main}/{covered.mentioned}", _types(covered))
    return table


def _types(covered: GroupCoverage) -> str:
    return ", ".join(f"{name} {kind.main}/{kind.mentioned}" for name, kind in covered.kinds.items())
