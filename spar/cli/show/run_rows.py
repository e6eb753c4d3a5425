"""Prints runs side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from spar.cli.show.report import as_text, open_console
from spar.record.run_table import RunTable

if TYPE_CHECKING:
    from rich.table import Table

NAMES = "run"
"""Heading of the column with the runs' names, which is never put above the table."""
_SHORT = 12
"""Cells up to which a text is not folded."""
_LINES = 2
"""Lines that the name of a run may take in the table."""


def print_run_table(table: RunTable) -> None:
    """Print a row a run.

    Where it is too wide, a text that all runs share stands above it, and texts are folded. Names for which that leaves too
    few columns stand below it, by number.
    """
    from rich.measure import Measurement

    console = open_console(piped_width=120)

    def width(columns: Iterable[Sequence[Any]]) -> int:
        return Measurement.get(console, console.options, _drawn(columns)).maximum

    columns = list(zip(table.headings, table.numeric, *table.rows, strict=True))
    shared = {
        heading: cells[0]
        for heading, numeric, *cells in columns
        if not numeric and heading != NAMES and len(set(cells)) == 1
    }
    if shared and width(columns) >= console.width:
        line = ", ".join(f"{heading} {text}" for heading, text in shared.items())
        console.print(as_text(f"all: {line}"))
        columns = [column for column in columns if column[0] not in shared]
    names = [str(cell) for heading, _, *cells in columns if heading == NAMES for cell in cells]
    room = console.width - width(column for column in columns if column[0] != NAMES)
    if max(map(len, names), default=0) <= max(_SHORT, _LINES * room):
        console.print(_drawn(columns))
        return
    numbers: tuple[Any, ...] = (NAMES, False, *(f"{i}" for i in range(1, len(names) + 1)))
    console.print(_drawn(numbers if column[0] == NAMES else column for column in columns))
    for number, name in enumerate(names, start=1):
        console.print(as_text(f"{NAMES} {number}: {name}"), soft_wrap=True)


def _drawn(columns: Iterable[Sequence[Any]]) -> Table:
    """A table of columns, each a heading, whether it has numbers, and its cells."""
    from rich.table import Table

    shown, texts = Table(), []
    for heading, numeric, *values in columns:
        cells = [str(value) for value in values]
        width, title = max(map(len, cells)), str(heading)
        shown.add_column(
            as_text(title.replace(" ", "\n") if numeric and len(title) > width else title),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=bool(numeric) or max(len(title), width) <= _SHORT,
        )
        texts.append(cells)
    for row in zip(*texts, strict=True):
        shown.add_row(*map(as_text, row))
    return shown
