"""The settings of a search on one line: strategy, budget, seed and buttons."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Input, Label, Select

from tui.play import PlaySettings, read_settings


class PlayForm(Horizontal):
    """The settings of the next search."""

    DEFAULT_CSS = """
    PlayForm { height: 1; padding: 0 1; }
    PlayForm > Label { padding: 0 1 0 0; }
    PlayForm > Select { width: 16; margin-right: 1; }
    PlayForm > Input { width: 8; margin-right: 1; }
    PlayForm > Button { margin-right: 1; min-width: 6; }
    """

    def __init__(self, strategies: Sequence[str], first: PlaySettings) -> None:
        super().__init__()
        self._strategies, self._first = strategies, first

    def compose(self) -> ComposeResult:
        """The settings, then the buttons."""
        options = [(Text(name), name) for name in self._strategies]
        yield Select(options, value=self._first.strategy, allow_blank=False, compact=True)
        yield Label("budget")
        yield Input(str(self._first.budget), compact=True, select_on_focus=True, id="budget")
        yield Label("seed")
        seed = "" if self._first.seed is None else str(self._first.seed)
        yield Input(seed, compact=True, select_on_focus=True, id="seed")
        yield Button("Run", compact=True, variant="primary", id="run")
        yield Button("Cancel", compact=True, disabled=True, id="cancel")
        yield Button("Store", compact=True, disabled=True, id="store")

    def read(self) -> PlaySettings:
        """The current settings; raises `UsageError` for an invalid one."""
        return read_settings(
            str(self.query_one(Select).value),
            self.query_one("#budget", Input).value,
            self.query_one("#seed", Input).value,
        )

    def allow(self, *, searching: bool, can_store: bool) -> bool:
        """Enable the buttons; returns whether a search started or ended."""
        run = self.query_one("#run", Button)
        changed = run.disabled != searching
        run.disabled = searching
        self.query_one("#cancel", Button).disabled = not searching
        self.query_one("#store", Button).disabled = not can_store
        return changed
