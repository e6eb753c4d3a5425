"""The application: its screens, and what they have in common.

    SparApp(Inputs(paths=(Path("runs"),))).run()

The screens for runs, trees and one tree are imported at once; compare, training and play on first use.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from rich.terminal_theme import TerminalTheme
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.theme import Theme

from spar.errors import UsageError
from spar.record.evaluation import NO_TREES
from spar.store import MANIFEST, TREES
from spar.view.text import safe
from tui.clipboard import edit_file, write_file
from tui.colours import ReadableText, ansi_colours
from tui.commands import KeyCommands
from tui.index.run_summary import read_run
from tui.inputs import Inputs
from tui.keymap import Keymap, read_keymap, template
from tui.run_view import RunView
from tui.screens.base import BrowserScreen
from tui.screens.help import HelpScreen
from tui.screens.keys import APP_KEYS
from tui.screens.lazy import open_screen
from tui.screens.runs import RunsScreen
from tui.screens.trees import TreesScreen
from tui.session_state import Position, SessionState, load, save

DARK, LIGHT = "textual-dark", "textual-light"
SHOWN_PROBLEMS = 3
"""Maximum mistakes in a key map that are named."""
SHOWN = 400
"""Maximum characters of a notification."""


class SparApp(App[None]):
    """Browse runs and their trees."""

    CSS_PATH = "app.tcss"
    TITLE = "spar"
    COMMANDS = {KeyCommands}  # noqa: RUF012  # as Textual declares it
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012  # as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = APP_KEYS

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs = inputs
        self.session: SessionState = load(inputs.state_file)
        """The state that is restored in the next session."""
        self.keymap = Keymap()
        """The reader's own keys."""
        self._ansi_themes: dict[str, TerminalTheme] = {}
        """The colours of meaning by the name of the theme."""
        self._refresh_truecolor_filter(self.ansi_theme)
        self._filters.append(ReadableText())
        self._first_theme = self.theme

    @property
    def ansi_theme(self) -> TerminalTheme:
        """The colours of meaning, in those of the theme; read for each line that is drawn, so computed once a theme."""
        theme = self.current_theme
        if theme.name not in self._ansi_themes:
            self._ansi_themes[theme.name] = ansi_colours(theme)
        return self._ansi_themes[theme.name]

    def on_mount(self) -> None:
        """Open the run that was passed, or resume the last session."""
        if self.session.theme in self.available_themes:
            self.theme = str(self.session.theme)
        self.read_keys()
        self.theme_changed_signal.subscribe(self, self._remember_theme)
        last = Path(self.session.last) if self.session.last else None
        self.push_screen(RunsScreen(self.inputs, last))
        named = self.inputs.paths[0] if len(self.inputs.paths) == 1 else None
        if named and (named.is_file() or _has_run(named)):
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
        if summary is not None and summary.answers_given:
            self.show_warning(f"{path} {NO_TREES}")
            return
        try:
            view = RunView.open(path, self.inputs)
        except UsageError as error:
            self.show_warning(str(error))
            return
        self.remember(path, self.session.position_in(path))
        self.push_screen(TreesScreen(self.inputs, view, reopen=reopen))

    def read_keys(self) -> None:
        """Read the reader's own keys, and say what is wrong in their file."""
        path = self.inputs.keymap_file
        if path is None or not path.exists():
            return
        from tui.screens.actions import actions, as_textual

        self.keymap = read_keymap(path, actions())
        self.set_keymap(as_textual(self.keymap))
        for problem in self.keymap.problems[:SHOWN_PROBLEMS]:
            self.show_warning(problem)
        if (more := len(self.keymap.problems) - SHOWN_PROBLEMS) > 0:
            self.show_warning(f"{path.name} has {more} more mistakes")

    def key_of(self, name: str, default: str) -> str:
        """The key of an action as it is shown, `default` without a key map."""
        keys = self.keymap.keys.get(name)
        return self.get_key_display(Binding(keys[0], "")) if keys else default

    def edit_keys(self) -> None:
        """Open the key map in an editor, a new one with every action in it, and read it again."""
        path = self.inputs.keymap_file
        if path is None:
            self.show_warning("this browser was started without a file for keys")
            return
        from tui.screens.actions import actions

        try:
            if not path.exists():
                write_file(path, template(actions()))
        except UsageError as error:
            self.show_warning(str(error))
            return
        edit_file(self, path)
        self.read_keys()
        self.show_message(f"keys are read from {path}")

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Textual's own commands, and the key map."""
        yield SystemCommand("Edit the key map", "Your own keys, in $EDITOR", self.edit_keys)
        yield from super().get_system_commands(screen)

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
        if isinstance(self.screen, BrowserScreen):
            await self.screen.leave()
        else:
            await self.run_action("back", self.screen)

    def action_no_search(self) -> None:
        """Say where the search is."""
        self.show_warning(
            "/ searches in the lists of runs and of trees, and in a tree; this screen has no search"
        )

    def action_commands(self) -> None:
        """Open the command palette, as `^p` does."""
        self.action_command_palette()

    def action_toggle_theme(self) -> None:
        """Switch between the dark and the light theme."""
        self.theme = LIGHT if self.current_theme.dark else DARK

    def _remember_theme(self, theme: Theme) -> None:
        """Record a theme that was chosen, with `T` or in the palette."""
        if self.session.theme or theme.name != self._first_theme:
            self.session = self.session.model_copy(update={"theme": theme.name})


def _has_run(folder: Path) -> bool:
    """Whether a folder is a run, or has the trees of one, such as a copy of them."""
    return (folder / MANIFEST).is_file() or (folder / TREES).is_file()
