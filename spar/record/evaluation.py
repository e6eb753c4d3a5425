"""What an evaluation writes beside its trees: one line an example, and the totals.

    examples.jsonl   an `Example` a line: what was answered, each verdict and why, what it cost
    results.json     `Results`: every metric with n and its standard error, counts, notes

A metric is a ratio of two sums over the examples, so an example carries its share of both. That makes
every number here checkable by hand, and lets runs be compared example by example.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from spar.errors import RunStopped, UsageError
from spar.files import replace_json, replace_lines
from spar.types import Record, Text, Usage

EXAMPLES, RESULTS = "examples.jsonl", "results.json"

Share = tuple[float, float]
"""An example's part of a metric: what it adds to the numerator, and to the denominator."""


class Verdict(Record):
    """Whether one constraint, or one question asked of an answer, holds."""

    name: Text
    """What was checked, such as `keywords:existence`."""
    passed: bool | None
    """None where nothing could be read out of a judge's reply."""
    why: Text = ""
    """One line for a person: the arguments, the rule, or what the judge said."""


class Example(Record):
    """The result of one example."""

    id: Text
    """The prompt's id."""
    group: Text = ""
    """Examples that were sampled together, such as the two orders of a pair, share a group; standard
    errors and intervals resample groups. "" is a group of its own."""
    prompt: Text = ""
    """What was asked: the last turn."""
    response: Text | None
    """What was scored, None where there is no answer."""
    passed: bool | None
    """The outcome that `spar eval compare` calls a flip; None where there is none."""
    verdicts: tuple[Verdict, ...] = ()
    """Each constraint's."""
    scores: dict[str, Share] = Field(default_factory=dict)
    """Metric to this example's share of it."""
    usage: Usage = Usage()
    """What answering cost, zero where the answer came from a file."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """What else a person may want to see, such as the subset."""


class Metric(Record):
    """One number of the totals."""

    value: float
    """A fraction in [0, 1] where the metric is a share; else in its own unit."""
    stderr: float | None
    """Standard error over groups, None below two groups."""
    n: int
    """Examples that count in it."""


class Scored(Record):
    """What scoring gave, before it is summed up."""

    examples: tuple[Example, ...]
    means: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Metric to the metrics of which it is the plain mean, in the order in which they are printed."""
    counts: dict[str, int] = Field(default_factory=dict)
    """What a reader must know beside the metrics: unanswered, unparsed, missing."""
    notes: tuple[Text, ...] = ()
    """Lines for a person."""
    units: dict[str, str] = Field(default_factory=dict)
    """Metric to its unit where it is no fraction, such as `levels`."""


class Results(Record):
    """The totals of one benchmark."""

    benchmark: Text
    n: int
    """Examples scored."""
    metrics: dict[str, Metric]
    means: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    counts: dict[str, int] = Field(default_factory=dict)
    notes: tuple[Text, ...] = ()
    units: dict[str, str] = Field(default_factory=dict)
    usage: Usage = Usage()
    """What all answers cost."""
    run: dict[str, Any] = Field(default_factory=dict)
    """Where the answers came from: strategy, budget, models, digests."""


def write_examples(directory: Path, examples: Iterable[Example]) -> None:
    """Replace `examples.jsonl` as a whole; raises `RunStopped` where that cannot be written."""
    lines = (json.dumps(example.model_dump(), separators=(",", ":")) for example in examples)
    with writing(directory):
        replace_lines(directory / EXAMPLES, lines)


def read_examples(directory: Path) -> Iterator[Example]:
    """Stream the examples of an evaluation's directory.

    Raises
    ------
    UsageError
        There is no such file, or a line of it is no example.
    """
    path = directory / EXAMPLES
    if not path.is_file():
        raise UsageError(f"there is no file {path}; give the directory of a finished evaluation")
    return _examples(path)


def _examples(path: Path) -> Iterator[Example]:
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                yield Example.model_validate(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path}:{number} is no example of an evaluation") from error


def write_results(directory: Path, results: Results) -> None:
    """Replace `results.json` as a whole; raises `RunStopped` where that cannot be written."""
    with writing(directory):
        replace_json(directory / RESULTS, results.model_dump(mode="json"))


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Turn a failure to write what was found into `RunStopped`; what it was found from stays."""
    try:
        yield
    except OSError as error:
        raise RunStopped(
            f"cannot write to {directory}: {error.strerror or error}; mend that and run the same command "
            "again, answers and grades are kept"
        ) from error


def read_results(directory: Path) -> Results:
    """The totals of an evaluation's directory.

    Raises
    ------
    UsageError
        There are none, or they are damaged.
    """
    path = directory / RESULTS
    try:
        return Results.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise UsageError(
            f"there is no {path}; give the directory of a finished evaluation"
        ) from error
    except (ValidationError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} holds no results of an evaluation") from error


def as_lm_eval(results: Results) -> Mapping[str, float | int | None]:
    """Metrics under their names, each with `_stderr` beside it, and n: the shape lm-eval prints."""
    flat: dict[str, float | int | None] = {"n": results.n}
    for name, metric in results.metrics.items():
        flat[name] = metric.value
        flat[f"{name}_stderr"] = metric.stderr
    return {**flat, **results.counts}
