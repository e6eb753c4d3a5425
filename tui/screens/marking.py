"""Stars and notes on the trees of a screen."""

from __future__ import annotations

from spar.errors import UsageError
from spar.view.text import one_line
from tui.run_view import RunView
from tui.screens.base import BrowserScreen, Result
from tui.widgets.note_bar import NoteBar


class MarkingScreen(BrowserScreen[Result]):
    """A screen with the keys of `tui.screens.keys.MARK_KEYS` and a `NoteBar`."""

    view: RunView

    def marked_tree(self) -> str | None:
        """The prompt id of the tree that the keys are about; None if there is none."""
        raise NotImplementedError

    def show_marks(self) -> None:
        """Show the marks as they are now."""
        raise NotImplementedError

    def action_star(self) -> None:
        """Star the tree, or take the star away."""
        prompt_id = self.marked_tree()
        if prompt_id is None:
            self.browser.show_warning("there is no tree to star here")
        else:
            self._change(prompt_id, star=not self.view.marks.of(prompt_id).star)

    def action_note(self) -> None:
        """Write a note on the tree."""
        prompt_id = self.marked_tree()
        if prompt_id is None:
            self.browser.show_warning("there is no tree to write a note on here")
        else:
            note = one_line(self.view.marks.of(prompt_id).note)
            self.query_one(NoteBar).open(prompt_id, note)

    def on_note_bar_submitted(self, event: NoteBar.Submitted) -> None:
        """Store the note."""
        self._change(event.prompt_id, note=event.text)

    def _change(self, prompt_id: str, *, star: bool | None = None, note: str | None = None) -> None:
        marks = self.view.marks
        was_elsewhere = marks.elsewhere.exists()
        try:
            stored = marks.change(prompt_id, star=star, note=note)
        except UsageError as error:
            self.browser.show_warning(str(error))
            return
        if stored == marks.elsewhere and not was_elsewhere:
            self.browser.show_message(
                f"this run directory is read-only: its stars and notes are in {stored}"
            )
        self.show_marks()
