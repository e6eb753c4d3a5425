"""The specification of the stage that makes a loop's prompts.

{"kind": "prompts", "out": "iteration-0/prompts", "settings": {"n": 1200, "holdout": 200, "seed": 0}, "data": ""}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from spar.record.checkable import HOLDOUT, PROMPTS, REPORT, WITNESSES
from spar.train.stage_spec import FolderSpec


class PromptsSpec(FolderSpec):
    """Make prompts whose constraints programs can check, as `spar evolve --checkable` does."""

    kind: Literal["prompts"] = "prompts"
    settings: dict[str, Any]
    """`spar.train.recipe.TrainConfig.checkable`, and the loop's seed."""
    data: str = ""
    """Folder with the data sets; "" for $SPAR_DATA or the cache."""

    @property
    def made(self) -> Path:
        """The folder of the prompts' files."""
        return self.folder / "made"

    @property
    def prompts(self) -> Path:
        """The prompts to train on."""
        return self.made / PROMPTS

    @property
    def held_out(self) -> Path:
        """The prompts that are held out."""
        return self.made / HOLDOUT

    @property
    def witnesses(self) -> Path:
        """A text for each prompt that meets its constraints, where they are written."""
        return self.made / WITNESSES

    @property
    def seeds(self) -> Path:
        """The seed prompts, where they are the data set's."""
        return self.folder / "seeds.jsonl"

    @property
    def output(self) -> Path:
        return self.made / REPORT
