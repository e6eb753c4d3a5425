"""A stage of a training pipeline: its specification, its files, and the record of how it ran.

draft.order.json   the specification (`spar.train.specs`)
draft.json         the record, once it was started (`spar.record.training.StageRecord`)
draft.log          what its process printed
draft/             what it wrote
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from spar.errors import UsageError
from spar.files import replace_json
from spar.record.training import StageRecord, iteration_number
from spar.train.stage_spec import StageSpec


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a pipeline."""

    name: str
    home: Path
    """The folder of its iteration, or of the pipeline where there are no iterations."""
    spec: StageSpec
    prompts: Path | None = None
    """A file of prompts that belongs to the stage and is archived with it."""

    @property
    def iteration(self) -> int:
        """Number of its iteration, 0 where there are none."""
        return iteration_number(self.home) or 0

    @property
    def title(self) -> str:
        """Its name in the pipeline: `2/search`, or `answers` where there are no iterations."""
        number = iteration_number(self.home)
        return self.name if number is None else f"{number}/{self.name}"

    @property
    def folder(self) -> Path:
        """The folder that it writes."""
        return self.spec.folder

    @property
    def spec_file(self) -> Path:
        """The file of its specification."""
        return self.home / f"{self.name}.order.json"

    @property
    def failure_file(self) -> Path:
        """Where its process writes why it failed."""
        return self.spec_file.with_suffix(".failure.json")

    @property
    def log(self) -> Path:
        """What its process printed."""
        return self.home / f"{self.name}.log"

    @property
    def record(self) -> Path:
        """Whether and how it ran."""
        return self.home / f"{self.name}.json"

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that it may have written; its record first, without which it does not count as done."""
        count = Path(f"{self.folder}.count.json")
        prompts = (self.prompts,) if self.prompts else ()
        own = (self.record, self.spec_file, self.failure_file, count, self.log, self.folder)
        return (*own, *prompts)


def read_record(stage: Stage) -> StageRecord | None:
    """How a stage ran; None where it was never started.

    Raises
    ------
    UsageError
        Its record is damaged.
    """
    try:
        return StageRecord.model_validate_json(stage.record.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise UsageError(
            f"{stage.record} is not the record of a stage; delete it to run {stage.title} again"
        ) from error


def write_record(stage: Stage, record: StageRecord) -> None:
    """Replace a stage's record."""
    replace_json(stage.record, record.model_dump())


def is_done(stage: Stage) -> bool:
    """Whether a stage ran to its end."""
    record = read_record(stage)
    return record is not None and record.state == "done"
