"""The base classes of screens: one with access to the application, one of a list to pick from."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, OptionList

if TYPE_CHECKING:
    from tui.app import SparApp

Result = TypeVar("Result")


class BrowserScreen(Screen[Result]):
    """A screen of the browser. Each of its keys has a name in a key map: its id, else what it does."""

    def __init_subclass__(cls, **options: Any) -> None:
        if "BINDINGS" in vars(cls):
            cls.BINDINGS = [
                replace(each, id=_slug(each))
                if isinstance(each, Binding) and each.id is None
                else each
                for each in cls.BINDINGS
            ]
        super().__init_subclass__(**options)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While something is typed, the keys that open a line to type in are characters as any other."""
        if action in ("search", "note") and isinstance(self.focused, Input):
            return False
        return super().check_action(action, parameters)

    @property
    def browser(self) -> SparApp:
        """The application."""
        return cast("SparApp", self.app)

    async def leave(self) -> None:
        """Leave the screen for the one before it; the key for it is `q`."""
        await self.app.run_action("back", self)


class PickingScreen(ModalScreen[Result]):
    """A screen with an `OptionList`; its result is what is picked, None without a choice."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Cancel", show=False),
        Binding("j", "cursor(1)", "Down", show=False),
        Binding("k", "cursor(-1)", "Up", show=False),
    ]

    def action_leave(self) -> None:
        """Pick nothing."""
        self.dismiss(None)

    def action_cursor(self, step: int) -> None:
        """Move the cursor with vim's keys."""
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()


def _slug(binding: Binding) -> str | None:
    """What a key does as a name: `next-flip`; None for a number, which stands for what it is drawn beside."""
    if binding.key.isdecimal():
        return None
    words = (binding.tooltip or binding.description).lower()
    return "-".join(re.findall(r"[a-z0-9]+", words.replace("'", "")))
