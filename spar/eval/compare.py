"""Two evaluations of the same examples, side by side: what changed, how surely, and which examples flipped.

Both are directories that `spar eval` wrote, each of one benchmark or of several. Nothing is scored again.
Intervals come from a paired bootstrap over groups (`spar.eval.statistics`); the flips of single examples
have an exact McNemar test, which takes examples as independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spar.errors import UsageError
from spar.eval.statistics import Difference, differences
from spar.record.evaluation import RESULTS, Example, Results, Scored, read_examples, read_results

_HEAD = 300
"""Characters of a response that a flip keeps."""
_NAMED = 3
"""Ids that an error message names."""


@dataclass(frozen=True, slots=True)
class Flip:
    """An example that one run passes and the other fails."""

    id: str
    first: str | None
    """The head of the first run's response, None where there was none."""
    second: str | None
    prompt: str | None = None
    """The head of what was asked."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One benchmark in two runs."""

    benchmark: str
    first: Path
    """Directory of the first evaluation."""
    second: Path
    n: int
    """Examples that both have; nothing else counts here."""
    metrics: Mapping[str, Difference]
    units: Mapping[str, str]
    """Metric to its unit where it is no fraction."""
    passed: tuple[int, int]
    """Examples that pass in the first and in the second run."""
    gained: tuple[Flip, ...]
    """Fail in the first, pass in the second."""
    lost: tuple[Flip, ...]
    """Pass in the first, fail in the second."""
    undecided: int
    """Examples of which some run has no outcome; they cannot flip."""
    p: float
    """How likely flips as one-sided as these, or more so, would be if either way were as likely."""
    only_first: tuple[str, ...]
    """Ids that the second run lacks."""
    only_second: tuple[str, ...]


def compare(first: Path, second: Path, *, allow_missing: bool = False) -> list[Comparison]:
    """Every benchmark that both directories hold, in the first one's order.

    Parameters
    ----------
    allow_missing:
        Compare the examples that both have where the sets differ.

    Raises
    ------
    UsageError
        A directory holds no finished evaluation, they have no benchmark in common, or the examples of one
        differ.
    """
    ours, theirs = find_evaluations(first), find_evaluations(second)
    common = [name for name in ours if name in theirs]
    if not common:
        raise UsageError(
            f"{first} holds {_listed(ours)} and {second} holds {_listed(theirs)}; "
            "give two evaluations of the same benchmark"
        )
    return [_compare(ours[n], theirs[n], allow_missing=allow_missing) for n in common]


def find_evaluations(path: Path) -> dict[str, Path]:
    """Benchmark to its directory: `path` itself, or the folders right below it.

    Raises
    ------
    UsageError
        There is none, or two of one benchmark.
    """
    if not path.is_dir():
        raise UsageError(f"there is no directory {path}; give the directory of an evaluation")
    folders = [path] if (path / RESULTS).is_file() else sorted(path.iterdir())
    found: dict[str, Path] = {}
    for folder in folders:
        if not (folder / RESULTS).is_file():
            continue
        name = read_results(folder).benchmark
        if name in found:
            raise UsageError(
                f"{path} holds two evaluations of {name}, {found[name]} and {folder}; give one of them"
            )
        found[name] = folder
    if not found:
        raise UsageError(
            f"{path} holds no finished evaluation: there is no {RESULTS} in it, nor right below it"
        )
    return found


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Plain JSON values."""
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
    """Exact two-sided p of so many flips each way, if each were a fair coin's toss."""
    n, fewer = gained + lost, min(gained, lost)
    ways = term = 1
    for k in range(fewer):
        term = term * (n - k) // (k + 1)
        ways += term
    return min(1.0, 2 * ways / (1 << n))


def _compare(first: Path, second: Path, *, allow_missing: bool) -> Comparison:
    totals = (read_results(first), read_results(second))
    ours, theirs = (
        _by_id(folder, total) for folder, total in zip((first, second), totals, strict=True)
    )
    both = [name for name in ours if name in theirs]
    only_first = tuple(name for name in ours if name not in theirs)
    only_second = tuple(name for name in theirs if name not in ours)
    if (only_first or only_second) and not (allow_missing and both):
        raise UsageError(_differ((first, only_first), (second, only_second), len(both)))
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
        first=first,
        second=second,
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
    )


def _by_id(folder: Path, total: Results) -> dict[str, Example]:
    found: dict[str, Example] = {}
    for example in read_examples(folder):
        if example.id in found:
            raise UsageError(f"{folder} holds the example {example.id!r} twice; score it again")
        found[example.id] = example
    if len(found) != total.n:
        raise UsageError(
            f"{folder} holds {len(found)} examples, its {RESULTS} says {total.n}; score it again"
        )
    return found


def _differ(
    first: tuple[Path, Sequence[str]], second: tuple[Path, Sequence[str]], both: int
) -> str:
    parts = [
        f"{len(ids)} only in {path} ({', '.join(map(repr, ids[:_NAMED]))}{', ...' * (len(ids) > _NAMED)})"
        for path, ids in (first, second)
        if ids
    ]
    step = f"give --allow-missing to compare the {both} that both have"
    return f"the runs hold other examples: {' and '.join(parts)}; " + (
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
    if response is None or len(response) <= _HEAD:
        return response
    return f"{response[:_HEAD]} ..."


def _passed(examples: Sequence[Example]) -> int:
    return sum(example.passed is True for example in examples)


def _listed(found: Mapping[str, Path]) -> str:
    return ", ".join(sorted(found))
