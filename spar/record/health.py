"""The health of a training loop, iteration by iteration, read from its folder.

    for health in read_health("runs/mine"):
        print(health.iteration, health.drafts.mean_score, health.log_probabilities["chosen"].change)

The drafts' statistics are those of the iteration's `build.json`, the log-probabilities those of its preference training's
`metrics.jsonl`. `spar train status`, the training screen and reports read a loop's health here; `spar.view.health` words it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Literal

from pydantic import ValidationError

from spar.record.layout import BUILD_STAGE, LOOP_TRAININGS
from spar.record.training import (
    BUILD_REPORT,
    MetricsRow,
    iteration_folder,
    iteration_number,
    read_metrics,
)
from spar.record.training_data import BuildReport, DraftMeasures

SIDES = ("chosen", "rejected")
"""The sides of a pair; a preference training reports the log-probability of either as `logps/SIDE`."""
_SHARE = 10
"""A tenth of the steps at either end is averaged: a single step is one batch of pairs."""


@dataclass(frozen=True, slots=True)
class Change:
    """A number at the beginning and at the end of a training."""

    first: float
    """Mean over the first tenth of the steps."""
    last: float
    """Mean over the last tenth."""

    @property
    def change(self) -> float:
        """How far it rose."""
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class IterationHealth:
    """What tells whether an iteration did a loop good."""

    iteration: int
    report: BuildReport | None
    """The report of its data; None before they are built."""
    log_probabilities: Mapping[str, Change] = field(default_factory=dict)
    """`chosen` and `rejected`: the mean log-probability of that side of the pairs. Both may fall while they move apart."""
    steps: int = 0
    """Optimizer steps of the actor's training, so far."""

    @property
    def drafts(self) -> DraftMeasures | None:
        """Statistics of its drafts; None before the data are built, and for loops of earlier versions."""
        return self.report.drafts if self.report else None

    @property
    def usable_share(self) -> float | None:
        """Share of its prompts from which something can be trained on."""
        drafts = self.drafts
        return drafts.usable / drafts.prompts if drafts and drafts.prompts else None

    @property
    def tied_share(self) -> float | None:
        """Share of its prompts whose drafts all have one score; None where nothing was judged."""
        drafts = self.drafts
        return drafts.tied / drafts.prompts if drafts and drafts.judged else None

    @property
    def optimism(self) -> float | None:
        """Share of the drafts that the judge passes less the share that programs pass; None where none has both verdicts.

        Loops of earlier versions stored no difference; theirs is known where both verdicts are there for every draft.
        """
        drafts = self.drafts
        if drafts is None or drafts.passed_share is None or drafts.true_share is None:
            return None
        if drafts.optimism is not None:
            return drafts.optimism
        whole = drafts.judged == drafts.checked == drafts.drafts
        return drafts.passed_share - drafts.true_share if whole else None


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of an iteration's health."""

    of: Callable[[IterationHealth], float | None]
    unit: Literal["share", "score", "words", "nats"]
    meaning: str


def _of_drafts(name: str) -> Callable[[IterationHealth], float | None]:
    """A field of the statistics of an iteration's drafts."""
    return lambda health: getattr(health.drafts, name, None)


def _rise(side: str) -> Callable[[IterationHealth], float | None]:
    def change(health: IterationHealth) -> float | None:
        found = health.log_probabilities.get(side)
        return found.change if found else None

    return change


MEASURES: Mapping[str, Measure] = {
    "score": Measure(_of_drafts("mean_score"), "score", "mean score of the drafts, by the judge"),
    "tied": Measure(
        lambda health: health.tied_share, "share", "share of prompts whose drafts have one score"
    ),
    "words": Measure(_of_drafts("mean_words"), "words", "mean words of a draft"),
    "usable": Measure(
        lambda health: health.usable_share,
        "share",
        "share of prompts that something is learnt from",
    ),
    "judge passes": Measure(
        _of_drafts("passed_share"), "share", "share of drafts that the judge passes"
    ),
    "true": Measure(_of_drafts("true_share"), "share", "share of drafts that pass by programs"),
    "judge right": Measure(
        _of_drafts("right_share"), "share", "share of drafts on which judge and programs agree"
    ),
    "chosen": Measure(
        _rise("chosen"),
        "nats",
        "how far the log-probability of chosen sides rose in the training",
    ),
    "rejected": Measure(_rise("rejected"), "nats", "the same of rejected sides"),
}
"""Heading to a number of an iteration, and what it means."""


def read_health(run: str | Path) -> tuple[IterationHealth, ...]:
    """The health of every iteration that has built its data or begun to train, in order."""
    numbers = sorted(
        number
        for folder in Path(run).glob("iteration-*")
        if (number := iteration_number(folder)) is not None
    )
    healths = (_read(iteration_folder(run, number), number) for number in numbers)
    return tuple(each for each in healths if each.report or each.log_probabilities)


def changes_of(rows: Sequence[MetricsRow]) -> dict[str, Change]:
    """Side to how its log-probability changed over a training; {} for one without pairs."""
    changes = {}
    for side in SIDES:
        values = [value for row in rows if (value := row.values.get(f"logps/{side}")) is not None]
        if values:
            part = max(1, len(values) // _SHARE)
            changes[side] = Change(fmean(values[:part]), fmean(values[-part:]))
    return changes


def _read(home: Path, number: int) -> IterationHealth:
    changes: dict[str, Change] = {}
    steps = 0
    for name in LOOP_TRAININGS:  # the actor's come first
        rows = _rows(home / name)
        changes = changes or changes_of(rows)
        steps = steps or (rows[-1].step if rows else 0)
    return IterationHealth(number, _report(home / BUILD_STAGE / BUILD_REPORT), changes, steps)


def _report(path: Path) -> BuildReport | None:
    """The report of an iteration's data; None before they are built, or where it is not of this version."""
    try:
        return BuildReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _rows(folder: Path) -> list[MetricsRow]:
    try:
        return read_metrics(folder)
    except (OSError, ValidationError):  # it is being replaced, or is damaged
        return []
