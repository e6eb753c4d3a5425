"""Where a person types an instruction: Enter asks, ctrl+j begins a new line."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.widgets import TextArea

TAB = "    "


class Instruction(TextArea):
    """A text of several lines. What cannot be seen is left out of what is pasted: what is asked is what is shown."""

    DEFAULT_CSS = """
    Instruction { height: 4; border: none; border-left: thick $primary; padding: 0 1; }
    Instruction:focus { border: none; border-left: thick $accent; }
    """

    class Asked(Message):
        """Enter was pressed."""

    def __init__(self, text: str = "") -> None:
        super().__init__(plain(text), soft_wrap=True, show_line_numbers=False, compact=True)

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.post_message(self.Asked())
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
    """The text without what no one can see: control characters, marks of direction, lone surrogates."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", TAB)
    return "".join(character for character in lines if character.isprintable() or character == "\n")
