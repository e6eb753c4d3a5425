"""Prints runs side by side."""

from __future__ import annotations

from collections.abc import Collection

from spar.cli.show.report import as_text, open_console
from spar.record.run_table import RunTable

NAMES = frozenset({"run"})
"""Headings of columns that are never put above the table."""
_SHORT = 12
"""Cells up to which a text is not folded."""


def print_run_table(table: RunTable) -> None:
    """Print a row a run; where it is too wide, a text that all runs share stands above it, and texts are folded."""
    from rich.measure import Measurement
    from rich.table import Table

    console = open_console(piped_width=120)
    shared = {
        heading: cells[0]
        for heading, numeric, *cells in zip(table.headings, table.numeric, *table.rows, strict=True)
        if not numeric and heading not in NAMES and len(set(cells)) == 1
    }

    def build(leave_out: Collection[str]) -> Table:
        shown = Table()
        columns = zip(table.headings, table.numeric, *table.rows, strict=True)
        chosen = [column for column in columns if column[0] not in leave_out]
        for heading, numeric, *cells in chosen:
            width = max(map(len, cells))
            shown.add_column(
                as_text(
                    heading.replace(" ", "\n") if numeric and len(heading) > width else heading
                ),
                justify="right" if numeric else "left",
                overflow="fold",
                no_wrap=numeric or max(len(heading), width) <= _SHORT,
            )
        for row in zip(*(cells for _, _, *cells in chosen), strict=True):
            shown.add_row(*map(as_text, row))
        return shown

    whole = build(())
    if shared and Measurement.get(console, console.options, whole).maximum >= console.width:
        line = ", ".join(f"{heading} {text}" for heading, text in shared.items())
        console.print(as_text(f"all: {line}"))
        whole = build(shared)
    console.print(whole)
