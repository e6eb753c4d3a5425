"""A line to write a short note in."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input, Label

from spar.record.marks import NOTE_CHARACTERS
from tui.widgets.input_bar import InputBar


class NoteBar(InputBar):
    """An input for a note; the handler of `Submitted` stores it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Leave the note as it was"),
    ]

    class Submitted(Message):
        """A note was written; an empty one removes it."""

        def __init__(self, prompt_id: str, text: str) -> None:
            super().__init__()
            self.prompt_id, self.text = prompt_id, text

    def __init__(self) -> None:
        super().__init__()
        self._prompt_id = ""

    def compose(self) -> ComposeResult:
        """What it is, the input, and its keys."""
        yield Label("note")
        yield Input(max_length=NOTE_CHARACTERS, compact=True, select_on_focus=False)
        yield Label("⏎ stores it, esc leaves it")

    def open(self, prompt_id: str, text: str) -> None:
        """Open the bar with the note of a tree."""
        self._prompt_id = prompt_id
        self.show(text)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Nothing is stored while it is typed."""
        event.stop()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Store the note."""
        event.stop()
        self.post_message(self.Submitted(self._prompt_id, event.value))
        self.close()

    def leave(self) -> None:
        """Store the note: a click elsewhere must not lose what was typed."""
        self.post_message(self.Submitted(self._prompt_id, self.query_one(Input).value))

    def action_cancel(self) -> None:
        """Close the bar and store nothing."""
        self.close()
