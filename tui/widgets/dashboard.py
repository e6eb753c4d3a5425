"""The dashboard of a run: titled panes side by side where there is room, two lines where there is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Static

from tui.tables.dashboard import (
    RunProgress,
    constraints_text,
    cost_text,
    depth_text,
    folded_text,
    outcome_text,
)

PANES: Mapping[str, Callable[[RunProgress, int], Text]] = {
    "outcome": outcome_text,
    "constraints that fail": constraints_text,
    "best score by depth": depth_text,
    "cost a prompt": cost_text,
}
"""Title of a pane to its text at a width."""
WIDE = 150
"""Cells from which all panes are in one row."""


class Dashboard(Container):
    """What a run did; `is_folded` shows it on two lines."""

    DEFAULT_CSS = """
    Dashboard { height: auto; layout: grid; grid-size: 2; grid-rows: 7; }
    Dashboard.-in-a-row { grid-size: 4; grid-columns: 4fr 4fr 3fr 4fr; }
    Dashboard > Static { padding: 0 1; height: 100%; text-wrap: nowrap; text-overflow: ellipsis; }
    Dashboard > #folded { display: none; height: 2; }
    Dashboard.-folded { layout: vertical; }
    Dashboard.-folded > Static { display: none; }
    Dashboard.-folded > #folded { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._run: RunProgress | None = None
        self._is_low = True
        """Whether the screen is too small for the panes."""
        self._turned = False
        """Whether it is folded where there is room, or the other way round."""

    def compose(self) -> ComposeResult:
        """The panes, and the lines that are shown in their place."""
        yield Static(id="folded")
        for number, title in enumerate(PANES):
            pane = Static(classes="pane", id=f"pane-{number}")
            pane.border_title = Text(title)
            yield pane

    @property
    def is_folded(self) -> bool:
        """Whether it is two lines."""
        return self._is_low is not self._turned

    def toggle(self) -> None:
        """Fold or unfold it."""
        self._turned = not self._turned
        self._arrange()

    def fit(self, width: int, *, is_low: bool) -> None:
        """Fit it to the screen."""
        self._is_low = is_low
        self.set_class(width >= WIDE, "-in-a-row")
        self._arrange()

    def set_content(self, run: RunProgress) -> None:
        """Show other numbers."""
        self._run = run
        self._draw()

    def on_resize(self) -> None:
        """Fit the bars to the width, once the panes have theirs."""
        self.call_after_refresh(self._draw)

    def _arrange(self) -> None:
        self.set_class(self.is_folded, "-folded")
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        if self._run is None:
            return
        width = max(self.size.width - 2, 1)
        self.query_one("#folded", Static).update(folded_text(self._run, width))
        for number, text in enumerate(PANES.values()):
            pane = self.query_one(f"#pane-{number}", Static)
            if pane.size.width:
                pane.update(text(self._run, pane.size.width))
