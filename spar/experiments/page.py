"""The page of an experiment: what the paper says, whether it holds here, tables, plots, and how it was measured.

    OUT/figure5.md   figure5.csv   figure5.png   figure5.svg

Everything comes from `result.json`, so that a page can be written again without a model.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from spar.experiments.experiment import NOT_IN_THE_PAPER, SCALES, Experiment
from spar.experiments.plots import draw
from spar.record.evaluation import writing
from spar.record.experiments import Cell, Claim, ExperimentResult, Number, Table, Verdict

MARKS: Mapping[Verdict, str] = {"holds": "✓", "does not hold": "✗", "inconclusive": "?"}
"""Verdict on a claim to its sign."""


def write_page(experiment: Experiment, result: ExperimentResult, out: Path) -> Path:
    """Write the page with its tables as CSV and its plots; returns the page's path.

    Raises
    ------
    MissingExtra
        matplotlib is not installed.
    RunStopped
        The folder cannot be written.
    """
    path = out / f"{experiment.name}.md"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for table in result.measured.tables:
            _write_csv(out / f"{table.name}.csv", table)
        for plot in result.measured.plots:
            draw(plot, out)
        path.write_text(text(experiment, result), encoding="utf-8")
    return path


def text(experiment: Experiment, result: ExperimentResult) -> str:
    """The page as Markdown."""
    measured = result.measured
    parts = [
        f"# {_heading(experiment)}",
        f"{experiment.question}\n{_scope(result)}",
        *(["## Does it hold here?"] if measured.claims else []),
        *map(_claim, measured.claims),
        "## What was measured",
        *(part for table in measured.tables for part in (table.title, markdown(table))),
        *(f"![{plot.title}]({plot.name}.png)" for plot in measured.plots),
    ]
    numbers = experiment.paper_numbers()
    if numbers:
        parts += ["## The paper's numbers", *numbers]
    parts += ["## How it was measured", "\n".join(f"- {line}" for line in _how(result))]
    return "\n\n".join(parts) + "\n"


def markdown(table: Table) -> str:
    """A table as Markdown; numbers are aligned to the right."""
    numeric = [
        all(not isinstance(row[index], str) for row in table.rows)
        for index in range(len(table.columns))
    ]
    lines: list[Sequence[str]] = [
        table.columns,
        ["---:" if right else "---" for right in numeric],
        *([shown(cell) for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def shown(cell: Cell) -> str:
    """A cell as text: a number with its standard error, a difference with its interval."""
    if cell is None:
        return "-"
    if isinstance(cell, Number):
        return _number(cell)
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.1f}"
    return f"{cell:,}" if isinstance(cell, int) else cell.replace("|", "\\|")


def _number(number: Number) -> str:
    scale, digits = SCALES[number.unit]
    if number.unit == "points":
        value = f"{scale * number.value:+.1f}"
        if number.low is None or number.high is None:
            return value
        return f"{value} ({scale * number.low:+.1f} to {scale * number.high:+.1f})"
    error = "" if number.stderr is None else f" ± {scale * number.stderr:.{digits}f}"
    return f"{scale * number.value:.{digits}f}{error}"


def _heading(experiment: Experiment) -> str:
    if experiment.source == NOT_IN_THE_PAPER:
        return f"{experiment.title} ({experiment.source})"
    return f"{experiment.source}: {experiment.title}"


def _scope(result: ExperimentResult) -> str:
    settings = result.settings
    seeds = settings["seeds"]
    errors = (
        f"{seeds} seeds; errors (±, one standard error) and 95 % intervals are over prompts and seeds"
        if seeds > 1
        else "one seed; errors (±, one standard error) and 95 % intervals are over prompts alone and say nothing of other seeds"
    )
    size = ""
    if settings["quick"]:
        size = " A quick report: few prompts, so only large effects can be seen."
    elif (share := settings.get("share", 1)) < 1:
        size = f" {share:.0%} of the full report's prompts (how many: at the end of the page)."
    return f"Measured on {result.facts['model']}, {errors}.{size}"


def _claim(claim: Claim) -> str:
    claimed = claim.paper if claim.paper.startswith("(") else f"The paper: {claim.paper}"
    return f"**{MARKS[claim.verdict]}** *{claimed}*\n{claim.text}"


def _how(result: ExperimentResult) -> Iterator[str]:
    yield f"`{result.command}`"
    yield f"{_minutes(result.seconds)} on {result.facts['hardware']}" + (
        ", in several starts (those that were killed are not in that time)"
        if result.resumed
        else ""
    )
    yield f"commit {result.facts['commit'][:12]}; {result.facts['versions']}"
    yield "settings: " + ", ".join(
        f"{name} {_value(value)}"
        for name, value in result.settings.items()
        if value not in ("", None)
    )
    tables = ", ".join(f"[{table.name}.csv]({table.name}.csv)" for table in result.measured.tables)
    plots = "".join(f", [{plot.name}.svg]({plot.name}.svg)" for plot in result.measured.plots)
    yield f"all numbers with n, errors, intervals and each seed's value: {tables}{plots}"
    yield (
        "a claim holds where the 95 % interval of the difference lies above 0, does not hold where it lies below, and is inconclusive "
        "else; the three wordings were written before the numbers"
    )
    yield from result.measured.notes


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "/".join(f"{name} {each}" for name, each in value.items())
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.1f} minutes"


def _write_csv(path: Path, table: Table) -> None:
    """One row a row; a number becomes its value, error, interval, n and the values of the seeds."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        wide = [
            any(isinstance(row[index], Number) for row in table.rows)
            for index in range(len(table.columns))
        ]
        writer.writerow(
            heading
            for name, numbers in zip(table.columns, wide, strict=True)
            for heading in _heads(name, wide=numbers)
        )
        for row in table.rows:
            cells = zip(row, wide, strict=True)
            writer.writerow(
                value for cell, numbers in cells for value in _values(cell, wide=numbers)
            )


def _heads(name: str, *, wide: bool) -> Iterable[str]:
    name = name.removesuffix(", %")
    if not wide:
        return (name,)
    return (name, *(f"{name} {part}" for part in ("stderr", "low", "high", "n", "by seed")))


def _values(cell: Cell, *, wide: bool) -> Iterable[object]:
    if not wide:
        return (cell,)
    if not isinstance(cell, Number):
        return (cell, *[None] * 5)
    seeds = " ".join(f"{value:.6g}" for value in cell.by_seed)
    return (cell.value, cell.stderr, cell.low, cell.high, cell.n, seeds)
