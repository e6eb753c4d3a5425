"""Two runs on the same prompts: which answers pass in each, and which prompts flipped."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from spar.view.palette import PALETTE
from tui.compare.comparison import PAIR_FILTERS, Comparison, OutcomeCounts, PairFilter, count_of
from tui.index.run_index import TreeIndex
from tui.screens.comparing import ComparingScreen
from tui.screens.jump import show_tree
from tui.screens.pair import PairScreen, Sides
from tui.tables.comparison import COLUMNS, FILTER_NAMES, change_text, counts_text, pair_cells
from tui.widgets.bars import StatusBar
from tui.widgets.choices import Choice, Choices
from tui.widgets.footer import KeyFooter
from tui.widgets.table import Table


class CompareScreen(ComparingScreen[Comparison]):
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
    kind: PairFilter = "all"

    def compose(self) -> ComposeResult:
        """Both names, the filters, the table and the status."""
        yield Static(self.names_text(), id="names")
        yield Choices()
        yield Table(COLUMNS)
        yield StatusBar()
        yield KeyFooter()

    def compare(self, indexes: Sequence[TreeIndex]) -> Comparison:
        """Begin the comparison of both runs."""
        return Comparison(indexes[0], indexes[1])

    def passes(self) -> Sequence[Sequence[bool]]:
        """Of each side."""
        if self.comparison is None or not self.comparison.outcome_counts.done:
            return ()
        passes = self.comparison.passes()
        return [[pair[side] for pair in passes] for side in (0, 1)]

    def order(self) -> array[int]:
        """Positions of the prompts that the filter shows."""
        return self.comparison.order(self.kind) if self.comparison else array("q")

    def show_rows(self) -> None:
        """Update the table and the filters."""
        self.query_one(Table).set_rows(len(self.positions), self._cells)
        if self.comparison:
            choices = [
                Choice(kind, FILTER_NAMES[kind], count_of(self.comparison.outcome_counts, kind))
                for kind in PAIR_FILTERS
            ]
            self.query_one(Choices).set_content(choices, self.kind)

    def names_text(self) -> Text:
        """Both names, and the difference of the two."""
        text = Text("A  ", style=PALETTE["head"]).append(self.name_of(self.paths[0]))
        text.append("\nB  ", style=PALETTE["head"]).append(self.name_of(self.paths[1]))
        counts = self.comparison.outcome_counts if self.comparison else OutcomeCounts()
        change = self.standings[1].change if self.standings else None
        return text.append("\n").append_text(change_text(change, counts))

    def status_text(self) -> Text:
        """How many prompts each side passes."""
        return counts_text(self.comparison.outcome_counts) if self.comparison else Text()

    def action_open(self) -> None:
        """Show both answers to the prompt under the cursor."""
        table = self.query_one(Table)
        if self.comparison and table.count:
            views = (self.views[0], self.views[1])
            names = (self.name_of(self.paths[0]), self.name_of(self.paths[1]))
            sides = Sides(self.comparison, views, names)
            self.app.push_screen(PairScreen(sides, self.positions, table.cursor), self._on_return)

    def action_kind(self, position: int) -> None:
        """Filter the prompts."""
        self.kind = PAIR_FILTERS[position]
        self.choose()

    def action_flips(self) -> None:
        """Show only the prompts that flipped, or all again."""
        self.action_kind(PAIR_FILTERS.index("all" if self.kind == "flips" else "flips"))

    def action_tree(self, side: int) -> None:
        """Show one side's tree."""
        if self.comparison and self.position is not None:
            pair = self.comparison.pair(self.position)
            row = (pair.left, pair.right)[side]
            show_tree(self, self.views[side], row.number, None)

    def on_choices_chosen(self, event: Choices.Chosen) -> None:
        """Use the filter that was clicked."""
        self.action_kind(PAIR_FILTERS.index(cast("PairFilter", event.name)))

    def _cells(self, line: int) -> Mapping[str, Text]:
        if self.comparison is None:
            return {}
        position = self.positions[line]
        return pair_cells(position, self.comparison.pair(position))

    def _on_return(self, line: int | None) -> None:
        """On return from a pair, move the cursor to the last one that was viewed."""
        if line is not None:
            self.query_one(Table).cursor = line
