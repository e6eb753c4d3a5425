"""A table of any length: cells are made when their row is drawn, so that 100,000 rows cost as much as 20."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.message import Message

from tui.widgets.line_list import LineList

Cells = Callable[[int], Mapping[str, Text]]
"""A row's cells by column; a missing one is empty."""
GAP = " "


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    title: str
    width: int
    """In cells. 0: what the others leave."""
    right: bool = False
    """Whether it is flush right, as numbers are."""
    from_width: int = 0
    """Left out of a narrower table."""


class Table(LineList):
    """Rows below a head; a click on the head asks to sort."""

    class Sorted(Message):
        """A column's title was clicked."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__(head=True)
        self._columns = columns
        self._cells: Cells = _no_cells
        self._sorted: tuple[str, bool] | None = None

    def set_rows(self, count: int, cells: Cells) -> None:
        """Say how many rows there are and what stands in them."""
        self._cells = cells
        self.set_count(count)

    def mark_sorted(self, column: str | None, *, descending: bool = False) -> None:
        """Mark the column that the rows are sorted by."""
        self._sorted = (column, descending) if column else None
        self.refresh()

    def draw(self, line: int, width: int) -> Text:
        """A row, cut to the columns' widths."""
        cells = self._cells(line)
        parts = [
            _fitted(cells.get(column.name, Text()), size, right=column.right)
            for column, size in self.layout_columns(width)
        ]
        return Text(GAP).join(parts)

    def draw_head(self, width: int) -> Text:
        """The titles, the sorted one with an arrow."""
        parts = [
            _fitted(Text(self._title(column)), size, right=column.right)
            for column, size in self.layout_columns(width)
        ]
        return Text(GAP).join(parts)

    def clicked_head(self, x: int) -> None:
        """Ask to sort by the column there."""
        start = 0
        for column, size in self.layout_columns(self.scrollable_content_region.width - 1):
            if start <= x < start + size + len(GAP):
                self.post_message(self.Sorted(column.name))
            start += size + len(GAP)

    def layout_columns(self, width: int) -> list[tuple[Column, int]]:
        """The columns that a table of so many cells shows, and how wide each is."""
        shown = [column for column in self._columns if column.from_width <= width]
        taken = sum(column.width for column in shown) + len(GAP) * (len(shown) - 1)
        num_free = sum(1 for column in shown if not column.width)
        share = max((width - taken) // num_free, 1) if num_free else 0
        return [(column, column.width or share) for column in shown]

    def _title(self, column: Column) -> str:
        if self._sorted and self._sorted[0] == column.name:
            return f"{column.title}{'↓' if self._sorted[1] else '↑'}"
        return column.title


def _no_cells(row: int) -> Mapping[str, Text]:
    return {}


def _fitted(cell: Text, width: int, *, right: bool) -> Text:
    fitted = cell.copy()
    fitted.truncate(width, overflow="ellipsis")
    if right:
        fitted.pad_left(max(width - fitted.cell_len, 0))
    else:
        fitted.pad_right(max(width - fitted.cell_len, 0))
    return fitted
