"""Prompts that get harder over the iterations of a loop, and the settings of it (SEIF).

    harder: {easy: 0.8, share: 0.5}

A prompt is easy whose drafts pass often enough. The next iteration has a harder version of it, with one constraint more, among its
prompts; the others are the next ones of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from spar.config import Settings
from spar.train.stage_spec import FolderSpec


class HarderSettings(Settings):
    """How prompts get harder."""

    easy: float = Field(default=0.8, gt=0, le=1)
    """A prompt is easy if at least this share of its drafts passes the judge."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Most of the next iteration's prompts that are harder versions of easy ones; the others are new."""


class HarderSpec(FolderSpec):
    """Make harder versions of the easy prompts of the iteration before."""

    kind: Literal["harder"] = "harder"
    source: str
    """Run directory of the judged drafts of the iteration before."""
    name: str
    """What the ids of its prompts begin with."""
    easy: float
    most: int
    """The most prompts."""
    seed: int

    @property
    def inputs(self) -> tuple[Path, ...]:
        return (Path(self.source) / "trees.jsonl",)

    @property
    def prompts(self) -> Path:
        """The harder prompts."""
        return self.folder / "prompts.jsonl"

    @property
    def output(self) -> Path:
        """How many prompts were easy, and how many are harder; written last."""
        return self.folder / "harder.json"
