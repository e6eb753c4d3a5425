"""The application: which screen comes when, and what is the same on all of them.

    SparApp(Inputs(paths=(Path("runs"),))).run()

Screens: runs, the trees of a run, one tree; compare, training and play are imported when they are opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from spar.errors import UsageError
from spar.store import MANIFEST
from spar.view.text import safe
from tui.commands import KeyCommands
from tui.index.run_summary import read_run
from tui.inputs import Inputs
from tui.run_view import RunView
from tui.screens.help import HelpScreen
from tui.screens.others import open_screen
from tui.screens.runs import RunsScreen
from tui.screens.trees import TreesScreen
from tui.session_state import Memory, Place, load, save

DARK, LIGHT = "textual-dark", "textual-light"
SHOWN = 400
"""Characters of a notice."""


class SparApp(App[None]):
    """Browse runs and their trees."""

    CSS_PATH = "app.tcss"
    TITLE = "spar"
    COMMANDS = App.COMMANDS | {KeyCommands}
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012  # as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Keys", key_display="?"),
        Binding("q", "leave", "Leave the screen", show=False),
        Binding("T", "turn_theme", "Dark or light", show=False),
    ]

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs = inputs
        self.memory: Memory = load(inputs.memory)
        """The last place, as it is remembered."""

    def on_mount(self) -> None:
        """Begin where the browser was left, or with the run that was named."""
        if self.memory.theme in self.available_themes:
            self.theme = str(self.memory.theme)
        last = Path(self.memory.last) if self.memory.last else None
        self.push_screen(RunsScreen(self.inputs, last))
        named = self.inputs.paths[0] if len(self.inputs.paths) == 1 else None
        if named and (named.is_file() or (named / MANIFEST).is_file()):
            self.open_run(named)
        elif self.inputs.resume and last and last.exists():
            self.open_run(last, reopen=True)

    def on_unmount(self) -> None:
        """Remember the place."""
        save(self.inputs.memory, self.memory)

    def open_run(self, path: Path, *, reopen: bool = False) -> None:
        """Show the trees of a run; with `reopen`, the tree too that was on the screen the last time.

        A training loop has no trees of its own: its scores and training data are shown.
        """
        summary = read_run(path) if (path / MANIFEST).is_file() else None
        if summary is not None and summary.kind == "training":
            self.push_screen(open_screen("training", self.inputs, path))
            return
        try:
            view = RunView.open(path, self.inputs)
        except UsageError as error:
            self.warn(str(error))
            return
        self.remember(path, self.memory.place(path))
        self.push_screen(TreesScreen(self.inputs, view, reopen=reopen))

    def forget_run(self) -> None:
        """Remember that no run is on the screen."""
        self.memory = self.memory.model_copy(update={"last": None})
        save(self.inputs.memory, self.memory)

    def remember(self, run: Path, place: Place) -> None:
        """Remember where a person is."""
        self.memory = self.memory.at(run, place)

    def tell(self, message: str) -> None:
        """Say something, whatever the text holds."""
        self.notify(safe(message, limit=SHOWN), markup=False)

    def warn(self, message: str) -> None:
        """Say that something cannot be done."""
        self.notify(safe(message, limit=SHOWN), severity="warning", markup=False)

    def action_help(self) -> None:
        """Show the keys of the screen."""
        self.push_screen(HelpScreen(self.screen.active_bindings))

    async def action_leave(self) -> None:
        """Go back from a screen; from the first one, end."""
        if isinstance(self.screen, RunsScreen):
            self.exit()
        else:
            await self.run_action("back", self.screen)

    def action_turn_theme(self) -> None:
        """Between dark and light."""
        self.theme = LIGHT if self.current_theme.dark else DARK
        self.memory = self.memory.model_copy(update={"theme": self.theme})
