"""The settings of a search on two lines: model and judge; strategy, budget, seed and buttons."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, Label, Select

from tui.play import PlaySettings, read_settings


class PlayForm(Vertical):
    """The settings of the next search."""

    DEFAULT_CSS = """
    PlayForm { height: 2; padding: 0 1; }
    PlayForm Horizontal { height: 1; }
    PlayForm Label { padding: 0 1 0 0; }
    PlayForm Select { width: 16; margin-right: 1; }
    PlayForm Input { width: 8; margin-right: 1; }
    PlayForm #model { width: 1fr; max-width: 60; }
    PlayForm Button { margin-right: 1; min-width: 6; }
    """

    def __init__(
        self, strategies: Sequence[str], judges: Sequence[str], first: PlaySettings
    ) -> None:
        super().__init__()
        self._strategies, self._judges, self._first = strategies, judges, first

    def compose(self) -> ComposeResult:
        """The settings, then the buttons."""
        first = self._first
        with Horizontal():
            yield Label("model")
            holder = "folder, name, GGUF file or server URL"
            yield Input(first.model, holder, compact=True, select_on_focus=True, id="model")
            yield Label("judge")
            yield _select(self._judges, first.judge, "judge")
            yield Button("Samples", compact=True, id="samples")
        with Horizontal():
            yield _select(self._strategies, first.strategy, "strategy")
            yield Label("budget")
            yield Input(str(first.budget), compact=True, select_on_focus=True, id="budget")
            yield Label("seed")
            seed = "" if first.seed is None else str(first.seed)
            yield Input(seed, compact=True, select_on_focus=True, id="seed")
            yield Button("Run", compact=True, variant="primary", id="run")
            yield Button("Cancel", compact=True, disabled=True, id="cancel")
            yield Button("Store", compact=True, disabled=True, id="store")

    @property
    def model(self) -> str:
        """The model as it is typed."""
        return self.query_one("#model", Input).value

    def read(self) -> PlaySettings:
        """The current settings; raises `UsageError` for an invalid one."""
        return read_settings(
            str(self.query_one("#strategy", Select).value),
            self.query_one("#budget", Input).value,
            self.query_one("#seed", Input).value,
            str(self.query_one("#judge", Select).value),
            self.model,
        )

    def allow(self, *, searching: bool, can_store: bool) -> bool:
        """Enable the buttons; returns whether a search started or ended."""
        run = self.query_one("#run", Button)
        changed = run.disabled != searching
        run.disabled = searching
        self.query_one("#cancel", Button).disabled = not searching
        self.query_one("#store", Button).disabled = not can_store
        return changed


def _select(names: Sequence[str], value: str, identity: str) -> Select[str]:
    options = [(Text(name), name) for name in names]
    return Select(options, value=value, allow_blank=False, compact=True, id=identity)
