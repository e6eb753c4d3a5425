"""The metrics of an evaluation, and those of a training loop over its iterations, from their small files.

What is missing, damaged or not written yet is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.record.layout import EVAL_STAGE
from spar.record.training import SCORES_FILE, UNIT, iteration_number
from spar.store import MANIFEST

GROUP = "/"
"""In the name of a metric, before the group of examples that it is about."""


@dataclass(frozen=True, slots=True)
class MetricValue:
    """The value of a metric."""

    value: float
    stderr: float | None
    unit: str = ""
    """"" for a share of one."""

    @property
    def is_share(self) -> bool:
        """Whether it is a share of one; a metric of an old loop without a unit may be something else."""
        return not self.unit and 0 <= self.value <= 1


@dataclass(frozen=True, slots=True)
class MetricHistory:
    """The values of a metric over the iterations; a single one for an evaluation."""

    name: str
    scores: tuple[MetricValue | None, ...]
    """One value for each iteration; None without an evaluation."""

    @property
    def first(self) -> MetricValue | None:
        """The first value that was measured."""
        return next((score for score in self.scores if score), None)

    @property
    def last(self) -> MetricValue | None:
        """The last value that was measured."""
        return next((score for score in reversed(self.scores) if score), None)


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The scores of the models of each iteration."""

    iterations: tuple[int, ...] = ()
    metrics: tuple[MetricHistory, ...] = ()


def read_scores(run: Path) -> ScoreTable:
    """The scores by iteration: the metrics that the recipe shows, else the first of each evaluation."""
    evaluated = {
        number: read_object(home / EVAL_STAGE / SCORES_FILE) for number, home in iterations_of(run)
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


def evaluation_metrics(results: Mapping[str, Any]) -> tuple[MetricHistory, ...]:
    """The metrics over all examples of an evaluation, in its order."""
    metrics, units = results.get("metrics"), results.get("units")
    units = units if isinstance(units, dict) else {}
    found = []
    for name, metric in metrics.items() if isinstance(metrics, dict) else ():
        if isinstance(metric, dict) and GROUP not in name:
            value = _value({UNIT: units.get(name, ""), **metric})
            found += [MetricHistory(name, (value,))] if value else []
    return tuple(found)


def iterations_of(directory: Path) -> list[tuple[int, Path]]:
    """The numbers and folders of a training loop's iterations, in order."""
    try:
        folders = [entry for entry in directory.iterdir() if entry.is_dir()]
    except OSError:
        return []
    numbered = [(iteration_number(folder), folder) for folder in folders]
    return sorted((number, folder) for number, folder in numbered if number is not None)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one if there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def finite(value: Any) -> float | None:
    """A finite number of a JSON file; None for anything else."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None


def _shown_metrics(run: Path, evaluated: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The evaluation and the name of each metric to show."""
    config = read_object(run / MANIFEST).get("config")
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
            return _value(metric)
    return None


def _value(metric: Mapping[str, Any]) -> MetricValue | None:
    value, unit = finite(metric.get("value")), metric.get(UNIT)
    unit = unit if isinstance(unit, str) else ""
    return None if value is None else MetricValue(value, finite(metric.get("stderr")), unit)
