"""Screens that are imported when they are first opened."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from textual.screen import Screen

from tui.inputs import Inputs

_CLASSES = {
    "compare": "tui.screens.compare:CompareScreen",
    "several": "tui.screens.several:SeveralScreen",
    "training": "tui.screens.training:TrainingScreen",
    "play": "tui.screens.play:PlayScreen",
}


def open_screen(name: str, inputs: Inputs, *paths: Path) -> Screen[Any]:
    """Create the screen of that name for some run directories."""
    module, _, attribute = _CLASSES[name].partition(":")
    screen: Screen[Any] = getattr(import_module(module), attribute)(inputs, *paths)
    return screen
