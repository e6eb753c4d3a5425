"""The status of a training run: its rounds, the sources of their examples, scores and loss curves.

A loop has one round for each iteration (`iteration-1/`); a bootstrap is a single round, as is a folder written
by `python -m spar.train.build`. Only small files are read, possibly while the run writes them: what is missing,
damaged or not written yet is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from spar.record.health import IterationHealth, read_health
from spar.record.layout import (
    BOOTSTRAP_SOURCES,
    BOOTSTRAP_TRAININGS,
    BUILD_STAGE,
    DRAFT_STAGE,
    EXAMPLE_FILES,
    JUDGEMENTS_STAGE,
    LOOP_SOURCES,
    LOOP_TRAININGS,
)
from spar.record.stage_progress import StageProgress
from spar.record.training import BUILD_REPORT, METRICS
from tui.index.scores import ScoreTable, finite, iterations_of, read_object, read_scores
from tui.training.examples import TrainingExample

CACHE_SIZE = 64
"""Number of trainings whose metrics are cached until their file changes."""
_SHARES = ("rewards/accuracies", "mean_token_accuracy")
"""Metrics to show beside the loss; the first that a training has."""


@dataclass(frozen=True, slots=True)
class TrainingRound:
    """One round of training."""

    home: Path
    build: Path
    """Folder of the examples."""
    number: int | None = None
    """Number of a loop's iteration; None for other runs."""
    runs: Mapping[str, Path] = field(default_factory=dict)
    """An example's `run` to the directory of that run."""
    trainings: tuple[Path, ...] = ()
    """Folders of the trainings."""


@dataclass(frozen=True, slots=True)
class ExampleSource:
    """The tree and node that an example was taken from."""

    directory: Path
    prompt_id: str
    node: int


@dataclass(frozen=True, slots=True)
class LossCurve:
    """The losses of a training."""

    name: str
    losses: tuple[float, ...]
    """One loss for each step."""
    step: int
    """The last reported step."""
    share: float | None
    """Share of pairs whose chosen side is preferred, or of correctly predicted tokens, at the last step."""
    share_name: str = ""


@dataclass(frozen=True, slots=True)
class TrainingStatus:
    """The status of a training run."""

    rounds: tuple[TrainingRound, ...] = ()
    scores: ScoreTable = ScoreTable()
    loss_curves: tuple[tuple[LossCurve, ...], ...] = ()
    """The loss curves of each round."""
    stages: tuple[StageProgress, ...] = ()
    """The stages of a loop."""
    health: tuple[IterationHealth, ...] = ()
    """The health of its iterations."""


StagesOf = Callable[[Path], tuple[StageProgress, ...]]
"""Returns the stages of a loop; none for another folder."""


def read_status(run: Path, stages_of: StagesOf | None = None) -> TrainingStatus:
    """Read the status of a training run."""
    rounds = read_rounds(run)
    return TrainingStatus(
        rounds,
        read_scores(run),
        tuple(map(read_loss_curves, rounds)),
        stages_of(run) if stages_of else (),
        read_health(run),
    )


def read_rounds(run: Path) -> tuple[TrainingRound, ...]:
    """The rounds of a training run, in order; empty before the first data set is built."""
    iterations = iterations_of(run)
    if iterations:
        return tuple(
            _loop_round(number, home) for number, home in iterations if number or _has_build(home)
        )
    if (run / BUILD_STAGE).is_dir():
        return (_bootstrap_round(run),)
    return (_build_round(run),) if any((run / name).is_file() for name in EXAMPLE_FILES) else ()


def source_of(example: TrainingExample, training_round: TrainingRound) -> ExampleSource | None:
    """The source of an example; None if it does not name one. The directory may not exist."""
    directory = training_round.runs.get(example.run)
    if directory is None or not example.nodes:
        return None
    return ExampleSource(directory, example.prompt_id, example.nodes[0])


def read_loss_curves(training_round: TrainingRound) -> tuple[LossCurve, ...]:
    """The loss curves of a round's trainings that have started."""
    curves = (_loss_curve(folder) for folder in training_round.trainings)
    return tuple(curve for curve in curves if curve)


def _loop_round(number: int, home: Path) -> TrainingRound:
    runs = {run: home / stage for run, stage in LOOP_SOURCES.items()}
    runs[JUDGEMENTS_STAGE] = home / JUDGEMENTS_STAGE
    if not runs["drafts"].is_dir() and (home / DRAFT_STAGE).is_dir():
        runs["drafts"] = home / DRAFT_STAGE
    trainings = tuple(home / stage for stage in LOOP_TRAININGS)
    return TrainingRound(home, home / BUILD_STAGE, number, runs, trainings)


def _bootstrap_round(run: Path) -> TrainingRound:
    runs = {source: run / stage for source, stage in BOOTSTRAP_SOURCES.items()}
    trainings = tuple(run / stage for stage in BOOTSTRAP_TRAININGS)
    return TrainingRound(run, run / BUILD_STAGE, None, runs, trainings)


def _build_round(run: Path) -> TrainingRound:
    reports = read_object(run / BUILD_REPORT).get("runs")
    reports = reports if isinstance(reports, dict) else {}
    named = {
        name: report.get("directory")
        for name, report in reports.items()
        if isinstance(report, dict)
    }
    runs = {name: Path(where) for name, where in named.items() if isinstance(where, str)}
    return TrainingRound(run, run, None, runs)


def _has_build(home: Path) -> bool:
    return (home / BUILD_STAGE).is_dir()


def _loss_curve(folder: Path) -> LossCurve | None:
    try:
        stat = (folder / METRICS).stat()
    except OSError:
        return None
    return _parse_loss_curve(folder, stat.st_mtime_ns, stat.st_size)


@lru_cache(CACHE_SIZE)
def _parse_loss_curve(folder: Path, _time: int, _size: int) -> LossCurve | None:
    rows = list(_rows(folder / METRICS))
    losses = [
        (row, loss) for row in rows if (loss := finite(row["values"].get("loss"))) is not None
    ]
    if not losses:
        return None
    last = losses[-1][0]
    name = next((key for key in _SHARES if finite(last["values"].get(key)) is not None), "")
    share = finite(last["values"].get(name))
    return LossCurve(folder.name, tuple(loss for _, loss in losses), last["step"], share, name)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # the last line may be incomplete
            continue
        match row:
            case {"step": int(), "values": {**_values}}:
                yield row
