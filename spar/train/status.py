"""What a loop's folder says of its stages: which are done, which runs, how far it is, what was measured.

Everything is read from the disk, so that another process, on another machine that sees the folder, tells
the same as the one that runs the loop.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from spar.errors import UsageError
from spar.files import replace_json
from spar.record.training import (
    ORIGIN,
    SCORES_FILE,
    Scores,
    StageRecord,
    iteration_folder,
    parse_scores,
    read_metrics,
)
from spar.store import TREES, read_manifest
from spar.train.recipe import TrainConfig
from spar.train.stages import Origin, Stage, all_stages, models_after

State = Literal["waiting", "running", "stopped", "failed", "done"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is."""

    done: int
    total: int | None
    """None where it is not known yet."""
    unit: str

    def __str__(self) -> str:
        return f"{self.done:,} of {self.total:,} {self.unit}" if self.total else ""


@dataclass(frozen=True, slots=True)
class StageState:
    """A stage and where it stands."""

    stage: Stage
    state: State
    record: StageRecord | None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class LoopState:
    """A loop as its folder shows it."""

    run: Path
    config: TrainConfig
    stages: tuple[StageState, ...]
    scores: Mapping[int, Scores] = field(default_factory=dict)
    """Iteration to what its models scored."""


def read_record(stage: Stage) -> StageRecord | None:
    """How a stage ran; None where it never began.

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
            f"{stage.record} is no record of a stage; delete it to run {stage.title} again"
        ) from error


def write_record(stage: Stage, record: StageRecord) -> None:
    """Replace a stage's record."""
    replace_json(stage.record, record.model_dump())


def is_done(stage: Stage) -> bool:
    """Whether a stage ran to its end."""
    record = read_record(stage)
    return record is not None and record.state == "done"


def read_loop(run: Path, *, running: bool = True) -> LoopState:
    """Everything about a loop.

    Parameters
    ----------
    running:
        Whether some process works on it; else a stage that began and did not end was stopped.

    Raises
    ------
    UsageError
        The folder is no loop's, or something in it is damaged.
    """
    config, origin = read_config(run)
    states = tuple(_state(stage, running=running) for stage in all_stages(config, run, origin))
    return LoopState(run, config, states, read_scores(run, config, origin))


def read_config(run: Path) -> tuple[TrainConfig, Origin]:
    """The settings of the loop in a folder, and where it began.

    Raises
    ------
    UsageError
        The folder is no loop's.
    """
    manifest = read_manifest(run)
    values = dict(manifest.config)
    origin = values.pop(ORIGIN, None)
    if not isinstance(origin, dict):
        raise UsageError(
            f"{run} is a run directory, but no training loop's; give the folder of a `spar train`"
        )
    try:
        return TrainConfig.model_validate(values), Origin(**origin)
    except (ValidationError, TypeError) as error:
        raise UsageError(f"{run}: its settings are those of another spar") from error


def progress(stage: Stage) -> Progress | None:
    """How far a stage is, by what it has written; None where that does not show."""
    kind = stage.order.get("kind", "training")
    if kind in ("draft", "judge", "answer"):
        prompts = num_lines(Path(stage.order["prompts"]))
        return Progress(num_lines(stage.folder / TREES), prompts, "prompts")
    if kind == "search":
        return Progress(num_lines(stage.folder / TREES), _failing(stage), "prompts")
    if kind == "training":
        rows = read_metrics(stage.folder)
        return Progress(rows[-1].step if rows else 0, num_steps(stage), "steps")
    if kind == "eval":
        items = stage.order["items"]
        found = sum((stage.folder / i["name"] / "done.json").exists() for i in items)
        return Progress(found, len(items), "evaluations")
    return None


def num_steps(stage: Stage) -> int | None:
    """Optimizer steps of a training; None before its data are built."""
    examples = num_lines(Path(stage.order["data"]))
    limit = int(stage.order["max_steps"])
    if limit or not examples:
        return limit or None
    return steps_of(examples, int(stage.order["batch"]), float(stage.order["epochs"]))


def steps_of(examples: int, batch: int, epochs: float) -> int:
    """Optimizer steps of so many passes over so many examples."""
    return math.ceil(max(1, math.ceil(examples / batch)) * epochs)


def read_scores(run: Path, config: TrainConfig, origin: Origin) -> dict[int, Scores]:
    """What the models of each iteration scored, as far as they are measured."""
    found: dict[int, Scores] = {}
    for iteration in range(origin.iteration, config.last_iteration + 1):
        path = iteration_folder(run, iteration) / "eval" / SCORES_FILE
        if path.is_file():
            try:
                found[iteration] = parse_scores(path.read_bytes())
            except (OSError, ValidationError) as error:
                raise _damaged(path) from error
    return found


def shown_scores(config: TrainConfig, scores: Scores) -> dict[str, tuple[float, float | None]]:
    """The metrics that a recipe wants to see, with their standard errors."""
    shown = {}
    for item in config.benchmarks:
        metrics = scores.get(item.title, {})
        for name in item.show or tuple(metrics)[:1]:
            if name in metrics:
                value = metrics[name]
                shown[f"{item.title} {name}"] = (value.get("value") or 0.0, value.get("stderr"))
    return shown


def continued(run: Path) -> Origin:
    """Where a loop begins that takes up the one in `run`.

    Raises
    ------
    UsageError
        That one has no finished iteration.
    """
    config, origin = read_config(run)
    last = origin.iteration
    for iteration in range(origin.iteration + 1, config.last_iteration + 1):
        models = models_after(run, iteration, origin)
        if all((Path(m) / "config.json").is_file() for m in (models.actor, models.refiner)):
            last = iteration
    if last == origin.iteration:
        raise UsageError(f"{run} has no iteration with both models trained; nothing to go on from")
    models = models_after(run, last, origin)
    return Origin(str(Path(models.actor)), str(Path(models.refiner)), last)


def _state(stage: Stage, *, running: bool) -> StageState:
    record = read_record(stage)
    if record is None:
        return StageState(stage, "waiting", None)
    if record.state == "running":
        state: State = "running" if running else "stopped"
        return StageState(stage, state, record, progress(stage))
    if record.state == "failed":
        return StageState(stage, "failed", record, progress(stage))
    return StageState(stage, "done", record)


def _failing(stage: Stage) -> int | None:
    """Prompts that a search stage has, as its process wrote them down when it began."""
    path = Path(f"{stage.folder}.count.json")
    try:
        return int(json.loads(path.read_bytes())["prompts"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path) from error


def num_lines(path: Path) -> int:
    """Lines of a growing file; what was counted before is not read again."""
    size, count = _COUNTED.get(path, (0, 0))
    try:
        with path.open("rb") as handle:
            if os.fstat(handle.fileno()).st_size < size:  # another file by now
                size, count = 0, 0
            handle.seek(size)
            for block in iter(lambda: handle.read(1 << 20), b""):
                size, count = size + len(block), count + block.count(b"\n")
    except OSError:
        return 0
    _COUNTED[path] = size, count
    return count


_COUNTED: dict[Path, tuple[int, int]] = {}
"""File to the bytes of it that were read, and the lines in them."""


def _damaged(path: Path) -> UsageError:
    return UsageError(f"{path} is damaged; delete it, and run its stage again with --rerun-from")
