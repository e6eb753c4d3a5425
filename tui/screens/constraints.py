"""A choice of the constraint types that answers of a run fail, those that fail most first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from spar.record.run_outcomes import ConstraintTotals
from spar.view.palette import PALETTE
from tui.tables.dashboard import bar, short_type
from tui.widgets.line_list import LineList
from tui.widgets.table import Column, Table

COLUMNS = (
    Column("type", "constraint", 0),
    Column("draft", "drafts", 7, right=True),
    Column("answer", "answers", 7, right=True),
    Column("n", "of", 6, right=True),
    Column("bar", "", 12),
)
_BAR = 12


class ConstraintScreen(ModalScreen[str | None]):
    """Returns the chosen type; "" for all, None for no change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,c", "dismiss", "Close", show=False),
    ]
    CSS = """
    ConstraintScreen { align: center middle; }
    ConstraintScreen > Vertical { width: 72; max-width: 95%; height: auto; max-height: 80%;
                                  background: $background; }
    ConstraintScreen Table { height: auto; max-height: 24; }
    """

    def __init__(self, types: Sequence[tuple[str, ConstraintTotals]], shown: str) -> None:
        super().__init__()
        self._types, self._shown = types, shown

    def compose(self) -> ComposeResult:
        """The table."""
        with Vertical(classes="pane") as pane:
            pane.border_title = Text("constraints that fail")
            pane.border_subtitle = Text("⏎ shows their trees, esc closes")
            yield Table(COLUMNS)

    def on_mount(self) -> None:
        """Fill the table; the cursor is on the type that is shown, else on the one that fails most."""
        table, names = self.query_one(Table), [name for name, _ in self._types]
        table.set_rows(len(names) + 1, self._cells)
        table.styles.height = len(names) + 2
        table.cursor = names.index(self._shown) + 1 if self._shown in names else 1
        table.focus()

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """Choose the type."""
        self.dismiss(self._types[event.line - 1][0] if event.line else "")

    def _cells(self, line: int) -> Mapping[str, Text]:
        if line == 0:
            return {"type": Text("all trees", style=PALETTE["note"])}
        name, totals = self._types[line - 1]
        family = name.rpartition(":")[0]
        title = Text.assemble(short_type(name), (f"  {family}", PALETTE["note"]))
        return {
            "type": title,
            "draft": Text(f"{totals.before:,}"),
            "answer": Text(f"{totals.after:,}", style=PALETTE["fail"]),
            "n": Text(f"{totals.n:,}"),
            "bar": Text(bar(totals.after / totals.n if totals.n else 0, _BAR), PALETTE["fail"]),
        }
