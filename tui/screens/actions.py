"""The actions that a key map may change, screen by screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from textual.binding import Binding, BindingType

from tui.keymap import Action, Keymap
from tui.screens.keys import APP_KEYS, RUNS_KEYS, TREE_KEYS, TREES_KEYS
from tui.screens.lazy import LAZY_SCREENS, screen_class
from tui.widgets.motions import MOTIONS

_OTHERS = {**LAZY_SCREENS, "answers": "tui.screens.pair:PairScreen"}
"""Screens that are imported when a key map is read or shown."""


def actions() -> Mapping[str, list[Action]]:
    """Screen to its actions, those of moving and of the application among them."""
    own: dict[str, Iterable[BindingType]] = {
        "runs": RUNS_KEYS,
        "trees": TREES_KEYS,
        "tree": TREE_KEYS,
    }
    for name, place in _OTHERS.items():
        own[name] = screen_class(place).BINDINGS
    return {
        screen: [*map(_action, _named([*keys, *MOTIONS, *APP_KEYS]))]
        for screen, keys in own.items()
    }


def as_textual(keymap: Keymap) -> dict[str, str]:
    """The key map as Textual takes it."""
    return {name: ",".join(keys) for name, keys in keymap.keys.items()}


def _named(bindings: Iterable[BindingType]) -> list[Binding]:
    return [each for each in bindings if isinstance(each, Binding) and each.id]


def _action(binding: Binding) -> Action:
    keys = tuple(each.key for each in Binding.make_bindings([binding]))
    return Action(binding.id or "", binding.tooltip or binding.description, keys)
