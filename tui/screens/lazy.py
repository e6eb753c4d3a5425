"""Screens that are imported when they are first opened."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from textual.screen import Screen

from tui.inputs import Inputs

LAZY_SCREENS = {
    "compare": "tui.screens.compare:CompareScreen",
    "several": "tui.screens.several:SeveralScreen",
    "training": "tui.screens.training:TrainingScreen",
    "play": "tui.screens.play:PlayScreen",
}
"""Name to module and class."""


def open_screen(name: str, inputs: Inputs, *paths: Path) -> Screen[Any]:
    """Create the screen of that name for some run directories."""
    screen: Screen[Any] = screen_class(LAZY_SCREENS[name])(inputs, *paths)
    return screen


def screen_class(place: str) -> Any:
    """The class at `module:class`."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
