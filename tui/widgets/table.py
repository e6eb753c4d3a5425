"""A table of any length: cells are created when their row is drawn, so 100,000 rows cost as much as 20."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual.message import Message

from tui.widgets.line_list import LineList

Cells = Callable[[int], Mapping[str, Text]]
"""Returns a row's cells by column name; a missing one is empty."""
GAP = " "
LEVEL_MARKS = " ▾▸"
"""What stands before a name in a list whose lines can be folded."""


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
        self._names: Sequence[str] = ()
        self._distinct_parts: dict[int, dict[str, tuple[int, int]]] = {}
        """By the width of the column."""

    def set_rows(self, count: int, cells: Cells, *, names: Sequence[str] = ()) -> None:
        """Set the number of rows and the function that returns their cells.

        `names` are the texts that lose their middle: no two that differ look the same.
        """
        self._cells, self._names = cells, names
        self._distinct_parts.clear()
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
            if column.cut_middle:
                cell = self._cut(cell, size)
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

    def _cut(self, cell: Text, width: int) -> Text:
        """A cell without its middle; what shows its level in a list stays."""
        num_before = len(cell.plain) - len(cell.plain.lstrip(LEVEL_MARKS))
        name, room = cell[num_before:], width - cell_len(cell.plain[:num_before])
        if name.cell_len <= room:
            return cell
        if room not in self._distinct_parts:
            names = [each.lstrip(LEVEL_MARKS) for each in self._names]
            self._distinct_parts[room] = distinct_parts(names, room)
        part = self._distinct_parts[room].get(name.plain)
        return cell[:num_before].append_text(cut_middle(name, room, part))

    def _title(self, column: Column) -> str:
        if self._sorted and self._sorted[0] == column.name:
            return f"{column.title}{'↓' if self._sorted[1] else '↑'}"
        return column.title


def cut_middle(text: Text, width: int, part: tuple[int, int] | None = None) -> Text:
    """The text in at most `width` cells, with an ellipsis in place of its middle if it is longer.

    Of a `part`, from one character to before another, as much stays as fits.
    """
    if text.cell_len <= width or width < 3:
        return text
    room = width - 1
    num_head = room // 3
    if part is not None:
        before, after = cell_len(text.plain[: part[1]]), cell_len(text.plain[part[0] :])
        if before <= room:
            num_head = max(num_head, before)
        elif after <= room:
            num_head = min(num_head, room - after)
        else:
            middle = Text.assemble("…", text[part[0] :])
            middle.truncate(width, overflow="ellipsis")
            return middle
    head = text.copy()
    head.truncate(num_head)
    room -= head.cell_len
    start = next(at for at in range(len(text) + 1) if cell_len(text.plain[at:]) <= room)
    return Text.assemble(head, "…", text[start:])


def cut_apart(names: Sequence[str], width: int) -> list[Text]:
    """Names in at most `width` cells, each without what it shares with the others if it is longer."""
    parts = distinct_parts(names, width)
    return [cut_middle(Text(name), width, parts.get(name)) for name in names]


def distinct_parts(names: Iterable[str], width: int) -> dict[str, tuple[int, int]]:
    """Of the names that look the same without their middle, the parts in which they differ (`cut_middle`)."""
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        if cell_len(name) > width:
            alike.setdefault(cut_middle(Text(name), width).plain, []).append(name)
    parts: dict[str, tuple[int, int]] = {}
    for group in alike.values():
        if len(group) > 1:
            start = _num_shared(group)
            num_last = _num_shared([name[:start:-1] for name in group])
            parts.update((name, (start, len(name) - num_last)) for name in group)
    return parts


def _num_shared(texts: Sequence[str]) -> int:
    """How many characters the texts begin with in common."""
    places = enumerate(zip(*texts, strict=False))
    return next((at for at, each in places if len(set(each)) > 1), min(map(len, texts)))


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
