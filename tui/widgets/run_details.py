"""The pane below the list of runs: what the run under the cursor is, whole, in as many lines as it takes."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from spar.view.text import one_line
from tui.index.run_summary import RunSummary
from tui.tables.runs import detail_grid, run_detail

LOWEST, LOWEST_ON_HIGH = 7, 10
"""Lines of the pane with its frame, at the least; on a high screen the second."""
HIGH = 32
"""Lines of a high screen."""
_NAME = 100


class RunDetails(VerticalScroll, can_focus=False):
    """The details of a run, which scroll where they are longer than the pane."""

    DEFAULT_CSS = """
    RunDetails { height: auto; padding: 0 1; scrollbar-size-vertical: 1; }
    """

    def __init__(self) -> None:
        super().__init__(classes="pane")
        self._run: RunSummary | None = None

    def compose(self) -> ComposeResult:
        """The text."""
        yield Static()

    def show_run(self, run: RunSummary | None, name: str) -> None:
        """Show a run, another one from its start."""
        if run == self._run:
            return
        if run is None or self._run is None or run.directory != self._run.directory:
            self.scroll_home(animate=False)
        self._run = run
        self.border_title = Text(one_line(name, _NAME))
        self.query_one(Static).update(detail_grid(run_detail(run) if run else []))

    def fit(self, free_lines: int) -> None:
        """Grow into the lines that the table of runs leaves free.

        Without any, the height is the same for every run, so that the table does not move with the cursor.
        """
        lowest = LOWEST if self.app.size.height < HIGH else LOWEST_ON_HIGH
        self.styles.min_height, self.styles.max_height = lowest, max(lowest, free_lines)
