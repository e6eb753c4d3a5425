"""What the command line passes to the browser: paths, and what only other parts of spar can provide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spar.record.stage_progress import StageProgress
from spar.record.standing import Standings
from spar.view.node_detail import Annotations
from tui.index.rows import Authority, GroundTruth

if TYPE_CHECKING:
    from tui.play import Play

Demo = Callable[[Path], Awaitable[None]]
"""Creates a small run in a directory; raises `SparError` on failure, and stops when it is cancelled."""


def no_annotations(directory: Path) -> Annotations:
    """No annotations."""
    return Annotations()


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of the application."""

    paths: tuple[Path, ...] = (Path("runs"),)
    """Run directories, or folders that contain some."""
    annotations_for: Callable[[Path], Annotations] = no_annotations
    """Returns the annotations of a run directory's nodes."""
    truth: GroundTruth | None = None
    """Ground truth of an answer, which counts more than the constraint checks of `annotations_for`."""
    play: Play | None = None
    """Runs the searches of the play screen; None disables the screen."""
    demo: Demo | None = None
    """Action of the demo button on the first screen; None hides the button."""
    stages_of: Callable[[Path], tuple[StageProgress, ...]] | None = None
    """Returns the stages of a training loop, as `spar train status` has them."""
    standings: Standings | None = None
    """The test of a comparison, as `spar eval compare` has it; None leaves it out."""
    state_file: Path | None = None
    """File with the state of the last session; None disables it."""
    keymap_file: Path | None = None
    """File with the reader's own keys; None for none."""
    resume: bool = False
    """Whether to resume the last session, as `spar tui` does without a path."""

    def authority(self, directory: Path) -> Authority:
        """Who says whether the responses of a run pass."""
        return Authority(self.truth, self.annotations_for(directory).check)
