"""Prints comparisons of evaluations: each metric's change with its interval, and the flipped examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spar.cli.show.report import as_text, open_console
from spar.eval.compare import Comparison, Flip
from spar.eval.statistics import Difference
from spar.view.text import run_letter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


def print_comparison(comparison: Comparison, *, flips: int = 10) -> None:
    """Print the comparison of one benchmark, with at most `flips` flipped examples each way."""
    console = open_console(piped_width=120)
    for line in (
        f"{comparison.benchmark}, {comparison.n} examples",
        f"first: {comparison.first}",
        f"second: {comparison.second}",
    ):
        console.print(as_text(line), soft_wrap=True)
    console.print(_metrics(comparison))
    hidden = len(comparison.metrics) - len(_shown(comparison))
    if hidden:
        console.print(f"{hidden} more metrics by subset, type or level: use --json")
    console.print(_flip_line(comparison))
    for ids, path in (
        (comparison.only_first, comparison.first),
        (comparison.only_second, comparison.second),
    ):
        if ids:
            console.print(as_text(f"left out, as only {path} has them: {len(ids)}"))
    for warning in comparison.warnings:
        console.print(as_text(f"warning: {warning}"))
    _print_flips(console, "passed in the second run only", comparison.gained, flips)
    _print_flips(console, "passed in the first run only", comparison.lost, flips)


def print_several(comparisons: Sequence[Comparison], *, flips: int = 10) -> None:
    """Print the comparisons of several evaluations of one benchmark with the first."""
    from rich.table import Table

    console = open_console(piped_width=120)
    first = comparisons[0]
    console.print(as_text(f"{first.benchmark}, {first.n} examples, each run against the first"))
    letters = [run_letter(place) for place in range(1, len(comparisons) + 1)]
    paths = (first.first, *(each.second for each in comparisons))
    for letter, path in zip(("A", *letters), paths, strict=True):
        console.print(as_text(f"{letter}: {path}"), soft_wrap=True)
    table = Table()
    table.add_column("metric", overflow="fold")
    for heading in ("run", "value", "change", "95 % interval", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in _shown(first):
        for number, each in enumerate(comparisons):
            if name not in each.metrics:
                continue
            cells = map(as_text, _row(each.metrics[name], each.units.get(name)))
            before, value, *others = cells
            if not number:
                table.add_row(as_text(name), "A", before, "-", "-", others[-1])
            table.add_row("", letters[number], value, *others)
    console.print(table)
    for letter, each in zip(letters, comparisons, strict=True):
        console.print(f"{letter}: {_flip_line(each, ('A', letter))}")
    console.print("p adjusted by Holm's method for the number of runs")
    missing = {name for each in comparisons for name in (*each.only_first, *each.only_second)}
    if missing:
        console.print(f"left out, as not all runs have them: {len(missing)}")
    for letter, each in zip(letters, comparisons, strict=True):
        for warning in each.warnings:
            console.print(as_text(f"warning: {letter}: {warning}"))
        _print_flips(
            console, f"passed in {letter} only, not in A", each.gained, flips, ("A", letter)
        )
        _print_flips(console, f"passed in A only, not in {letter}", each.lost, flips, ("A", letter))


def _metrics(comparison: Comparison) -> Table:
    from rich.table import Table

    table = Table()
    table.add_column("metric", overflow="fold")
    for heading in ("first", "second", "change", "95 % interval", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in _shown(comparison):
        row = _row(comparison.metrics[name], comparison.units.get(name))
        table.add_row(as_text(name), *map(as_text, row))
    return table


def _shown(comparison: Comparison) -> list[str]:
    headline = [name for name in comparison.metrics if "/" not in name]
    return headline or list(comparison.metrics)


def _row(change: Difference, unit: str | None) -> tuple[str, ...]:
    scale, sign = (1.0, f" {unit}") if unit else (100.0, " %")
    interval = "-"
    if change.low is not None and change.high is not None:
        interval = f"{scale * change.low:+.2f} to {scale * change.high:+.2f}"
    return (
        f"{scale * change.first:.2f}{sign}",
        f"{scale * change.second:.2f}{sign}",
        f"{scale * change.value:+.2f}",
        interval,
        f"{change.n:,}",
    )


def _flip_line(
    comparison: Comparison, names: tuple[str, str] = ("the first run", "the second")
) -> str:
    gained, lost = len(comparison.gained), len(comparison.lost)
    undecided = f", {comparison.undecided} without an outcome" if comparison.undecided else ""
    adjusted = "" if comparison.adjusted_p is None else f", adjusted {comparison.adjusted_p:.3g}"
    return (
        f"passed: {comparison.passed[0]} in {names[0]}, {comparison.passed[1]} in {names[1]}{undecided}; "
        f"{gained} gained, {lost} lost (exact McNemar p = {comparison.p:.3g}{adjusted})"
    )


def _print_flips(
    console: Console,
    title: str,
    flips: Sequence[Flip],
    max_rows: int,
    names: tuple[str, str] = ("first", "second"),
) -> None:
    from rich.table import Table

    if not flips or max_rows < 1:
        return
    console.print(f"{title}: {min(max_rows, len(flips))} of {len(flips)}")
    table = Table()
    table.add_column("id", overflow="fold", max_width=24)
    table.add_column("prompt", overflow="fold", ratio=1)
    for name in names:
        table.add_column(name, overflow="fold", ratio=1)
    for flip in flips[:max_rows]:
        prompt = as_text(flip.prompt or "")
        table.add_row(as_text(flip.id), prompt, _response(flip.first), _response(flip.second))
    console.print(table)


def _response(text: str | None) -> Text:
    return as_text("no answer", "dim") if text is None else as_text(text)
