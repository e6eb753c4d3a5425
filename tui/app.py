"""The application: its screens, and what they have in common.

    SparApp(Inputs(paths=(Path("runs"),))).run()

The screens for runs, trees and one tree are imported at once; compare, training and play on first use.
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
from tui.screens.lazy import open_screen
from tui.screens.runs import RunsScreen
from tui.screens.trees import TreesScreen
from tui.session_state import Position, SessionState, load, save

DARK, LIGHT = "textual-dark", "textual-light"
SHOWN = 400
"""Maximum characters of a notification."""


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
        Binding("T", "toggle_theme", "Dark or light", show=False),
    ]

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs = inputs
        self.session: SessionState = load(inputs.state_file)
        """The state that is restored in the next session."""

    def on_mount(self) -> None:
        """Open the run that was passed, or resume the last session."""
        if self.session.theme in self.available_themes:
            self.theme = str(self.session.theme)
        last = Path(self.session.last) if self.session.last else None
        self.push_screen(RunsScreen(self.inputs, last))
        named = self.inputs.paths[0] if len(self.inputs.paths) == 1 else None
        if named and (named.is_file() or (named / MANIFEST).is_file()):
            self.open_run(named)
        elif self.inputs.resume and last and last.exists():
            self.open_run(last, reopen=True)

    def on_unmount(self) -> None:
        """Save the session."""
        save(self.inputs.state_file, self.session)

    def open_run(self, path: Path, *, reopen: bool = False) -> None:
        """Show the trees of a run; with `reopen`, also the tree that was open in the last session.

        A training loop has no trees of its own, so its scores and training data are shown.
        """
        summary = read_run(path) if (path / MANIFEST).is_file() else None
        if summary is not None and summary.kind == "training":
            self.push_screen(open_screen("training", self.inputs, path))
            return
        try:
            view = RunView.open(path, self.inputs)
        except UsageError as error:
            self.show_warning(str(error))
            return
        self.remember(path, self.session.position_in(path))
        self.push_screen(TreesScreen(self.inputs, view, reopen=reopen))

    def leave_run(self) -> None:
        """Record that no run is open."""
        self.session = self.session.model_copy(update={"last": None})
        save(self.inputs.state_file, self.session)

    def remember(self, run: Path, position: Position) -> None:
        """Record the position in a run."""
        self.session = self.session.with_position(run, position)

    def show_message(self, message: str) -> None:
        """Show a notification; the text is sanitized."""
        self.notify(safe(message, limit=SHOWN), markup=False)

    def show_warning(self, message: str) -> None:
        """Show a warning; the text is sanitized."""
        self.notify(safe(message, limit=SHOWN), severity="warning", markup=False)

    def action_help(self) -> None:
        """Show the keys of the current screen."""
        self.push_screen(HelpScreen(self.screen.active_bindings))

    async def action_leave(self) -> None:
        """Go back from a screen, or quit from the first one."""
        if isinstance(self.screen, RunsScreen):
            self.exit()
        else:
            await self.run_action("back", self.screen)

    def action_toggle_theme(self) -> None:
        """Switch between the dark and the light theme."""
        self.theme = LIGHT if self.current_theme.dark else DARK
        self.session = self.session.model_copy(update={"theme": self.theme})
