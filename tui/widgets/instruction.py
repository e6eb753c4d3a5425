"""An input for an instruction: Enter submits, ctrl+j inserts a line break."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.widgets import TextArea

TAB = "    "


class Instruction(TextArea):
    """A text of several lines. Invisible characters are removed from pasted text, so the prompt is what is shown."""

    DEFAULT_CSS = """
    Instruction { height: 4; border: none; border-left: thick $primary; padding: 0 1; }
    Instruction:focus { border: none; border-left: thick $accent; }
    """

    class Submitted(Message):
        """Enter was pressed."""

    def __init__(self, text: str = "") -> None:
        super().__init__(plain(text), soft_wrap=True, show_line_numbers=False, compact=True)

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.post_message(self.Submitted())
        elif event.key == "ctrl+j":
            event.stop()
            event.prevent_default()
            self.replace("\n", *self.selection)

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        pasted = self.replace(plain(event.text), *self.selection)
        self.move_cursor(pasted.end_location)


def plain(text: str) -> str:
    """The text without invisible characters: control characters, direction marks, lone surrogates."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", TAB)
    return "".join(character for character in lines if character.isprintable() or character == "\n")
