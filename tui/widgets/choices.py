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
    key: int | None = None
    """The key that selects it; None for its place in the line."""


class Choices(Static):
    """Choices for the keys 1, 2, ..., which the screen binds; on two lines if one is too short."""

    DEFAULT_CSS = """
    Choices { height: auto; max-height: 2; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    class Chosen(Message):
        """A choice was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[tuple[str, str]] = []
        self._selected = ""

    def set_content(self, choices: Sequence[Choice], selected: str) -> None:
        """Show other choices, one of them selected."""
        self._selected = selected
        self._parts = [
            (
                choice.name,
                _part(
                    place if choice.key is None else choice.key,
                    choice,
                    selected=choice.name == selected,
                ),
            )
            for place, choice in enumerate(choices, start=1)
        ]
        self._draw()

    def on_resize(self) -> None:
        """Fit the lines to the width."""
        self._draw()

    def on_click(self, event: events.Click) -> None:
        """Choose what is there."""
        lines, start = self._lines(), 1
        for name, part in lines[event.y] if event.y < len(lines) else ():
            if start <= event.x < start + cell_len(part):
                self.post_message(self.Chosen(name))
            start += cell_len(part)

    def _draw(self) -> None:
        lines = [
            Text().join(
                Text(part, style=PALETTE["head"] if name == self._selected else "")
                for name, part in line
            )
            for line in self._lines()
        ]
        self.update(Text("\n").join(lines), layout=len(lines) != self.size.height)

    def _lines(self) -> list[list[tuple[str, str]]]:
        """The choices, broken into lines."""
        lines: list[list[tuple[str, str]]] = [[]]
        width, room = 0, self.size.width or self.app.size.width - 2
        for name, part in self._parts:
            if width and width + cell_len(part) > room:
                lines.append([])
                width = 0
            lines[-1].append((name, part))
            width += cell_len(part)
        return lines


def _part(key: int, choice: Choice, *, selected: bool) -> str:
    text = f"{key} {choice.title} {abbreviate(choice.number)}"
    return f"[{text}]" if selected else f" {text} "
