"""The status of a training run: its rounds, the sources of their examples, scores and loss curves.

A loop has one round for each iteration (`iteration-1/`); a bootstrap is a single round, as is a folder written
by `python -m spar.train.build`. Only small files are read, possibly while the run writes them: what is missing,
damaged or not written yet is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from spar.record.layout import (
    BOOTSTRAP_SOURCES,
    BOOTSTRAP_TRAININGS,
    BUILD_STAGE,
    DRAFT_STAGE,
    EVAL_STAGE,
    EXAMPLE_FILES,
    JUDGEMENTS_STAGE,
    LOOP_SOURCES,
    LOOP_TRAININGS,
)
from spar.record.training import BUILD_REPORT, METRICS, SCORES_FILE
from spar.store import MANIFEST
from tui.index.run_summary import iterations_of
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
class MetricValue:
    """The value of a metric."""

    value: float
    stderr: float | None


@dataclass(frozen=True, slots=True)
class MetricHistory:
    """The values of a metric over the iterations."""

    name: str
    scores: tuple[MetricValue | None, ...]
    """One value for each iteration; None without an evaluation."""


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The scores of the models of each iteration."""

    iterations: tuple[int, ...] = ()
    metrics: tuple[MetricHistory, ...] = ()


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


def read_status(run: Path) -> TrainingStatus:
    """Read the status of a training run."""
    rounds = read_rounds(run)
    return TrainingStatus(rounds, read_scores(run), tuple(map(read_loss_curves, rounds)))


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


def read_scores(run: Path) -> ScoreTable:
    """The scores by iteration: the metrics that the recipe shows, else the first of each evaluation."""
    evaluated = {
        number: _object(home / EVAL_STAGE / SCORES_FILE) for number, home in iterations_of(run)
    }
    evaluated = {number: scores for number, scores in evaluated.items() if scores}
    names = dict.fromkeys(_shown_metrics(run, tuple(evaluated.values())))
    metrics = [
        MetricHistory(
            f"{title} {name}", tuple(_score(scores, title, name) for scores in evaluated.values())
        )
        for title, name in names
    ]
    shown = tuple(metric for metric in metrics if any(metric.scores))
    return ScoreTable(tuple(evaluated), shown)


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
    reports = _object(run / BUILD_REPORT).get("runs")
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


def _shown_metrics(run: Path, evaluated: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The evaluation and the name of each metric to show."""
    config = _object(run / MANIFEST).get("config")
    listed = config.get("benchmarks") if isinstance(config, dict) else None
    shown: dict[str, Any] = {}
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict):
            shown[str(item.get("name") or item.get("benchmark"))] = item.get("show")
    titles = dict.fromkeys(title for scores in evaluated for title in scores)
    for title in titles:
        names = shown.get(title)
        if not isinstance(names, list) or not names:
            metrics = [scores[title] for scores in evaluated if isinstance(scores.get(title), dict)]
            names = list(metrics[-1])[:1] if metrics else []
        yield from ((title, str(name)) for name in names)


def _score(scores: Mapping[str, Any], title: str, name: str) -> MetricValue | None:
    match scores.get(title):
        case {**metrics} if isinstance(metric := metrics.get(name), dict):
            value, stderr = _finite(metric.get("value")), _finite(metric.get("stderr"))
            return None if value is None else MetricValue(value, stderr)
    return None


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
        (row, loss) for row in rows if (loss := _finite(row["values"].get("loss"))) is not None
    ]
    if not losses:
        return None
    last = losses[-1][0]
    name = next((key for key in _SHARES if _finite(last["values"].get(key)) is not None), "")
    share = _finite(last["values"].get(name))
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


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _finite(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None
