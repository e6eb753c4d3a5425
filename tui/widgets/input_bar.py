"""A line at the bottom of a screen to type in."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input


class InputBar(Horizontal):
    """A bar with an `Input`; Tab stays in it, and it closes when something else on the screen gets the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab,shift+tab", "stay", "Stay in this line", show=False),
    ]
    DEFAULT_CSS = """
    InputBar { height: 1; display: none; background: $panel; }
    InputBar.-open { display: block; }
    InputBar > Input { width: 1fr; }
    InputBar > Label { padding: 0 1; }
    """

    class Closed(Message):
        """The bar was closed by a key; the handler focuses what was focused before."""

    @property
    def is_open(self) -> bool:
        """Whether a text can be typed."""
        return self.has_class("-open")

    def show(self, text: str) -> None:
        """Open the bar with a text."""
        self.add_class("-open")
        field = self.query_one(Input)
        field.value = text
        field.cursor_position = len(text)
        # at once, so that what is typed right after the key is not lost
        self.screen.set_focus(field)

    def close(self) -> None:
        """Close the bar."""
        self.remove_class("-open")
        self.post_message(self.Closed())

    def leave(self) -> None:
        """Do what is due with the text when something else was focused, as by a click."""

    def action_stay(self) -> None:
        """Do nothing: the text would stay behind, with no key to come back to it."""

    def on_descendant_blur(self) -> None:
        """Close the bar; it stays open while the terminal itself is in the background."""
        focused = self.screen.focused
        if self.is_open and focused is not None and focused is not self.query_one(Input):
            self.remove_class("-open")
            self.leave()
