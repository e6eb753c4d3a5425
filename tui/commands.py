"""Commands of the command palette: every key binding of the screen, by its description."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType


class KeyCommands(Provider):
    """The screen's own bindings as commands."""

    async def discover(self) -> Hits:
        """All commands, shown before anything is typed."""
        for name, key, callback in self._commands():
            yield DiscoveryHit(name, callback, help=key)

    async def search(self, query: str) -> Hits:
        """The commands that match the query."""
        matcher = self.matcher(query)
        for name, key, callback in self._commands():
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(name), callback, help=key)

    def _commands(self) -> Iterator[tuple[str, str, IgnoreReturnCallbackType]]:
        seen: set[str] = set()
        for node, binding, enabled, _ in self.screen.active_bindings.values():
            if enabled and binding.description and binding.action not in seen:
                seen.add(binding.action)
                key = f"key: {self.app.get_key_display(binding)}"
                name = binding.tooltip or binding.description
                yield name, key, partial(self.app.run_action, binding.action, node)
