"""Which runs a list of them shows, in which order: stages are folded into the run that they belong to.

    ▾ loop                   ● 1/search
        iteration-1/draft    ✓ finished
        iteration-1/search   ● 2 min left
    ▸ bfs-15                 ✓ finished       its drafts are a run of their own

Runs are sorted newest first, stages in the order in which they were started.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui.index.run_summary import RunSummary


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run in the list."""

    run: RunSummary
    level: int = 0
    """How many of the runs above it in the list it is a stage of."""
    num_stages: int = 0
    """Runs that are stages of it."""
    is_open: bool = False
    """Whether these are shown."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What to sort by."""

    column: str | None = None
    """Name of a column; None for newest first."""
    descending: bool = False


def run_lines(
    runs: Sequence[RunSummary],
    opened: Collection[Path] = (),
    text: str = "",
    order: RunOrder = RunOrder(),
) -> list[RunLine]:
    """The shown runs.

    Parameters
    ----------
    opened:
        Runs whose stages are shown.
    text:
        What a run must contain in its path, strategy, models, prompts, judge or state, whatever its case; a run is also
        shown, and opened, if a stage of it does.
    """
    there = {run.directory for run in runs}
    stages: dict[Path | None, list[RunSummary]] = {}
    for run in runs:
        parent = run.parent if run.parent in there else None
        stages.setdefault(parent, []).append(run)
    matching = {run.directory for run in runs if _matches(run, text.casefold())}
    return list(_lines(stages, None, 0, _Shown(opened, matching, bool(text), order)))


def sort_runs(runs: Sequence[RunSummary], order: RunOrder) -> list[RunSummary]:
    """Sort runs, those without a value last."""
    column, descending = order.column or "date", order.descending if order.column else True
    present = [run for run in runs if _value(run, column) not in (None, "")]
    missing = [run for run in runs if _value(run, column) in (None, "")]
    return [*sorted(present, key=lambda r: _value(r, column), reverse=descending), *missing]


@dataclass(frozen=True, slots=True)
class _Shown:
    opened: Collection[Path]
    matching: Collection[Path]
    is_filtered: bool
    order: RunOrder


def _lines(
    stages: Mapping[Path | None, Sequence[RunSummary]],
    parent: Path | None,
    level: int,
    shown: _Shown,
) -> Iterator[RunLine]:
    order = shown.order if level == 0 or shown.order.column else RunOrder("date")
    for run in sort_runs(stages.get(parent, ()), order):
        below = list(_lines(stages, run.directory, level + 1, shown))
        found = run.directory in shown.matching
        if not found and not below:
            continue
        is_open = run.directory in shown.opened or (shown.is_filtered and not found)
        num_stages = len(stages.get(run.directory, ()))
        yield RunLine(run, level, num_stages, is_open and bool(below))
        if is_open:
            yield from below


def _matches(run: RunSummary, text: str) -> bool:
    models = " ".join(model for _, model in run.models)
    words = (str(run.directory), run.kind, run.state, run.strategy, run.prompts, run.judge, models)
    return any(text in word.casefold() for word in words)


def _value(run: RunSummary, column: str) -> Any:
    match column:
        case "name":
            return str(run.directory)
        case "model":
            return ", ".join(dict.fromkeys(model for _, model in run.models))
        case "pass":
            return run.truth
        case "cost":
            return run.tokens_each
        case "strategy":
            return (run.strategy or run.kind, run.budget or 0)
    return getattr(run, column)
