"""A dashboard: titled panes side by side where there is room, two lines where there is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Size
from textual.widgets import Static

Pane = Callable[[Any, int], Text]
"""Returns the text of a pane for what is shown, at a width."""
WIDE = 150
"""Cells from which all panes are in one row."""
LOW, NARROW = 36, 100
"""Lines and cells below which it is folded at first."""


class Dashboard(Container):
    """Panes by their titles; `is_folded` shows two lines in their place."""

    DEFAULT_CSS = """
    Dashboard { height: auto; layout: grid; grid-size: 2; grid-rows: 7; }
    Dashboard.-in-a-row { grid-size: 4; grid-columns: 4fr 4fr 3fr 4fr; }
    Dashboard > Static { padding: 0 1; height: 100%; text-wrap: nowrap; text-overflow: ellipsis; }
    Dashboard > #folded { display: none; height: 2; }
    Dashboard.-folded { layout: vertical; }
    Dashboard.-folded > Static { display: none; }
    Dashboard.-folded > #folded { display: block; }
    """

    def __init__(self, panes: Mapping[str, Pane], folded: Pane) -> None:
        super().__init__()
        self._panes, self._folded = panes, folded
        self._content: Any = None
        self._is_low = True
        """Whether the screen is too small for the panes."""
        self._turned = False
        """Whether it is folded where there is room, or the other way round."""

    def compose(self) -> ComposeResult:
        """The panes, and the lines that are shown in their place."""
        yield Static(id="folded")
        for number, title in enumerate(self._panes):
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

    def restore(self) -> None:
        """Fold or unfold it as it was at first."""
        self._turned = False
        self._arrange()

    def fit(self, screen: Size) -> None:
        """Fit it to the size of the screen."""
        self._is_low = screen.height < LOW or screen.width < NARROW
        self.set_class(screen.width >= WIDE, "-in-a-row")
        self.set_class(screen.width < NARROW, "-narrow")
        self._arrange()

    def set_content(self, content: Any) -> None:
        """Show other numbers; does nothing if they are the same."""
        if content == self._content:
            return
        self._content = content
        self._draw()

    def on_resize(self) -> None:
        """Fit the bars to the width, once the panes have theirs."""
        self.call_after_refresh(self._draw)

    def _arrange(self) -> None:
        self.set_class(self.is_folded, "-folded")
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        if self._content is None:
            return
        width = max(self.size.width - 2, 1)
        self.query_one("#folded", Static).update(self._folded(self._content, width), layout=False)
        for number, text in enumerate(self._panes.values()):
            pane = self.query_one(f"#pane-{number}", Static)
            if pane.size.width:
                pane.update(text(self._content, pane.size.width), layout=False)
