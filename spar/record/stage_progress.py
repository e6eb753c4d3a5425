"""How far a stage of a training pipeline is, and how long it may still take: for `spar train status` and the browser alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StageStateName = Literal["waiting", "running", "stopped", "failed", "done"]


@dataclass(frozen=True, slots=True)
class StageProgress:
    """One stage."""

    iteration: int
    name: str
    state: StageStateName
    seconds: float = 0.0
    """Wall-clock time of all its starts, the current one included."""
    done: int | None = None
    total: int | None = None
    """None while it is unknown."""
    unit: str = ""
    """What is counted, such as `prompts`."""
    message: str = ""
    """Why it failed, in one line."""

    @property
    def title(self) -> str:
        """Its name in the pipeline, such as `2/search`."""
        return f"{self.iteration}/{self.name}"

    @property
    def seconds_left(self) -> float | None:
        """Time for the rest at the rate so far; None unless it runs and something is done."""
        if self.state != "running" or not self.done or not self.total:
            return None
        return self.seconds / self.done * max(self.total - self.done, 0)
