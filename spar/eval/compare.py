"""Compares evaluations of the same examples with the first: the change of each metric, and the examples that flipped.

They are directories that `spar eval` wrote, each of one benchmark or of several. Nothing is scored again.
Intervals are paired bootstrap intervals over groups (`spar.eval.statistics`). Flips are tested with McNemar's
exact test, which takes examples as independent; where several runs are compared, its p is adjusted by Holm's method.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from spar.errors import UsageError
from spar.eval.statistics import Difference, differences
from spar.record.evaluation import (
    RESULTS,
    UNSCORED,
    UNVERIFIABLE,
    Example,
    Results,
    Scored,
    read_examples,
    read_results,
)

_MAX_CHARACTERS = 300
"""Length to which a flip cuts prompts and responses."""
_MAX_IDS = 3
"""Ids that an error message lists."""


@dataclass(frozen=True, slots=True)
class Flip:
    """An example that one run passes and the other fails."""

    id: str
    first: str | None
    """The beginning of the first run's response, None if there is none."""
    second: str | None
    prompt: str | None = None
    """The beginning of the prompt."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One benchmark in two runs."""

    benchmark: str
    first: Path
    """Directory of the first evaluation."""
    second: Path
    n: int
    """Examples that both have; only these are compared."""
    metrics: Mapping[str, Difference]
    units: Mapping[str, str]
    """Metric to its unit if it is not a fraction."""
    passed: tuple[int, int]
    """Examples that pass in the first and in the second run."""
    gained: tuple[Flip, ...]
    """Fail in the first, pass in the second."""
    lost: tuple[Flip, ...]
    """Pass in the first, fail in the second."""
    undecided: int
    """Examples without an outcome in one of the runs; they cannot flip."""
    p: float
    """Two-sided p of McNemar's exact test on the flips."""
    only_first: tuple[str, ...]
    """Ids that the second run does not have."""
    only_second: tuple[str, ...]
    adjusted_p: float | None = None
    """By Holm's method, where several runs are compared with the first; None for two."""
    warnings: tuple[str, ...] = ()
    """Human-readable lines on what differs besides the answers: what was scored, versions of verifiers, data."""


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """One evaluation of one benchmark, as it is on the disk."""

    folder: Path
    total: Results
    examples: Mapping[str, Example]
    """By their ids."""


def compare(first: Path, *others: Path, allow_missing: bool = False) -> list[Comparison]:
    """Compare one or more other runs with the first, on every benchmark that all of them have.

    Parameters
    ----------
    allow_missing:
        Compare only the examples that all have.

    Returns
    -------
    list[Comparison]
        By benchmark in the order of the first run, then by run in the order of `others`.

    Raises
    ------
    UsageError
        There is no other run, a directory has no finished evaluation, they have no benchmark in common, or they
        have different examples and `allow_missing` is not set.
    """
    if not others:
        raise UsageError(f"there is nothing to compare {first} with; give two runs or more")
    of_first, *of_others = (find_evaluations(path) for path in (first, *others))
    common = [name for name in of_first if all(name in of_other for of_other in of_others)]
    if not common:
        parts = zip((first, *others), (of_first, *of_others), strict=True)
        held = " and ".join(f"{path} holds {_listed(evaluations)}" for path, evaluations in parts)
        raise UsageError(f"{held}; give evaluations of the same benchmark")
    comparisons = []
    for name in common:
        base, *rest = (_read(of_run[name]) for of_run in (of_first, *of_others))
        among = _shared(base, *rest) if allow_missing else None
        pairs = [_compare(base, each, allow_missing=allow_missing, among=among) for each in rest]
        if len(pairs) > 1:
            adjusted = holm([pair.p for pair in pairs])
            pairs = [replace(pair, adjusted_p=p) for pair, p in zip(pairs, adjusted, strict=True)]
        comparisons += pairs
    return comparisons


def _shared(base: _Evaluation, *others: _Evaluation) -> set[str]:
    """Ids of the examples that all have; raises `UsageError`, with the run that leaves none, where there are several others."""
    shared = set(base.examples)
    for number, other in enumerate(others):
        before, shared = shared, shared & set(other.examples)
        if not shared and len(others) > 1:
            earlier = ", ".join(str(each.folder) for each in (base, *others[:number]))
            raise UsageError(
                f"the runs have no example in common: {other.folder} has none of the {len(before)} that are in {earlier}; "
                "leave one of them out"
            )
    return shared


def find_evaluations(path: Path) -> dict[str, Path]:
    """Benchmark to its directory: `path` itself, or the folders right below it.

    Raises
    ------
    UsageError
        There is no evaluation, or two of one benchmark.
    """
    if not path.is_dir():
        raise UsageError(f"there is no directory {path}; give the directory of an evaluation")
    folders = [path] if (path / RESULTS).is_file() else sorted(path.iterdir())
    evaluations: dict[str, Path] = {}
    for folder in folders:
        if not (folder / RESULTS).is_file():
            continue
        name = read_results(folder).benchmark
        if name in evaluations:
            raise UsageError(
                f"{path} holds two evaluations of {name}, {evaluations[name]} and {folder}; give one of them"
            )
        evaluations[name] = folder
    if not evaluations:
        raise UsageError(
            f"{path} holds no finished evaluation: there is no {RESULTS} in it, nor in a folder right below it"
        )
    return evaluations


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON values."""
    measured = {
        name: {**asdict(difference), "difference": difference.value}
        for name, difference in comparison.metrics.items()
    }
    return {
        **asdict(comparison),
        "first": str(comparison.first),
        "second": str(comparison.second),
        "metrics": measured,
    }


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p of McNemar's exact test: the probability of flips at least as one-sided, if both directions
    are equally likely."""
    n, fewer = gained + lost, min(gained, lost)
    ways = term = 1
    for k in range(fewer):
        term = term * (n - k) // (k + 1)
        ways += term
    return min(1.0, 2 * ways / (1 << n))


def holm(ps: Sequence[float]) -> list[float]:
    """The p of several tests, adjusted by Holm's method, in their order."""
    adjusted, largest = [1.0] * len(ps), 0.0
    for rank, at in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[at]))
        adjusted[at] = largest
    return adjusted


def _read(folder: Path) -> _Evaluation:
    total = read_results(folder)
    return _Evaluation(folder, total, _by_id(folder, total))


def _compare(
    first: _Evaluation,
    second: _Evaluation,
    *,
    allow_missing: bool,
    among: Container[str] | None = None,
) -> Comparison:
    totals, ours, theirs = (first.total, second.total), first.examples, second.examples
    both = [name for name in ours if name in theirs and (among is None or name in among)]
    only_first = tuple(name for name in ours if name not in theirs)
    only_second = tuple(name for name in theirs if name not in ours)
    if (only_first or only_second) and not (allow_missing and both):
        raise UsageError(
            _describe_difference(
                (first.folder, only_first), (second.folder, only_second), len(both)
            )
        )
    sides = ([ours[name] for name in both], [theirs[name] for name in both])
    pairs = list(zip(*sides, strict=True))
    gained = tuple(_flip(a, b) for a, b in pairs if a.passed is False and b.passed is True)
    lost = tuple(_flip(a, b) for a, b in pairs if a.passed is True and b.passed is False)
    scored = [
        Scored(examples=tuple(side), means=total.means)
        for side, total in zip(sides, totals, strict=True)
    ]
    return Comparison(
        benchmark=totals[0].benchmark,
        first=first.folder,
        second=second.folder,
        n=len(both),
        metrics=differences(*scored),
        units=totals[0].units,
        passed=(_passed(sides[0]), _passed(sides[1])),
        gained=gained,
        lost=lost,
        undecided=sum(a.passed is None or b.passed is None for a, b in pairs),
        p=mcnemar(len(gained), len(lost)),
        only_first=only_first,
        only_second=only_second,
        warnings=(*_warnings(*totals), *_other_prompts(pairs)),
    )


def _other_prompts(pairs: Sequence[tuple[Example, Example]]) -> Iterator[str]:
    """A line where two examples share an id and not a prompt: files of prompts that number their rows, for one."""
    others = [a.id for a, b in pairs if a.prompt and b.prompt and a.prompt != b.prompt]
    if others:
        yield (
            f"{len(others):,} of {len(pairs):,} examples have different prompts under one id (the first is {others[0]!r}), so a "
            "change may be theirs: compare evaluations of the same prompts"
        )


def _warnings(first: Results, second: Results) -> Iterator[str]:
    """A line for each difference of the two that may be why a metric changed: what was scored, and by which versions."""
    for name in (UNVERIFIABLE, UNSCORED):
        counts = first.counts.get(name, 0), second.counts.get(name, 0)
        if counts[0] != counts[1]:
            yield (
                f"the two did not score the same: {name.replace('_', ' ')}, {counts[0]:,} and {counts[1]:,}; a metric compares "
                "what each has scored"
            )
    if changes := _changes(first.run.get("verifiers"), second.run.get("verifiers")):
        yield (
            f"the verdicts rest on different verifiers: {changes}; a change may be theirs: "
            "score both with one version (rerun spar eval)"
        )
    if changes := _changes(first.run.get("grading"), second.run.get("grading")):
        yield (
            f"the verdicts were made in different ways: {changes}; a change may be theirs: grade both with the same settings"
        )


def _changes(ours: Any, theirs: Any) -> str:
    """The names whose values differ, with both values; "" if there are none, or where an earlier version stored no values."""
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        return ""
    return ", ".join(
        f"{name} ({ours.get(name, 'none')} and {theirs.get(name, 'none')})"
        for name in {**ours, **theirs}
        if ours.get(name) != theirs.get(name)
    )


def _by_id(folder: Path, total: Results) -> dict[str, Example]:
    examples: dict[str, Example] = {}
    for example in read_examples(folder):
        if example.id in examples:
            raise UsageError(
                f"{folder} has the example {example.id!r} twice; rerun spar eval to score it"
            )
        examples[example.id] = example
    if len(examples) != total.n:
        raise UsageError(
            f"{folder} has {len(examples)} examples, but its {RESULTS} says {total.n}; rerun spar eval to score it"
        )
    return examples


def _describe_difference(
    first: tuple[Path, Sequence[str]], second: tuple[Path, Sequence[str]], both: int
) -> str:
    parts = [
        f"{len(ids)} only in {path} ({', '.join(map(repr, ids[:_MAX_IDS]))}{', ...' * (len(ids) > _MAX_IDS)})"
        for path, ids in (first, second)
        if ids
    ]
    step = f"use --allow-missing to compare the {both} that both have"
    return f"the runs have different examples: {' and '.join(parts)}; " + (
        step if both else "they have none in common"
    )


def _flip(first: Example, second: Example) -> Flip:
    return Flip(
        first.id,
        _head(first.response),
        _head(second.response),
        _head(first.prompt or second.prompt or None),
    )


def _head(response: str | None) -> str | None:
    if response is None or len(response) <= _MAX_CHARACTERS:
        return response
    return f"{response[:_MAX_CHARACTERS]} ..."


def _passed(examples: Sequence[Example]) -> int:
    return sum(example.passed is True for example in examples)


def _listed(evaluations: Mapping[str, Path]) -> str:
    return ", ".join(sorted(evaluations))
