"""Instructions written for texts that are there, and the settings of it (Humpback, arXiv 2308.06259).

    backtranslation: {texts: texts.jsonl, seeds: conversations.jsonl, backward: {epochs: 2}}

A backward model is trained on seed conversations turned round, from the reply to its instruction. It writes an instruction for
each unlabelled text; in every iteration the loop's model judges these pairs, and learns those that it rates best
together with the seed conversations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from spar.config import Settings, setting
from spar.train.settings import SftSettings, trainer_fields
from spar.train.stage_spec import FolderSpec


class BacktranslationSettings(Settings):
    """How the instructions of unlabelled texts are written."""

    texts: str = setting("", is_path=True)
    """A file of texts (.txt with one a line, or rows with a field `text`); "" for texts of the program that writes nano-if's
    language, which answer tasks that nobody sees. `prompts_per_iteration` of them are used."""
    seeds: str = setting("", is_path=True)
    """A file of conversations that end with a reply (source: 3,200 of people); "" for prompts of nano-if with a text of the program."""
    num_seeds: int = Field(default=3_200, ge=1)
    """Seed conversations (source: 3,200)."""
    backward: dict[str, Any] = setting({})
    """Fields of `spar.train.settings.SftSettings`, the backward model's training."""

    @field_validator("backward")
    @classmethod
    def _backward(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return trainer_fields(SftSettings, settings)


class TextsSpec(FolderSpec):
    """Write the unlabelled texts as prompts of the backward model, and the seed conversations both ways round."""

    kind: Literal["texts"] = "texts"
    texts: str
    num_texts: int
    seeds: str
    num_seeds: int
    """These as in `BacktranslationSettings`."""

    @property
    def inputs(self) -> tuple[Path, ...]:
        return ()

    @property
    def prompts(self) -> Path:
        """A prompt of the backward model for each text."""
        return self.folder / "texts.jsonl"

    @property
    def backward(self) -> Path:
        """The seed conversations turned round: the backward model's data."""
        return self.folder / "backward.jsonl"

    @property
    def answers(self) -> Path:
        """The seed conversations as answers to learn; written last."""
        return self.folder / "seeds.jsonl"

    @property
    def output(self) -> Path:
        return self.answers
