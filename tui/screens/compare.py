"""Two runs on the same prompts: which answers pass in each, and which prompts flipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from spar.view.palette import PALETTE
from tui.compare.comparison import Comparison, PairFilter
from tui.compare.pair import NAME_WIDTH
from tui.index.run_index import TreeIndex
from tui.screens.comparing import ComparingScreen
from tui.screens.jump import show_tree
from tui.screens.pair import PairScreen, Sides
from tui.tables.comparison import COLUMNS, FILTER_NAMES, change_text, counts_text, pair_cells
from tui.widgets.bars import StatusBar
from tui.widgets.choices import Choices
from tui.widgets.footer import KeyFooter
from tui.widgets.table import Table


class CompareScreen(ComparingScreen[Comparison, PairFilter]):
    """A table of the prompts that both runs have."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l,right", "open", "Open", key_display="⏎"),
        Binding("f", "flips", "Flips"),
        Binding("n", "flip(1)", "Next", tooltip="Next flip"),
        Binding("N", "flip(-1)", "Previous flip", show=False),
        Binding("1", "kind(0)", "Show all", show=False),
        Binding("2", "kind(1)", "Show what flipped", show=False),
        Binding("3", "kind(2)", "Show what only A passes", show=False),
        Binding("4", "kind(3)", "Show what only B passes", show=False),
        Binding("5", "kind(4)", "Show what both pass", show=False),
        Binding("6", "kind(5)", "Show what neither passes", show=False),
        Binding("a", "tree(0)", "Tree A"),
        Binding("b", "tree(1)", "Tree B"),
        Binding("R", "reload", "Read both runs again", show=False),
        Binding("escape,h,left", "back", "Back", key_display="esc"),
    ]
    CSS = """
    CompareScreen #names { height: 3; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """
    filters = FILTER_NAMES
    kind: PairFilter = "all"

    def compose(self) -> ComposeResult:
        """Both names, the filters, the table and the status."""
        yield Static(self.names_text(), id="names")
        yield Choices()
        yield Table(COLUMNS)
        yield StatusBar()
        yield KeyFooter()

    def on_resize(self) -> None:
        """Fit the names to the width."""
        self.show_names()

    def compare(self, indexes: Sequence[TreeIndex]) -> Comparison:
        """Begin the comparison of both runs."""
        return Comparison(indexes[0], indexes[1])

    def cells(self, comparison: Comparison, position: int) -> Mapping[str, Text]:
        """Both results for a prompt."""
        return pair_cells(position, comparison.pair(position))

    def names_text(self) -> Text:
        """Both names, and the difference of the two."""
        first, second = self.names_in(self.app.size.width - 5)
        text = Text("A  ", style=PALETTE["head"]).append_text(first)
        text.append("\nB  ", style=PALETTE["head"]).append_text(second)
        change = self.standings[1].change if self.standings else None
        return text.append("\n").append_text(change_text(change))

    def status_text(self, comparison: Comparison) -> Text:
        """How many prompts each side passes."""
        return counts_text(comparison.outcome_counts)

    def action_open(self) -> None:
        """Show both answers to the prompt under the cursor."""
        if self.comparison and (prompt := self.prompt) is not None:
            views = (self.views[0], self.views[1])
            first, second = self.names_in(NAME_WIDTH)
            sides = Sides(self.comparison, views, (first.plain, second.plain), self)
            self.app.push_screen(PairScreen(sides, prompt), self.go_to)

    def action_tree(self, side: int) -> None:
        """Show one side's tree."""
        if self.comparison and self.position is not None:
            pair = self.comparison.pair(self.position)
            row = (pair.left, pair.right)[side]
            show_tree(self, self.views[side], row.number, None)
