"""Which runs a list of them shows, in which order: stages are folded into the run that they belong to.

    ▾ loop                   ● 1/search
        iteration-1/draft    ✓ finished
        iteration-1/search   ● 2 min left
    ▸ bfs-15                 ✓ finished       its drafts are a run of their own

Runs are sorted newest first, stages in the order in which they were started.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui.index.run_rows import models_text
from tui.index.run_summary import RunSummary
from tui.tables.run_texts import cell_texts, is_share, passing_share, run_name, strategy_text

_NUMBER = r"(?<![\d.]){}(?!\d)"
"""Pattern of a number that is no part of another one."""


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
    *,
    labels: Mapping[Path, str] | None = None,
) -> list[RunLine]:
    """The shown runs.

    Parameters
    ----------
    opened:
        Runs whose stages are shown.
    text:
        Words that a run must contain in its path, name, kind or cells, whatever their case, a number as a whole;
        a run is also shown, and opened, if a stage of it does.
    labels:
        By which runs are named (`path_labels`).
    """
    there = {run.directory for run in runs}
    stages: dict[Path | None, list[RunSummary]] = {}
    for run in runs:
        parent = run.parent if run.parent in there else None
        stages.setdefault(parent, []).append(run)
    words = [_pattern(word) for word in text.casefold().split()]
    matching = {run.directory for run in runs if _matches(run, words, labels or {})}
    return list(_lines(stages, None, 0, _Shown(opened, matching, bool(words), order)))


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


def _pattern(word: str) -> re.Pattern[str]:
    """A word of a filter; a number is found as a whole, so that `bfs 5` is neither `bfs 15` nor a `bfs` of 50 trees."""
    is_number = word.replace(".", "").isdecimal()
    return re.compile(_NUMBER.format(re.escape(word)) if is_number else re.escape(word))


def _matches(run: RunSummary, words: Sequence[re.Pattern[str]], labels: Mapping[Path, str]) -> bool:
    if not words:
        return True
    models = (model for _, model in run.models)
    fields = (str(run.directory), run_name(run.directory, labels), run.kind, run.state, *models)
    text = "\n".join((*fields, *cell_texts(run).values())).casefold()
    return all(word.search(text) for word in words)


def _value(run: RunSummary, column: str) -> Any:
    """What a run is sorted by, which is what its cell shows; None or "" where that is empty."""
    match column:
        case "name":
            return _numbered(str(run.directory))
        case "model":
            return models_text(run)
        case "pass":
            return passing_share(run)
        case "error":
            return run.error if is_share(run) else None
        case "solved":
            return None if run.unjudged else run.solved
        case "cost":
            return run.tokens_each
        case "strategy":
            return _numbered(strategy_text(run)) if strategy_text(run) else None
    return getattr(run, column)


def _numbered(text: str) -> list[str | int]:
    """A text by whose parts `bfs 5` comes before `bfs 15`."""
    return [int(part) if at % 2 else part for at, part in enumerate(re.split(r"(\d+)", text))]
