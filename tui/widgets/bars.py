"""One-line bars: status and search."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label, Static

from spar.view.palette import PALETTE
from spar.view.text import one_line


class StatusBar(Static):
    """A status line."""

    DEFAULT_CSS = """
    StatusBar { height: 1; padding: 0 1; background: $panel; color: $foreground; text-wrap: nowrap;
                text-overflow: ellipsis; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._content = Text()

    def set_content(self, text: Text) -> None:
        """Show another text; does nothing if it is unchanged."""
        if text != self._content or text.spans != self._content.spans:
            self._content = text
            self.update(text, layout=False)


class SearchBar(Horizontal):
    """An input for a search text; the handler of `Submitted` closes it, or rejects the text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("ctrl+r", "toggle_regex", "Text or regular expression", priority=True),
    ]
    DEFAULT_CSS = """
    SearchBar { height: 1; display: none; background: $panel; }
    SearchBar.-open { display: block; }
    SearchBar > Input { width: 1fr; }
    SearchBar > Label { padding: 0 1; }
    """

    class Submitted(Message):
        """A text was submitted; an empty one ends the search."""

        def __init__(self, text: str, *, regex: bool) -> None:
            super().__init__()
            self.text, self.regex = text, regex

    class Closed(Message):
        """The bar was closed."""

    def __init__(self) -> None:
        super().__init__()
        self._regex = False

    def compose(self) -> ComposeResult:
        """A slash, the input, and whether it is a regular expression."""
        yield Label("/")
        yield Input(id="query", select_on_focus=True, compact=True)
        yield Label(self._mode(), id="mode")

    def open(self, text: str, *, regex: bool) -> None:
        """Open the bar."""
        self._regex = regex
        self.query_one("#mode", Label).update(self._mode())
        self.add_class("-open")
        field = self.query_one(Input)
        field.value = text
        field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Submit the text."""
        event.stop()
        self.post_message(self.Submitted(event.value, regex=self._regex))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Remove the message about the text as it was."""
        event.stop()
        self.query_one("#mode", Label).update(self._mode())

    def reject(self, reason: str) -> None:
        """Stay open, and show why the text cannot be searched for."""
        self.query_one("#mode", Label).update(Text(one_line(reason, 50), PALETTE["fault"]))

    def close(self) -> None:
        """Close the bar."""
        self.remove_class("-open")
        self.post_message(self.Closed())

    def action_cancel(self) -> None:
        """Close the bar without a change."""
        self.close()

    def action_toggle_regex(self) -> None:
        """Switch between text and regular expression."""
        self._regex = not self._regex
        self.query_one("#mode", Label).update(self._mode())

    def _mode(self) -> Text:
        return Text("regular expression (^r: text)" if self._regex else "text (^r: regex)")


def abbreviate(number: int) -> str:
    """A number below a billion in at most four characters: `9999`, `12k`, `100k`, `3M`."""
    if number < 10_000:
        return str(number)
    return f"{number // 1000}k" if number < 1_000_000 else f"{number // 1_000_000}M"
