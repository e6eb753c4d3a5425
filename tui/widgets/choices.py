"""A line of choices, one of which is selected: `[1 all 500]  2 flips 12   3 A only 8`; a click selects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import Static

from spar.view.palette import PALETTE
from tui.widgets.bars import abbreviate


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice."""

    name: str
    title: str
    number: int
    """Number of items of this choice."""
    key: int = 0
    """The key that selects it; 0 for its place in the line."""


class Choices(Static):
    """Choices for the keys 1, 2, ..., which the screen binds."""

    DEFAULT_CSS = """
    Choices { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    class Chosen(Message):
        """A choice was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[tuple[str, str]] = []

    def set_content(self, choices: Sequence[Choice], selected: str) -> None:
        """Show other choices, one of them selected."""
        self._parts = [
            (choice.name, _part(choice.key or key, choice, selected=choice.name == selected))
            for key, choice in enumerate(choices, start=1)
        ]
        line = Text(" ").join(
            Text(part, style=PALETTE["head"] if name == selected else "")
            for name, part in self._parts
        )
        self.update(line)

    def on_click(self, event: events.Click) -> None:
        """Choose what is there."""
        start = 1
        for name, part in self._parts:
            if start <= event.x < start + cell_len(part):
                self.post_message(self.Chosen(name))
            start += cell_len(part) + 1


def _part(key: int, choice: Choice, *, selected: bool) -> str:
    text = f"{key} {choice.title} {abbreviate(choice.number)}"
    return f"[{text}]" if selected else f" {text} "
