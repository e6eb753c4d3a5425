"""The base class of all screens, with access to the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from textual.screen import Screen

if TYPE_CHECKING:
    from tui.app import SparApp

Result = TypeVar("Result")


class BrowserScreen(Screen[Result]):
    """A screen of the browser."""

    @property
    def browser(self) -> SparApp:
        """The application."""
        return cast("SparApp", self.app)

    async def leave(self) -> None:
        """Leave the screen for the one before it; the key for it is `q`."""
        await self.app.run_action("back", self)
