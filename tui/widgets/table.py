"""A table of any length: cells are created when their row is drawn, so 100,000 rows cost as much as 20."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual.message import Message

from tui.widgets.line_list import LineList

Cells = Callable[[int], Mapping[str, Text]]
"""Returns a row's cells by column name; a missing one is empty."""
GAP = " "


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    title: str
    width: int
    """Width in cells; 0 for the remaining width."""
    right: bool = False
    """Whether to align right, as for numbers."""
    from_width: int = 0
    """Hidden if the table is narrower than this."""
    cut_middle: bool = False
    """Whether a text that is too long loses its middle, as for names that differ at their ends."""
    sortable: bool = True
    """Whether rows can be sorted by it."""


class Table(LineList):
    """Rows below a header; a click on the title of a sortable column posts `Sorted`."""

    class Sorted(Message):
        """A sortable column's title was clicked."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    def __init__(self, columns: Sequence[Column], *, classes: str = "") -> None:
        super().__init__(head=True, classes=classes)
        self._columns = columns
        self._cells: Cells = _no_cells
        self._sorted: tuple[str, bool] | None = None

    def set_rows(self, count: int, cells: Cells) -> None:
        """Set the number of rows and the function that returns their cells."""
        self._cells = cells
        self.set_count(count)

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Show other columns."""
        self._columns = columns
        self.refresh()

    def mark_sorted(self, column: str | None, *, descending: bool = False) -> None:
        """Mark the column that the rows are sorted by."""
        self._sorted = (column, descending) if column else None
        self.refresh()

    def draw(self, line: int, width: int) -> Text:
        """A row, truncated to the columns' widths."""
        cells, parts = self._cells(line), []
        for column, size in self.layout_columns(width):
            cell = cells.get(column.name, Text())
            cell = cut_middle(cell, size) if column.cut_middle else cell
            parts.append(_fitted(cell, size, right=column.right))
        return Text(GAP).join(parts)

    def draw_head(self, width: int) -> Text:
        """The titles, the sorted one with an arrow."""
        parts = [
            _fitted(Text(self._title(column)), size, right=column.right)
            for column, size in self.layout_columns(width)
        ]
        return Text(GAP).join(parts)

    def clicked_head(self, x: int) -> None:
        """Ask to sort by the column there, if it is sortable."""
        start = 0
        for column, size in self.layout_columns(self.scrollable_content_region.width - 1):
            if column.sortable and start <= x < start + size + len(GAP):
                self.post_message(self.Sorted(column.name))
            start += size + len(GAP)

    def layout_columns(self, width: int) -> list[tuple[Column, int]]:
        """The visible columns of a table of this width, and the width of each."""
        shown = [column for column in self._columns if column.from_width <= width]
        fixed = sum(column.width for column in shown) + len(GAP) * (len(shown) - 1)
        num_free = sum(1 for column in shown if not column.width)
        share = max((width - fixed) // num_free, 1) if num_free else 0
        return [(column, column.width or share) for column in shown]

    def _title(self, column: Column) -> str:
        if self._sorted and self._sorted[0] == column.name:
            return f"{column.title}{'↓' if self._sorted[1] else '↑'}"
        return column.title


def cut_middle(text: Text, width: int) -> Text:
    """The text in at most `width` cells, with an ellipsis in place of its middle if it is longer."""
    if text.cell_len <= width or width < 3:
        return text
    head = text.copy()
    head.truncate((width - 1) // 3)
    room = width - 1 - head.cell_len
    start = next(at for at in range(len(text) + 1) if cell_len(text.plain[at:]) <= room)
    return Text.assemble(head, "…", text[start:])


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
