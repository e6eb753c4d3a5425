"""The flags of `spar train` and `spar bootstrap` that are not settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spar.train.pipeline import StageSelection


@dataclass(frozen=True, slots=True)
class Invocation:
    """Where a pipeline of stages runs, which stages, and how it is shown."""

    out: Path | None = None
    selection: StageSelection = StageSelection()
    overwrite: bool = False
    dry_run: bool = False
    display: str = "auto"
