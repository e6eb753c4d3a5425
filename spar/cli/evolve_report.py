"""What `spar evolve` prints: what became of the requests, and what of the taxonomy is covered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from spar.cli.report import as_text, open_console
from spar.infer.summary import Summary
from spar.record.evolution import REPORT, Counts, EvolveReport, GroupCoverage

PIPED_WIDTH = 120
"""Columns where the output is no terminal."""


def print_report(report: EvolveReport, summary: Summary) -> None:
    """Both tables, and what a person should know."""
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
    console.print(f"never covered: {len(report.never_covered)} kinds ({share:.0f} %), see {REPORT}")
    if report.unknown_names:
        console.print(f"names that the taxonomy does not have: {report.unknown_names}")


def as_json(report: EvolveReport, directory: Path) -> str:
    """The report as one JSON object, with its directory."""
    return json.dumps({"run": str(directory), **report.model_dump(mode="json")})


def _outcome(counts: Counts) -> Iterator[tuple[str, int]]:
    yield "seed prompts", counts.seeds
    if counts.contaminated_seeds:
        yield "  in a benchmark, not sent", counts.contaminated_seeds
    yield "asked", counts.asked
    yield "  answered None", counts.none
    if counts.refused:
        yield "  not served by the engine", counts.refused
    yield "  unparsable", counts.unparsable
    yield "  in a benchmark", counts.contaminated
    yield "  duplicates", counts.exact_duplicates
    yield "  near duplicates", counts.near_duplicates
    yield "kept", counts.kept


def _coverage(report: EvolveReport) -> Table:
    table = Table(title="kept prompts by constraint: as the main one / at all")
    table.add_column("group", no_wrap=True)
    table.add_column("prompts", justify="right", no_wrap=True)
    table.add_column("kinds", overflow="fold")
    for group, covered in report.coverage.items():
        table.add_row(group, f"{covered.main}/{covered.mentioned}", _kinds(covered))
    return table


def _kinds(covered: GroupCoverage) -> str:
    return ", ".join(f"{name} {kind.main}/{kind.mentioned}" for name, kind in covered.kinds.items())
