"""The base of the specifications of stages (`spar.train.specs`): what a stage needs, writes, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from spar.config import Settings
from spar.types import Role


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is."""

    done: int
    total: int | None
    """None while it is unknown."""
    unit: str

    def __str__(self) -> str:
        return f"{self.done:,} of {self.total:,} {self.unit}" if self.total else ""


class StageSpec(Settings):
    """What all specifications have."""

    roles: ClassVar[tuple[Role, ...]] = ()
    """Roles whose models the stage may load."""

    @property
    def folder(self) -> Path:
        """The folder that the stage writes."""
        raise NotImplementedError

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files that must exist before the stage can run."""
        return ()

    @property
    def output(self) -> Path:
        """A file that exists once the stage is done."""
        raise NotImplementedError

    def progress(self) -> Progress | None:
        """How far the stage is, by what it has written; None where that does not show."""
        return None


class FolderSpec(StageSpec):
    """What the specifications have whose stage writes one folder."""

    out: str
    """The folder that the stage writes."""

    @property
    def folder(self) -> Path:
        return Path(self.out)
