"""Textual's footer, which is made again only when its keys change.

Every move of the focus announces the keys anew, and a footer of ten keys costs as much as a screen of rows.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Footer
from textual.widgets._footer import FooterKey


class KeyFooter(Footer):
    """The keys of the current screen."""

    DEFAULT_CSS = "KeyFooter { height: 1; }"

    _keys: tuple[tuple[Binding, bool, str], ...] | None = None
    """The keys that are shown; None before the first ones."""

    def compose(self) -> ComposeResult:
        """The keys, in the style that they will have: to change it restyles each of them twice."""
        if self._bindings_ready:
            self._keys = self._active_keys()
        for child in super().compose():
            if isinstance(child, FooterKey) and not child.has_class("-command-palette"):
                child.set_reactive(FooterKey.compact, self.compact)
            yield child

    def bindings_changed(self, screen: Screen[object]) -> None:
        """Show the screen's keys, if they are others."""
        self._bindings_ready = True
        if screen.app.app_focus and self.is_attached and screen is self.screen:
            self.call_after_refresh(self._show_keys)

    async def _show_keys(self) -> None:
        if self.is_attached and self._active_keys() != self._keys:
            await self.recompose()

    def _active_keys(self) -> tuple[tuple[Binding, bool, str], ...]:
        bindings = self.screen.active_bindings.values()
        return tuple((each.binding, each.enabled, each.tooltip) for each in bindings)
