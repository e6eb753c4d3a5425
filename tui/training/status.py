"""A training run: its rounds, where their examples came from, what the models scored, how the losses went.

A loop has a round an iteration (`iteration-1/`), a bootstrap is one round, and so is a folder that
`python -m spar.train.build` wrote. All is read from small files, and what is missing, damaged or not
written yet is left out: a loop is looked at while it runs.
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
    EVAL_STAGE,
    EXAMPLE_FILES,
    LOOP_SOURCES,
    LOOP_TRAININGS,
)
from spar.record.training import BUILD_REPORT, METRICS, SCORES_FILE
from spar.store import MANIFEST
from tui.index.run_summary import iterations_of
from tui.training.examples import TrainingExample

KEPT = 64
"""Trainings whose metrics are kept while their file does not change."""
_SHARES = ("rewards/accuracies", "mean_token_accuracy")
"""What is told of a training beside its loss, the first that it has."""


@dataclass(frozen=True, slots=True)
class Round:
    """What was trained at one time."""

    home: Path
    build: Path
    """Folder of the examples."""
    number: int | None = None
    """Of a loop's iteration."""
    runs: Mapping[str, Path] = field(default_factory=dict)
    """The build's name of a run to its directory."""
    trainings: tuple[Path, ...] = ()
    """Folders of the trainings, each named for what it is."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The tree and node that an example came from."""

    directory: Path
    prompt_id: str
    node: int


@dataclass(frozen=True, slots=True)
class Score:
    """One measurement."""

    value: float
    stderr: float | None


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric over the iterations."""

    name: str
    scores: tuple[Score | None, ...]
    """One an iteration, None where it was not measured."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What the models of each iteration scored."""

    iterations: tuple[int, ...] = ()
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True, slots=True)
class Course:
    """How a training went."""

    name: str
    losses: tuple[float, ...]
    """One a step."""
    step: int
    """The last step that was reported."""
    share: float | None
    """Of pairs whose chosen side is preferred, or of tokens that are predicted, at the last step."""
    share_name: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A training run as its folder shows it."""

    rounds: tuple[Round, ...] = ()
    scores: Scores = Scores()
    courses: tuple[tuple[Course, ...], ...] = ()
    """Of each round."""


def standing_of(run: Path) -> Standing:
    """How a training run stands now."""
    rounds = rounds_of(run)
    return Standing(rounds, scores_of(run), tuple(map(courses_of, rounds)))


def rounds_of(run: Path) -> tuple[Round, ...]:
    """The rounds of a training run, in order; none where it has learnt from nothing yet."""
    iterations = iterations_of(run)
    if iterations:
        return tuple(
            _of_loop(number, home) for number, home in iterations if number or _built(home)
        )
    if (run / BUILD_STAGE).is_dir():
        return (_of_bootstrap(run),)
    return (_of_build(run),) if any((run / name).is_file() for name in EXAMPLE_FILES) else ()


def origin_of(example: TrainingExample, of: Round) -> Origin | None:
    """Where an example came from; None where that is not said. The directory may not be there."""
    directory = of.runs.get(example.run)
    if directory is None or not example.nodes:
        return None
    return Origin(directory, example.prompt_id, example.nodes[0])


def scores_of(run: Path) -> Scores:
    """What was measured by iteration: the metrics that the recipe wants to see, else the first of each."""
    measured = {
        number: _object(home / EVAL_STAGE / SCORES_FILE) for number, home in iterations_of(run)
    }
    measured = {number: scores for number, scores in measured.items() if scores}
    names = dict.fromkeys(_wanted(run, tuple(measured.values())))
    metrics = [
        Metric(f"{title} {name}", tuple(_score(one, title, name) for one in measured.values()))
        for title, name in names
    ]
    shown = tuple(metric for metric in metrics if any(metric.scores))
    return Scores(tuple(measured), shown)


def courses_of(of: Round) -> tuple[Course, ...]:
    """How the trainings of a round went, those that have begun."""
    found = (_course(folder) for folder in of.trainings)
    return tuple(course for course in found if course)


def _of_loop(number: int, home: Path) -> Round:
    runs = {run: home / stage for run, stage in LOOP_SOURCES.items()}
    trainings = tuple(home / stage for stage in LOOP_TRAININGS)
    return Round(home, home / BUILD_STAGE, number, runs, trainings)


def _of_bootstrap(run: Path) -> Round:
    runs = {source: run / stage for source, stage in BOOTSTRAP_SOURCES.items()}
    trainings = tuple(run / stage for stage in BOOTSTRAP_TRAININGS)
    return Round(run, run / BUILD_STAGE, None, runs, trainings)


def _of_build(run: Path) -> Round:
    reports = _object(run / BUILD_REPORT).get("runs")
    reports = reports if isinstance(reports, dict) else {}
    named = {
        name: report.get("directory")
        for name, report in reports.items()
        if isinstance(report, dict)
    }
    runs = {name: Path(where) for name, where in named.items() if isinstance(where, str)}
    return Round(run, run, None, runs)


def _built(home: Path) -> bool:
    return (home / BUILD_STAGE).is_dir()


def _wanted(run: Path, measured: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Evaluation and metric of all that is shown."""
    config = _object(run / MANIFEST).get("config")
    listed = config.get("benchmarks") if isinstance(config, dict) else None
    shown: dict[str, Any] = {}
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict):
            shown[str(item.get("name") or item.get("benchmark"))] = item.get("show")
    titles = dict.fromkeys(title for scores in measured for title in scores)
    for title in titles:
        names = shown.get(title)
        if not isinstance(names, list) or not names:
            found = [one[title] for one in measured if isinstance(one.get(title), dict)]
            names = list(found[-1])[:1] if found else []
        yield from ((title, str(name)) for name in names)


def _score(scores: Mapping[str, Any], title: str, name: str) -> Score | None:
    match scores.get(title):
        case {**metrics} if isinstance(found := metrics.get(name), dict):
            value, stderr = _finite(found.get("value")), _finite(found.get("stderr"))
            return None if value is None else Score(value, stderr)
    return None


def _course(folder: Path) -> Course | None:
    try:
        stat = (folder / METRICS).stat()
    except OSError:
        return None
    return _read_course(folder, stat.st_mtime_ns, stat.st_size)


@lru_cache(KEPT)
def _read_course(folder: Path, _time: int, _size: int) -> Course | None:
    rows = list(_rows(folder / METRICS))
    losses = [
        (row, loss) for row in rows if (loss := _finite(row["values"].get("loss"))) is not None
    ]
    if not losses:
        return None
    last = losses[-1][0]
    name = next((one for one in _SHARES if _finite(last["values"].get(one)) is not None), "")
    share = _finite(last["values"].get(name))
    return Course(folder.name, tuple(loss for _, loss in losses), last["step"], share, name)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # the last one may be half written
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
