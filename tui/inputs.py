"""What the command line hands to the browser: where to look, and what only other parts of spar can tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spar.view.node_detail import Annotations
from tui.index.rows import Truth

if TYPE_CHECKING:
    from tui.play import Play

Demo = Callable[[Path], Awaitable[None]]
"""Makes a small run in a directory; raises `SparError` where it cannot, and stops when it is cancelled."""


def no_annotations(directory: Path) -> Annotations:
    """Nothing is known of a run beyond its files."""
    return Annotations()


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the application starts from."""

    paths: tuple[Path, ...] = (Path("runs"),)
    """Run directories, or directories that hold some."""
    annotations_for: Callable[[Path], Annotations] = no_annotations
    """Verdicts and rendered prompts of the trees of a run directory."""
    truth: Truth | None = None
    """Ground truth of an answer."""
    play: Play | None = None
    """What runs a search for the play screen; None: there is no such screen."""
    demo: Demo | None = None
    """What the first screen's button does; None: there is no button."""
    memory: Path | None = None
    """File that remembers the last place; None: nothing is remembered."""
    resume: bool = False
    """Whether to begin where the browser was left, as it does where no run is named."""
