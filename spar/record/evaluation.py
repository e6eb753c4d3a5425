"""The files that an evaluation writes beside its trees: one line an example, and the totals.

    examples.jsonl   an `Example` a line: the answer, each verdict with its reason, the cost
    results.json     `Results`: every metric with n and its standard error, counts, notes

A metric is a ratio of two sums over the examples, and an example carries its share of both. So every metric
can be recomputed from the examples, and runs can be compared example by example.
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
from spar.record.row_files import record_line
from spar.types import Finding, Record, Text, Usage

EXAMPLES, RESULTS = "examples.jsonl", "results.json"
LIKELIHOODS = "likelihoods.jsonl"
"""The likelihoods of texts (`spar.eval.lm_harness.likelihoods`)."""
UNVERIFIABLE = "unverifiable_instructions"
"""The count of instructions that cannot be checked on this machine."""
UNSCORED = "unscored"
"""The count of texts without a likelihood."""

NO_TREES = "has no trees (answers from a file); use spar eval compare"
"""Of an evaluation whose trees are needed to compare runs or to browse them."""

Share = tuple[float, float]
"""An example's share of a metric: its terms in the numerator and in the denominator."""


class Verdict(Record):
    """The verdict on one constraint of an answer, or on one question about it."""

    name: Text
    """The constraint, such as `keywords:existence`."""
    passed: bool | None
    """None if the judge's reply could not be parsed."""
    why: Text = ""
    """A human-readable line: the arguments, the rule, or the judge's words."""


def verdict_findings(verdicts: Iterable[Verdict]) -> tuple[Finding, ...]:
    """An evaluation's verdicts as findings; one that could not be parsed is none."""
    return tuple(
        Finding(type=each.name, constraint=each.name, met=each.passed, found=each.why)
        for each in verdicts
        if each.passed is not None
    )


class Example(Record):
    """The result of one example."""

    id: Text
    """The prompt's id."""
    group: Text = ""
    """The group of dependent examples, such as the two orders of a pair; standard errors and intervals are
    computed over groups. An example with "" is a group of its own."""
    prompt: Text = ""
    """The last turn of the prompt."""
    response: Text | None
    """The text that was scored, None if there is no answer."""
    passed: bool | None
    """Whether the example passes as a whole, whose changes `spar eval compare` reports as flips; None if the
    benchmark does not say."""
    verdicts: tuple[Verdict, ...] = ()
    """One for each constraint."""
    scores: dict[str, Share] = Field(default_factory=dict)
    """Metric to this example's share of it."""
    usage: Usage = Usage()
    """The cost of the answer; zero if it comes from a file."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """Further fields for readers, such as the subset."""


class Metric(Record):
    """One number of the totals."""

    value: float
    """A fraction in [0, 1], or a value in the unit of `Results.units`."""
    stderr: float | None
    """Standard error over groups, None with fewer than two groups."""
    n: int
    """Number of examples in it."""


class Scored(Record):
    """The scores of all examples, before they are aggregated."""

    examples: tuple[Example, ...]
    """Every example, in the benchmark's order."""
    means: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Metric to the metrics of which it is the unweighted mean, in the order of printing."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Counts that qualify the metrics, such as unanswered or unparsed."""
    notes: tuple[Text, ...] = ()
    """Human-readable lines."""
    units: dict[str, str] = Field(default_factory=dict)
    """Metric to its unit, such as `levels`, if it is not a fraction."""


class Results(Record):
    """The totals of one benchmark."""

    benchmark: Text
    """Its name."""
    n: int
    """Number of scored examples."""
    metrics: dict[str, Metric]
    """Metric to `value`, `stderr` (over groups of dependent examples) and `n`."""
    means: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """As in `Scored`, and so are `counts`, `notes` and `units`."""
    counts: dict[str, int] = Field(default_factory=dict)
    notes: tuple[Text, ...] = ()
    units: dict[str, str] = Field(default_factory=dict)
    usage: Usage = Usage()
    """The cost of all answers."""
    run: dict[str, Any] = Field(default_factory=dict)
    """The origin of the answers: strategy, budget, models, digests."""


def write_examples(directory: Path, examples: Iterable[Example]) -> None:
    """Replace `examples.jsonl`; raises `RunStopped` if it cannot be written."""
    with writing(directory):
        replace_lines(directory / EXAMPLES, map(record_line, examples))


def shares_of(examples: Iterable[Example], metric: str) -> dict[str, Share]:
    """Group, or id of an example without one, to its share of a metric, of the examples that have it."""
    return sum_shares(
        (one.group or one.id, one.scores[metric]) for one in examples if metric in one.scores
    )


def sum_shares(shares: Iterable[tuple[str, Share]]) -> dict[str, Share]:
    """Name to the sum of its shares: numerators and denominators each."""
    sums: dict[str, Share] = {}
    for name, (above, below) in shares:
        before = sums.get(name, (0.0, 0.0))
        sums[name] = before[0] + above, before[1] + below
    return sums


def read_examples(directory: Path) -> Iterator[Example]:
    """Stream the examples of an evaluation's directory.

    Raises
    ------
    UsageError
        There is no such file, or a line of it is not an example.
    """
    path = directory / EXAMPLES
    if not path.is_file():
        raise UsageError(f"there is no file {path}; give the directory of a finished evaluation")
    return _examples(path)


def no_trees(path: Path) -> UsageError:
    """The error of who needs the trees of a run directory, or a file of one, that has none."""
    folder = path if path.is_dir() else path.parent
    if (folder / EXAMPLES).is_file():
        return UsageError(
            f"{folder} is an evaluation of answers from a file, which has no trees; export its examples: "
            "--format jsonl, csv or parquet"
        )
    return UsageError(f"{path} has no trees yet; run spar decode first")


def no_trees_to_compare(path: Path) -> UsageError:
    """The error of who compares the trees of a run directory, or of a file of one, that has none."""
    folder = path if path.is_dir() else path.parent
    is_evaluation = (folder / EXAMPLES).is_file()
    return UsageError(f"{folder} {NO_TREES}") if is_evaluation else no_trees(path)


def _examples(path: Path) -> Iterator[Example]:
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                yield Example.model_validate(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path}:{number} is not an example of an evaluation") from error


def write_results(directory: Path, results: Results) -> None:
    """Replace `results.json`; raises `RunStopped` if it cannot be written."""
    with writing(directory):
        replace_json(directory / RESULTS, results.model_dump(mode="json"))


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Turn a failure to write scores into `RunStopped`; answers and grades are on disk already."""
    try:
        yield
    except OSError as error:
        raise RunStopped(
            f"cannot write to {directory}: {error.strerror or error}; answers and grades are saved: fix this "
            "and rerun the command to score them"
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
        raise UsageError(f"{path} is not a results file of an evaluation") from error


def as_lm_eval(results: Results) -> Mapping[str, float | int | None]:
    """Metrics as a flat mapping, each followed by its `_stderr`, with n and the counts: lm-eval's format."""
    flat: dict[str, float | int | None] = {"n": results.n}
    for name, metric in results.metrics.items():
        flat[name] = metric.value
        flat[f"{name}_stderr"] = metric.stderr
    return {**flat, **results.counts}
