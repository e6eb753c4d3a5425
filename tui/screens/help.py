"""The keys of the current screen, from its bindings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from spar.view.palette import PALETTE
from tui.widgets.node_pane import NodePane

KEY_CELLS = 16


class HelpScreen(ModalScreen[None]):
    """A list of all keys and what they do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss", "Close", show=False)
    ]

    def __init__(self, bindings: Mapping[str, ActiveBinding]) -> None:
        super().__init__()
        self._shown = bindings

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical(id="help"):
            yield Static(Text("keys  (esc closes)", style=PALETTE["head"]), classes="title")
            yield NodePane(id="keys")

    def on_mount(self) -> None:
        """Fill the list."""
        pane = self.query_one(NodePane)
        pane.set_content(keys_text(self.app, self._shown))
        pane.focus()


def keys_text(app: App[object], bindings: Mapping[str, ActiveBinding]) -> Text:
    """The keys by scope: the screen, the focused widget, the application."""
    text = Text()
    for title, kind in (("here", Screen), ("moving", None), ("everywhere", App)):
        lines = dict(_keys(app, bindings, kind))
        if lines:
            text.append(f"{title}\n", style=PALETTE["head"])
        for description, keys in lines.items():
            text.append(f"  {', '.join(keys):<{KEY_CELLS}}", style=PALETTE["answer"])
            text.append(f"{description}\n")
    return text


def is_textual(binding: Binding) -> bool:
    """Whether a binding is one of Textual's own."""
    return binding.system or binding.action.startswith(("app.focus", "screen."))


def _keys(
    app: App[object], bindings: Mapping[str, ActiveBinding], kind: type | None
) -> Iterator[tuple[str, list[str]]]:
    keys: dict[str, list[str]] = {}
    for node, binding, _, _ in bindings.values():
        scope = next((cls for cls in (Screen, App) if isinstance(node, cls)), None)
        if scope is kind and binding.description and not is_textual(binding):
            shown = app.get_key_display(Binding(binding.key, binding.action))
            keys.setdefault(binding.tooltip or binding.description, []).append(shown)
    yield from keys.items()
