"""A line of choices, of which one is taken: `[1 all 500]  2 flips 12   3 A only 8`; a click chooses too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import Static

from spar.view.palette import PALETTE
from tui.widgets.bars import short


@dataclass(frozen=True, slots=True)
class Choice:
    """One of them."""

    name: str
    title: str
    number: int
    """How many there are of it."""


class Choices(Static):
    """The keys 1, 2, ... choose; the screen binds them."""

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

    def say(self, choices: Sequence[Choice], taken: str) -> None:
        """Show other choices."""
        self._parts = [
            (choice.name, _part(key, choice, taken=choice.name == taken))
            for key, choice in enumerate(choices, start=1)
        ]
        line = Text(" ").join(
            Text(part, style=PALETTE["head"] if name == taken else "") for name, part in self._parts
        )
        self.update(line)

    def on_click(self, event: events.Click) -> None:
        """Choose what is there."""
        start = 1
        for name, part in self._parts:
            if start <= event.x < start + cell_len(part):
                self.post_message(self.Chosen(name))
            start += cell_len(part) + 1


def _part(key: int, choice: Choice, *, taken: bool) -> str:
    text = f"{key} {choice.title} {short(choice.number)}"
    return f"[{text}]" if taken else f" {text} "
