"""The state of a training loop, read from its folder: which stages are done, their progress, the scores.

Everything is read from the disk, so that another process, also on another machine, sees the same as the
process that runs the loop.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spar.errors import UsageError
from spar.record.health import IterationHealth, read_health
from spar.record.stage_progress import StageProgress, StageStateName
from spar.record.training import (
    METRICS,
    ORIGIN,
    SCORES_FILE,
    UNIT,
    Scores,
    StageRecord,
    iteration_folder,
    last_metrics,
    parse_scores,
)
from spar.store import MANIFEST, read_manifest
from spar.train.loop_stages import Origin, loop_stages, models_after, trained_models
from spar.train.recipe import TrainConfig, load_train, with_changes
from spar.train.specs import TrainingSpec, damaged
from spar.train.stage import Stage, read_record
from spar.train.stage_spec import Progress

State = StageStateName
DEFAULT_RECIPE = "nano"


@dataclass(frozen=True, slots=True)
class StageState:
    """A stage and its state."""

    stage: Stage
    state: State
    record: StageRecord | None
    progress: Progress | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """The last step of a training: metric to value, and `step`."""
    seconds: float = 0.0
    """Wall-clock time of all its starts, the current one included."""

    @property
    def summary(self) -> StageProgress:
        """How far it is, as the browser shows it."""
        progress, record = self.progress, self.record
        return StageProgress(
            self.stage.iteration,
            self.stage.name,
            self.state,
            seconds=self.seconds,
            done=progress.done if progress else None,
            total=progress.total if progress else None,
            unit=progress.unit if progress else "",
            message=record.message if record else "",
        )


@dataclass(frozen=True, slots=True)
class LoopState:
    """A loop as its folder shows it."""

    run: Path
    config: TrainConfig
    stages: tuple[StageState, ...]
    scores: Mapping[int, Scores] = field(default_factory=dict)
    """Iteration to the scores of its models."""
    health: tuple[IterationHealth, ...] = ()
    """Of every iteration that has built its data: its drafts, and what its training did to the sides of its pairs."""


def read_loop(run: Path, *, running: bool = True) -> LoopState:
    """The state of a loop.

    Parameters
    ----------
    running:
        Whether a process runs the loop; otherwise a stage that was started and did not end was stopped.

    Raises
    ------
    UsageError
        The folder does not hold a loop, or a file in it is damaged.
    """
    config, origin = read_config(run)
    states = tuple(_state(stage, running=running) for stage in loop_stages(config, run, origin))
    scores = read_scores(run, config, origin)
    return LoopState(run, config, states, scores, read_health(run))


def read_config(run: Path) -> tuple[TrainConfig, Origin]:
    """The settings of the loop in a folder, and where it starts.

    Raises
    ------
    UsageError
        The folder does not hold a loop.
    """
    values = dict(read_manifest(run).config)
    origin = values.pop(ORIGIN, None)
    if not isinstance(origin, dict):
        raise UsageError(
            f"{run} is a run directory, but not that of a training loop; give the folder of a `spar train`"
        )
    try:
        return TrainConfig.from_stored(values), Origin(**origin)
    except (ValidationError, TypeError) as error:
        raise UsageError(f"{run}: its settings are those of another version of spar") from error


def loop_settings(
    recipe: str | None,
    out: Path | None,
    overrides: Mapping[str, Any],
    assignments: Sequence[str],
    *,
    overwrite: bool,
) -> TrainConfig:
    """The settings of the loop to run: those of the recipe, by default those of the loop in `out`, else `nano`'s.

    Parameters
    ----------
    overrides, assignments:
        What is changed of them, as for `load_train`.

    Raises
    ------
    UsageError
        An unknown recipe or setting, or a value out of range.
    """
    stored = out is not None and not overwrite and (out / MANIFEST).is_file()
    if recipe is None and stored and out is not None:
        return with_changes(read_config(out)[0], overrides, assignments)
    return load_train(recipe or DEFAULT_RECIPE, overrides, assignments)


def read_origin(run: Path) -> Origin:
    """The origin of a loop that continues the loop in `run`: its last trained models.

    Raises
    ------
    UsageError
        The loop has no finished iteration.
    """
    config, origin = read_config(run)
    trained = trained_iterations(config, run, origin)
    if not trained:
        raise UsageError(f"{run} has no iteration whose models are trained, to continue from")
    models = models_after(config, run, trained[-1], origin)
    return Origin(models.actor, models.refiner, trained[-1])


def trained_iterations(config: TrainConfig, run: Path, origin: Origin) -> list[int]:
    """The iterations whose models are all there, the first one first."""
    iterations = range(origin.iteration + 1, config.last_iteration + 1)
    return [iteration for iteration in iterations if is_trained(config, run, iteration)]


def is_trained(config: TrainConfig, run: Path, iteration: int) -> bool:
    """Whether every model that an iteration trains is there."""
    folders = map(Path, trained_models(config, run, iteration))
    return all((folder / "config.json").is_file() for folder in folders)


def read_scores(run: Path, config: TrainConfig, origin: Origin) -> dict[int, Scores]:
    """The scores of the iterations that have been evaluated."""
    scores: dict[int, Scores] = {}
    for iteration in range(origin.iteration, config.last_iteration + 1):
        path = iteration_folder(run, iteration) / "eval" / SCORES_FILE
        if path.is_file():
            try:
                scores[iteration] = parse_scores(path.read_bytes())
            except (OSError, ValidationError) as error:
                raise damaged(path) from error
    return scores


@dataclass(frozen=True, slots=True)
class ShownScore:
    """A metric that a recipe shows."""

    value: float
    stderr: float | None
    unit: str = ""
    """"" for a fraction."""
    n: int | None = None
    """Examples in it."""

    def __str__(self) -> str:
        digits, scale = (3, 1) if self.unit else (1, 100)
        error = "" if self.stderr is None else f" ± {scale * self.stderr:.{digits}f}"
        return f"{scale * self.value:.{digits}f}{error}"


def shown_scores(config: TrainConfig, scores: Scores) -> dict[str, ShownScore]:
    """The metrics that a recipe shows."""
    shown = {}
    for item in config.benchmarks:
        metrics = scores.get(item.title, {})
        for name in item.show or tuple(metrics)[:1]:
            if name in metrics:
                of = metrics[name]
                stderr, n = of.get("stderr"), of.get("n")
                shown[f"{item.title} {name}"] = ShownScore(
                    float(of.get("value") or 0.0),
                    None if stderr is None else float(stderr),
                    str(of.get(UNIT) or ""),
                    None if n is None else int(n),
                )
    return shown


def _state(stage: Stage, *, running: bool) -> StageState:
    record = read_record(stage)
    if record is None:
        return StageState(stage, "waiting", None)
    metrics = _last_step(stage)
    if record.state == "done":
        return StageState(stage, "done", record, metrics=metrics, seconds=record.seconds)
    state: State = "failed"
    if record.state == "running":
        state = "running" if running else "stopped"
    seconds = record.seconds + (_seconds_since_start(stage) if state == "running" else 0.0)
    return StageState(stage, state, record, stage.spec.progress(), metrics, seconds)


def _seconds_since_start(stage: Stage) -> float:
    """Time since the record was written, as it is when a stage starts."""
    try:
        return max(time.time() - stage.record.stat().st_mtime, 0.0)
    except OSError:
        return 0.0


def _last_step(stage: Stage) -> Mapping[str, float | None]:
    if not isinstance(stage.spec, TrainingSpec):
        return {}
    try:
        row = last_metrics(stage.folder)
    except (OSError, ValidationError) as error:
        raise damaged(stage.folder / METRICS) from error
    return {"step": row.step, **row.values} if row else {}
