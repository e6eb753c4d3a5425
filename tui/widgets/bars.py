"""One-line bars: how things stand, and what is looked for."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label, Static


class StatusBar(Static):
    """How things stand, on one line."""

    DEFAULT_CSS = """
    StatusBar { height: 1; padding: 0 1; background: $panel; color: $foreground; text-wrap: nowrap;
                text-overflow: ellipsis; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._said = Text()

    def say(self, text: Text) -> None:
        """Show something else; the same again costs nothing."""
        if text != self._said or text.spans != self._said.spans:
            self._said = text
            self.update(text, layout=False)


class SearchBar(Horizontal):
    """Where a person types what to look for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("ctrl+r", "turn", "Text or regular expression", priority=True),
    ]
    DEFAULT_CSS = """
    SearchBar { height: 1; display: none; background: $panel; }
    SearchBar.-open { display: block; }
    SearchBar > Input { width: 1fr; border: none; height: 1; padding: 0; background: $panel; }
    SearchBar > Label { padding: 0 1; }
    """

    class Asked(Message):
        """Look for this; nothing: look for nothing any more."""

        def __init__(self, text: str, *, regex: bool) -> None:
            super().__init__()
            self.text, self.regex = text, regex

    class Closed(Message):
        """The bar is out of sight."""

    def __init__(self) -> None:
        super().__init__()
        self._regex = False

    def compose(self) -> ComposeResult:
        """A mark, the input and how it is read."""
        yield Label("/")
        yield Input(id="wanted", select_on_focus=True)
        yield Label(self._reading(), id="reading")

    def open(self, text: str, *, regex: bool) -> None:
        """Let a person type."""
        self._regex = regex
        self.query_one("#reading", Label).update(self._reading())
        self.add_class("-open")
        wanted = self.query_one(Input)
        wanted.value = text
        wanted.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Look for it."""
        event.stop()
        self.post_message(self.Asked(event.value, regex=self._regex))
        self._close()

    def action_cancel(self) -> None:
        """Close, and leave what is looked for as it was."""
        self._close()

    def action_turn(self) -> None:
        """Read the input the other way."""
        self._regex = not self._regex
        self.query_one("#reading", Label).update(self._reading())

    def _reading(self) -> Text:
        return Text("regular expression (^r: text)" if self._regex else "text (^r: regex)")

    def _close(self) -> None:
        self.remove_class("-open")
        self.post_message(self.Closed())


def short(number: int) -> str:
    """A number in at most four characters, up to a billion: `9999`, `12k`, `100k`, `3M`."""
    if number < 10_000:
        return str(number)
    return f"{number // 1000}k" if number < 1_000_000 else f"{number // 1_000_000}M"
