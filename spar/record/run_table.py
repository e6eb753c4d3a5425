"""Runs side by side: a table with a row a run, without the columns that no run has.

`spar sweep` prints it and writes it to `sweep.md`, `spar view` prints it and serves it as its list of runs.
Scores are in percent unless their metric has a unit. Nodes, calls, generated tokens and seconds are means per prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunRow:
    """What a table says of a run; None or empty where it is not known."""

    run: str = ""
    state: str = ""
    prompts: str = ""
    """Benchmark, or name of the file of prompts."""
    model: str = ""
    strategy: str = ""
    budget: int | None = None
    """Most responses of a prompt."""
    depth: int | None = None
    before: float | None = None
    """Share of the first drafts that pass."""
    metric: str = ""
    value: float | None = None
    """A fraction, unless the metric has a unit."""
    stderr: float | None = None
    """Standard error of `value`."""
    unit: str = ""
    n: int | None = None
    """Examples of the metric, or prompts that were answered."""
    expected: int | None = None
    """Prompts of a run that is not finished."""
    solved: float | None = None
    """Share of the prompts with a response that passed the judge."""
    optimism: float | None = None
    """`solved` minus `value`."""
    nodes: float | None = None
    calls: float | None = None
    tokens: float | None = None
    steps: float | None = None
    """Requests that had to wait for one another."""
    seconds: float | None = None
    """From the admission of a prompt to its answer."""
    run_seconds: float | None = None
    """Of the whole run, without loading models."""
    replayed: str = ""


@dataclass(frozen=True, slots=True)
class RunTable:
    """A table as text: a heading for each column, a cell for each row and column."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    """Whether a column has numbers, which are aligned to the right."""


def run_table(rows: Sequence[RunRow], leave_out: Sequence[str] = ()) -> RunTable:
    """The table of some runs.

    Parameters
    ----------
    leave_out:
        Names of columns that are left out, whatever the runs have.
    """
    metrics = {_metric(row) for row in rows if row.value is not None}
    shared = metrics.pop() if len(metrics) == 1 else ""
    columns: dict[str, list[str]] = {}
    for name, cell in _COLUMNS.items():
        cells = [cell(row) for row in rows]
        if any(cells) and name not in leave_out and not (shared and name == "metric"):
            columns[name] = cells
    headings = [
        shared or "score" if name == "score" else _HEADINGS.get(name, name) for name in columns
    ]
    filled = [[cell or "-" for cell in cells] for cells in columns.values()]
    numeric = tuple(name not in _TEXTS for name in columns)
    cells_by_row = tuple(zip(*filled, strict=True)) if filled else ((),) * len(rows)
    return RunTable(tuple(headings), cells_by_row, numeric)


def markdown_table(table: RunTable) -> str:
    """The table in Markdown, without a line break at its end."""
    lines = (table.headings, ("---",) * len(table.headings), *table.rows)
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def _metric(row: RunRow) -> str:
    return f"{row.metric}, {row.unit or '%'}"


def _score(row: RunRow) -> str:
    if row.value is None:
        return ""
    scale = 1.0 if row.unit else 100.0
    error = "" if row.stderr is None else f" ± {scale * row.stderr:.1f}"
    return f"{scale * row.value:.1f}{error}"


def _examples(row: RunRow) -> str:
    if row.expected is None or row.expected == row.n:
        return _number(row.n, ",")
    return f"{'?' if row.n is None else f'{row.n:,}'} of {row.expected:,}"


def _percent(share: float | None, form: str = ".1f") -> str:
    return "" if share is None else f"{100 * share:{form}}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


_COLUMNS: Mapping[str, Callable[[RunRow], str]] = {
    "run": lambda row: row.run,
    "state": lambda row: row.state,
    "prompts": lambda row: row.prompts,
    "model": lambda row: row.model,
    "strategy": lambda row: row.strategy,
    "budget": lambda row: _number(row.budget, ","),
    "depth": lambda row: _number(row.depth, ","),
    "metric": lambda row: "" if row.value is None else _metric(row),
    "before": lambda row: _percent(row.before),
    "score": _score,
    "n": _examples,
    "nodes": lambda row: _number(row.nodes, ".1f"),
    "calls": lambda row: _number(row.calls, ",.1f"),
    "tokens": lambda row: _number(row.tokens, ",.0f"),
    "steps": lambda row: _number(row.steps, ".1f"),
    "seconds": lambda row: _number(row.seconds, ".2f"),
    "run_seconds": lambda row: _number(row.run_seconds, ",.1f"),
    "solved": lambda row: _percent(row.solved),
    "optimism": lambda row: _percent(row.optimism, "+.1f"),
    "replayed": lambda row: row.replayed,
}
"""Name to the text of a cell, in the order of the table."""
_HEADINGS = {
    "before": "first draft, %",
    "run_seconds": "run seconds",
    "solved": "solved, %",
    "optimism": "optimism, %",
}
_TEXTS = frozenset({"run", "state", "prompts", "model", "strategy", "metric"})
