"""Commands of the command palette: the keys of the screen, those of its footer first, then Textual's own commands.

Keys that only move the cursor or the focus are not among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from tui.screens.help import is_textual
from tui.widgets.motions import MOTION_ACTIONS


@dataclass(frozen=True, slots=True)
class _Command:
    """One entry of the palette."""

    name: str
    help: str
    call: IgnoreReturnCallbackType


class KeyCommands(Provider):
    """All commands, useful ones first."""

    async def discover(self) -> Hits:
        """All commands, shown before anything is typed."""
        for command in self._commands():
            yield DiscoveryHit(command.name, command.call, help=command.help)

    async def search(self, query: str) -> Hits:
        """The commands that match the query."""
        matcher = self.matcher(query)
        for command in self._commands():
            if (score := matcher.match(command.name)) > 0:
                yield Hit(score, matcher.highlight(command.name), command.call, help=command.help)

    def _commands(self) -> Iterator[_Command]:
        bindings = sorted(
            self.screen.active_bindings.values(),
            key=lambda active: (not active.binding.show, active.node is self.app),
        )
        seen: set[str] = set()
        for node, binding, enabled, _ in bindings:
            action = binding.action
            is_moving = action.partition("(")[0] in MOTION_ACTIONS
            is_command = binding.description and not is_moving and not is_textual(binding)
            if enabled and is_command and action not in seen:
                seen.add(action)
                key = f"key: {self.app.get_key_display(binding)}"
                name = binding.tooltip or binding.description
                yield _Command(name, key, partial(self.app.run_action, action, node))
        for title, help_text, callback, *_ in self.app.get_system_commands(self.screen):
            yield _Command(title, help_text, callback)
