"""The keys of the screen below, made from its bindings."""

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
    """Every key that does something, and what."""

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
        pane.say(keys_text(self.app, self._shown))
        pane.focus()


def keys_text(app: App[object], bindings: Mapping[str, ActiveBinding]) -> Text:
    """Keys by where they work: on the screen, in what has the focus, everywhere."""
    text = Text()
    for title, kind in (("here", Screen), ("moving", None), ("everywhere", App)):
        lines = dict(_keys(app, bindings, kind))
        if lines:
            text.append(f"{title}\n", style=PALETTE["head"])
        for description, keys in lines.items():
            text.append(f"  {', '.join(keys):<{KEY_CELLS}}", style=PALETTE["answer"])
            text.append(f"{description}\n")
    return text


def _is_textual(binding: Binding) -> bool:
    """Whether it is one of Textual's own, which work as they do everywhere."""
    return binding.system or binding.action.startswith(("app.focus", "screen."))


def _keys(
    app: App[object], bindings: Mapping[str, ActiveBinding], kind: type | None
) -> Iterator[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for node, binding, _, _ in bindings.values():
        place = next((one for one in (Screen, App) if isinstance(node, one)), None)
        if place is kind and binding.description and not _is_textual(binding):
            shown = app.get_key_display(Binding(binding.key, binding.action))
            found.setdefault(binding.tooltip or binding.description, []).append(shown)
    yield from found.items()
