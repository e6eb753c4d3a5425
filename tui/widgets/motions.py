"""Keys that move a cursor or scroll: arrows and vim's."""

from __future__ import annotations

from textual.binding import Binding, BindingType

MOTIONS: list[BindingType] = [
    Binding("down,j", "move(1)", "Down", show=False, id="down"),
    Binding("up,k", "move(-1)", "Up", show=False, id="up"),
    Binding("pagedown,ctrl+f", "pages(1)", "A page down", show=False, id="page-down"),
    Binding("pageup,ctrl+b", "pages(-1)", "A page up", show=False, id="page-up"),
    Binding("ctrl+d", "pages(0.5)", "Half a page down", show=False, id="half-page-down"),
    Binding("ctrl+u", "pages(-0.5)", "Half a page up", show=False, id="half-page-up"),
    Binding("home", "jump(0)", "To the start", show=False, id="first"),
    Binding("end,G", "jump(1)", "To the end", show=False, id="last"),
    Binding("g", "first_of_two", "gg: to the start", show=False, id="first-of-two"),
]
MOTION_ACTIONS = frozenset({"move", "pages", "jump", "first_of_two"})
"""Names of their actions."""


class Motions:
    """Actions of these keys, in terms of `advance` and `jump_to`."""

    _pressed_g = False

    def advance(self, lines: int) -> None:
        """Move by a number of lines."""
        raise NotImplementedError

    def jump_to(self, *, end: bool) -> None:
        """Move to the start or the end."""
        raise NotImplementedError

    def page_lines(self) -> int:
        """Number of visible lines."""
        raise NotImplementedError

    def action_move(self, lines: int) -> None:
        """Move by a number of lines."""
        self._pressed_g = False
        self.advance(lines)

    def action_pages(self, pages: float) -> None:
        """Move by a number of pages."""
        self._pressed_g = False
        lines = max(int(self.page_lines() * abs(pages)), 1)
        self.advance(lines if pages > 0 else -lines)

    def action_jump(self, end: int) -> None:
        """Move to the start or the end."""
        self._pressed_g = False
        self.jump_to(end=bool(end))

    def action_first_of_two(self) -> None:
        """Move to the start on the second `g`."""
        if self._pressed_g:
            self.jump_to(end=False)
        self._pressed_g = not self._pressed_g
