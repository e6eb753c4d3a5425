"""The file `result.json` of an experiment of `spar report`: what its page is written from.

    runs/report/embedded-quick/figure5/result.json    beside the runs of the experiment

A page can be written again from it without a model. Fractions are stored as fractions, and shown in percent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from spar.errors import UsageError
from spar.files import replace_json
from spar.types import Record, Text

RESULT = "result.json"

Verdict = Literal["holds", "does not hold", "inconclusive"]
"""Whether a claim of the paper holds here: what the 95 % interval of a difference allows to say."""
Unit = Literal["%", "points", "nats", ""]
"""How a number is shown: a fraction in percent, a difference of fractions in points, a change of a log-probability in nats, or
as it is."""


class Number(Record):
    """A mean over prompts and seeds."""

    value: float
    """A fraction where the unit is percent or points."""
    stderr: float | None
    """Standard error; over prompts and seeds with several seeds, else over prompts."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    n: int
    """Prompts."""
    by_seed: tuple[float, ...]
    """The value of each seed."""
    unit: Unit = "%"


Cell = Number | int | float | Text | None
"""A cell of a table; None where there is nothing to show."""


class Table(Record):
    """A table of a page, which is also written as CSV."""

    name: Text
    """Name of the CSV file, without its ending."""
    title: Text
    """One sentence above it."""
    columns: tuple[Text, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Series(Record):
    """One line of a plot."""

    label: Text
    x: tuple[float, ...]
    y: tuple[float, ...]
    error: tuple[float | None, ...]
    """One standard error of each point."""
    reference_of: Text = ""
    """The series whose reference it is, such as a ceiling: dashed, in that one's colour. "" for a series of its own."""


class Panel(Record):
    """One set of axes of a plot."""

    x: Text
    """Label of the horizontal axis."""
    series: tuple[Series, ...]
    log: bool = False
    """Whether the horizontal axis is logarithmic."""
    names: tuple[Text, ...] = ()
    """What stands at 0, 1, 2 ...: things that have no order, whose points are not joined. () for an axis of numbers."""


class Plot(Record):
    """A plot of a page, written as PNG and SVG."""

    name: Text
    """Name of the files, without their endings."""
    title: Text
    y: Text
    """Label of the vertical axes."""
    panels: tuple[Panel, ...]


class Claim(Record):
    """A claim of the paper, and whether it holds here."""

    paper: Text
    """What the paper says, in a sentence."""
    verdict: Verdict
    text: Text
    """What was found here, in a sentence."""
    difference: Number
    """What decided."""


class Measured(Record):
    """What an experiment found."""

    tables: tuple[Table, ...]
    plots: tuple[Plot, ...] = ()
    claims: tuple[Claim, ...] = ()
    notes: tuple[Text, ...] = ()
    """What a reader must know about how it was measured here."""
    headline: Text = ""
    """The number of the index: a short text with it."""


class ExperimentResult(Record):
    """An experiment as it was run."""

    experiment: Text
    settings: dict[str, Any]
    """What decides the numbers: model, seeds, sizes. Another result is needed where they differ."""
    command: Text
    facts: dict[Text, Text] = Field(default_factory=dict)
    """Commit, versions and hardware, in words."""
    seconds: float
    """Wall time of all starts, without those that were killed."""
    resumed: bool = False
    """Whether earlier starts had left runs."""
    measured: Measured


def write_experiment(folder: Path, result: ExperimentResult) -> None:
    """Replace the `result.json` of an experiment's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_json(folder / RESULT, result.model_dump(mode="json"))


def read_experiment(folder: Path) -> ExperimentResult | None:
    """The result in a folder, None where there is none yet.

    Raises
    ------
    UsageError
        The file is damaged.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        return ExperimentResult.model_validate(json.loads(path.read_bytes()))
    except (ValidationError, ValueError) as error:
        raise UsageError(
            f"{path} is not a result of this version; delete it, and it is written again from the runs beside it"
        ) from error
