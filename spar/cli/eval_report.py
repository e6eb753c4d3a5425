"""What `spar eval` prints: our metrics with their errors, and the paper's numbers beside them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from spar.cli.report import as_text, open_console
from spar.eval.paper import PAPER, PaperTable
from spar.eval.record import Metric, Results

PIPED_WIDTH = 160
"""The tables are wide, and a pipe has no width of its own."""


def print_results(results: Results, *, details: bool = False) -> None:
    """The totals of one benchmark; `details` adds the metrics by subset, type or level."""
    console = open_console(PIPED_WIDTH)
    title = f"{results.benchmark}, {results.n} examples"
    table = Table(title=as_text(title), title_justify="left")
    for heading in ("metric", "value", "standard error", "n"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, metric in _shown(results, details):
        table.add_row(as_text(name), *_cells(metric, results.units.get(name)))
    console.print(table)
    for name, count in results.counts.items():
        if count:
            console.print(as_text(f"{name.replace('_', ' ')}: {count}"))
    for note in results.notes:
        console.print(as_text(note))
    paper = PAPER.get(results.benchmark)
    if paper is not None:
        console.print(_beside(results, paper))


def _shown(results: Results, details: bool) -> Iterator[tuple[str, Metric]]:
    headline = [name for name in results.metrics if "/" not in name]
    for name, metric in results.metrics.items():
        if details or not headline or "/" not in name:
            yield name, metric


def _cells(metric: Metric, unit: str | None) -> tuple[str, str, str]:
    scale, sign = (1.0, f" {unit}") if unit else (100.0, " %")
    error = "-" if metric.stderr is None else f"{scale * metric.stderr:.2f}"
    return f"{scale * metric.value:.2f}{sign}", error, f"{metric.n:,}"


def _beside(results: Results, paper: PaperTable) -> Table:
    table = Table(
        title=as_text(f"beside the paper's {paper.source}, in percent"), title_justify="left"
    )
    table.add_column("model", no_wrap=True)
    for heading in paper.headings:
        table.add_column(heading, justify="right", no_wrap=True)
    ours = [results.metrics.get(name) for name in paper.columns]
    values = [None if metric is None else 100 * metric.value for metric in ours]
    table.add_row(as_text(_label(results)), *paper.cells(values), style="bold", end_section=True)
    for model, row in paper.rows.items():
        table.add_row(model, *paper.cells(row))
    return table


def _label(results: Results) -> str:
    run = results.run
    part = "" if results.n == run.get("whole", results.n) else f", {results.n} examples"
    search = f"{run['strategy']} {run['budget']}" if run.get("strategy") != "greedy" else "greedy"
    source = run.get("responses") or f"{run.get('model', '')}, {search}"
    return f"this run ({source}{part})"
