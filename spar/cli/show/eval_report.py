"""Prints the results of `spar eval`: the paper's numbers, and below them the metrics with their standard errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from spar.cli.show.report import as_text, open_console
from spar.eval.benchmark import declared_spec
from spar.eval.paper import PaperTable
from spar.infer.strategy import SearchConfig
from spar.plugins import STRATEGIES
from spar.record.evaluation import Metric, Results

PIPED_WIDTH = 160
"""Width of the tables if standard output is not a terminal."""
NAMES_WIDTH = 24
"""Minimum width of the models' names; longer ones are folded."""


def print_results(results: Results, *, details: bool = False) -> None:
    """Print the results of one benchmark; `details` adds the metrics by subset, type or level."""
    console = open_console(PIPED_WIDTH)
    spec = declared_spec(results.benchmark)
    if spec and spec.paper:  # above the run's own metrics, which stay on the screen
        for part in _paper_tables(results, spec.paper, console.width):
            console.print(part)
    title = f"{results.benchmark}, {results.n} examples"
    table = Table(title=as_text(title), title_justify="left")
    table.add_column("metric", overflow="fold")
    for heading in ("value", "standard error", "n"):
        table.add_column(heading, justify="right", no_wrap=heading != "standard error")
    for name, metric in _shown(results, details):
        cells = _cells(metric, results.units.get(name))
        table.add_row(*map(as_text, (name, *cells)))
    console.print(table)
    for name, count in results.counts.items():
        if count:
            console.print(as_text(f"{name.replace('_', ' ')}: {count}"))
    for note in results.notes:
        console.print(as_text(note))


def _shown(results: Results, details: bool) -> Iterator[tuple[str, Metric]]:
    headline = [name for name in results.metrics if "/" not in name]
    for name, metric in results.metrics.items():
        if details or not headline or "/" not in name:
            yield name, metric


def _cells(metric: Metric, unit: str | None) -> tuple[str, str, str]:
    scale, sign = (1.0, f" {unit}") if unit else (100.0, " %")
    error = "-" if metric.stderr is None else f"{scale * metric.stderr:.2f}"
    return f"{scale * metric.value:.2f}{sign}", error, f"{metric.n:,}"


def _paper_tables(results: Results, paper: PaperTable, width: int) -> Iterator[Table]:
    """This run's row and the paper's, in several tables if one would be wider than `width`."""
    metrics = [results.metrics.get(name) for name in paper.columns]
    values = [None if metric is None else 100 * metric.value for metric in metrics]
    cells = {_label(results): paper.cells(values)}
    cells |= {model: paper.cells(row) for model, row in paper.rows.items()}
    title = as_text(f"the paper's {paper.source}, in percent")
    for start, end in _column_ranges([paper.headings, *cells.values()], width - NAMES_WIDTH):
        table = Table(title=title, title_justify="left")
        table.add_column("model", overflow="fold")
        for heading in paper.headings[start:end]:
            table.add_column(heading, justify="right", no_wrap=True)
        for number, (label, row) in enumerate(cells.items()):
            style = "" if number else "bold"
            table.add_row(as_text(label), *row[start:end], style=style, end_section=not number)
        yield table


def _column_ranges(rows: Sequence[Sequence[str]], width: int) -> Iterator[tuple[int, int]]:
    """Ranges of columns that fit into a width, at least one column each."""
    start, used = 0, 0
    for index, column in enumerate(zip(*rows, strict=True)):
        needed = max(map(len, column)) + 3  # its border, and a blank on either side
        if index > start and used + needed > width:
            yield start, index
            start, used = index, 0
        used += needed
    yield start, len(rows[0])


def _label(results: Results) -> str:
    run = results.run
    # With a limit the size of the benchmark is not always known, as lm-eval's tasks apply it themselves.
    complete = results.n == run.get("whole", results.n) and not run.get("limit")
    part = "" if complete else f", {results.n} examples"
    name, budget = str(run.get("strategy", "")), int(run.get("budget") or 1)
    most = STRATEGIES.spec(name).num_responses(SearchConfig(), budget) if name in STRATEGIES else 2
    search = f"{name} {budget}" if most > 1 else name
    source = f"{run['model']}, {search}" if run.get("model") else run.get("responses", "")
    return f"this run ({source}{part})"
