"""What a training pipeline writes beside its runs: stage records, scores, the trainers' metrics and reports.

    run.json                     the recipe, and under `begins` the models that a loop started from
    iteration-1/
      prompts.jsonl              the iteration's prompts
      draft.json                 a `StageRecord`: whether and how the stage ran
      draft.order.json           the stage's specification (`spar.train.specs`)
      draft.log  draft/          what its process printed, and what it wrote
      build/build.json           the report of the training data (`spar.record.training_data`)
      dpo/metrics.jsonl          a `MetricsRow` for each optimizer step
      dpo/report.json            a `TrainReport`, written last
      eval/scores.json           `Scores`

A bootstrap has its stages side by side in one folder, without iterations.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from spar.record.evaluation import Results
from spar.types import Record, Text

ORIGIN = "begins"
"""Key of a loop's manifest beside the fields of its recipe: the first models. Only a loop has it."""
PROMPTS = "prompts.jsonl"
"""An iteration's prompts, in its folder."""
BUILD_REPORT = "build.json"
"""The report of a data set, in the folder of its files; written last."""
TRAIN_REPORT = "report.json"
"""A `TrainReport`, in a training's folder; written last."""
METRICS = "metrics.jsonl"
"""A `MetricsRow` on each line, in a training's folder."""
FAILURE = "failure.json"
"""Why a training failed, in its folder."""
SCORES_FILE = "scores.json"
"""`Scores`, in the folder of an evaluation stage."""
REPLACED = "replaced"
"""Folder with the output of stages that were run again."""

UNIT = "unit"
"""Key of a score with the unit of its metric, which is a fraction where there is none."""
Scores = Mapping[str, Mapping[str, Mapping[str, float | str | None]]]
"""Evaluation to metric to `value`, `stderr` and `n`, and `unit` where the metric is no fraction."""
_SCORES = TypeAdapter(dict[str, dict[str, dict[str, int | float | str | None]]])
_TAIL = 1 << 16
"""Bytes in which a row of metrics fits many times."""
_ITERATION = re.compile(r"iteration-(\d+)")


class StageRecord(Record):
    """How a stage ran; `STAGE.json` beside its folder."""

    stage: Text
    iteration: int
    state: Literal["running", "failed", "done"]
    """`running` also where the pipeline was killed in the middle of the stage."""
    starts: int = 1
    """How often it was started or resumed."""
    seconds: float = 0.0
    """Wall-clock time of all starts that came to an end."""
    message: Text = ""
    """Why it failed, in one line."""


class MetricsRow(Record):
    """What one optimizer step reported."""

    step: int
    """Optimizer steps so far."""
    epoch: float
    """Passes over the data so far."""
    values: dict[Text, float | None]
    """Metric to value; None where it was not a finite number."""


class TrainReport(Record):
    """The result of a training; `report.json`."""

    model: Text
    """Folder of the trained model, relative to the training's folder."""
    examples: int
    """Examples of the data file."""
    truncated: int
    """Examples that were trained on and longer than the cutoff."""
    dropped: Mapping[Text, int] = Field(default_factory=dict)
    """Why examples of the file were left out, to their number."""
    steps: int
    """Optimizer steps."""
    loss: float | None
    """Loss of the last one."""
    processes: int
    """Processes that trained."""
    seconds: float
    """Wall-clock time from the last start to the end."""


def iteration_folder(run: str | Path, iteration: int) -> Path:
    """The folder of an iteration; number 0 holds the evaluation of the first models."""
    return Path(run) / f"iteration-{iteration}"


def iteration_number(folder: Path) -> int | None:
    """The number in the name of an iteration's folder; None where it is another folder."""
    match = _ITERATION.fullmatch(folder.name)
    return int(match[1]) if match else None


def read_metrics(folder: Path) -> list[MetricsRow]:
    """The metrics of a training so far; a last line cut short by a kill is left out."""
    path = folder / METRICS
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [MetricsRow.model_validate_json(line) for line in lines]


def last_metrics(folder: Path) -> MetricsRow | None:
    """The last whole row of a training's metrics; None where there is none. Reads the end of the file alone."""
    try:
        with (folder / METRICS).open("rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - _TAIL))
            lines = handle.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    return MetricsRow.model_validate_json(lines[-1]) if lines else None


def scores_of(results: Results) -> Mapping[str, Mapping[str, Any]]:
    """The scores of one evaluation."""
    units = {name: {UNIT: unit} for name, unit in results.units.items()}
    return {
        name: {**metric.model_dump(), **units.get(name, {})}
        for name, metric in results.metrics.items()
    }


def parse_scores(content: bytes) -> Scores:
    """The content of a `scores.json`; raises pydantic's `ValidationError` where it is malformed."""
    return _SCORES.validate_json(content)
