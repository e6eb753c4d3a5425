"""Several runs on the same prompts: a table of prompts and runs, a column each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from tui.compare.several import PromptFilter, SeveralRuns
from tui.index.run_index import TreeIndex
from tui.screens.comparing import ComparingScreen
from tui.screens.jump import show_tree
from tui.screens.keys import key
from tui.tables.several import (
    FILTER_NAMES,
    columns,
    prompt_cells,
    prompt_counts_text,
    runs_that_fit,
    standings_text,
)
from tui.widgets.bars import StatusBar
from tui.widgets.choices import Choices
from tui.widgets.footer import KeyFooter
from tui.widgets.table import Table


class SeveralScreen(ComparingScreen[SeveralRuns, PromptFilter]):
    """A table of the prompts that all runs have; one run is selected, and Enter opens its tree."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "run(1)", "Run", key_display="→", tooltip="Select the next run"),
        Binding("left,h", "run(-1)", "Select the run before", show=False),
        key("open", "o", "open", "Open the tree of the selected run", "Tree", display="⏎"),
        key("flips", "f", "flips", "Show what some runs pass and some fail", "Flips"),
        Binding("n", "flip(1)", "Next", tooltip="Next flip"),
        Binding("N", "flip(-1)", "Previous flip", show=False),
        *(
            Binding(f"{number}", f"kind({number - 1})", f"Show {what}", show=False)
            for number, what in enumerate(
                (
                    "all",
                    "what some pass and some fail",
                    "what all pass",
                    "what none passes",
                    "what only one passes",
                ),
                start=1,
            )
        ),
        Binding("R", "reload", "Read the runs again", show=False),
        Binding("escape", "back", "Back", key_display="esc"),
    ]
    CSS = """
    SeveralScreen #names { height: auto; max-height: 50%; padding: 0 1; text-wrap: nowrap; }
    """
    filters = FILTER_NAMES
    kind: PromptFilter = "all"
    selected = 0
    """The selected run."""
    _first = 0
    """The first run that has a column on the screen."""

    def compose(self) -> ComposeResult:
        """How the runs stand, the filters, the table and the status."""
        yield Static(id="names")
        yield Choices()
        yield Table(())
        yield StatusBar()
        yield KeyFooter()

    def on_resize(self) -> None:
        """Fit the names and the columns to the width."""
        self.show_names()
        self.call_after_refresh(self._fit)

    def compare(self, indexes: Sequence[TreeIndex]) -> SeveralRuns:
        """Begin the comparison of all runs."""
        return SeveralRuns(indexes)

    def cells(self, comparison: SeveralRuns, position: int) -> Mapping[str, Text]:
        """Each run's result for a prompt."""
        return prompt_cells(position, comparison.line(position), self.selected)

    def show(self) -> None:
        """Update the screen from the comparison, and the names at the width of the screen."""
        super().show()
        self.show_names()

    def names_text(self) -> Text:
        """Each run's name, share and change, the selected one marked."""
        names = [self.name_of(path) for path in self.paths]
        return standings_text(names, self.standings, self.selected, self.app.size.width - 2)

    def status_text(self, comparison: SeveralRuns) -> Text:
        """How many prompts are compared."""
        return prompt_counts_text(comparison.prompt_counts)

    def action_open(self) -> None:
        """Show the selected run's tree for the prompt under the cursor."""
        if self.comparison and self.position is not None:
            row = self.comparison.line(self.position).rows[self.selected]
            show_tree(self, self.views[self.selected], row.number, None)

    def action_run(self, step: int) -> None:
        """Select another run; where there is no room for all, the columns move."""
        self.selected = (self.selected + step) % len(self.paths)
        self._fit()
        self.show_names()

    def _fit(self) -> None:
        """Show as many runs as fit, the selected one among them."""
        table, number = self.query_one(Table), len(self.paths)
        shown = min(runs_that_fit(table.scrollable_content_region.width - 1), number)
        first = min(self._first, self.selected)
        self._first = min(max(first, self.selected - shown + 1), number - shown)
        table.set_columns(columns(self._first, shown, self.selected))
