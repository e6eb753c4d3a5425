"""The lines of a run's `log.txt` that say when it was started, with how many prompts, and how many of them were done.

    2026-01-02T10:00:00+00:00 started: 0 of 60 prompts are done
    2026-01-02T11:30:00+00:00 started: 25 of 60 prompts are done        it was resumed

A run writes its totals when it ends, so these lines tell a reader how far a run in progress is, and how long it may take.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from spar.record.layout import BUILT_IN_PROMPTS
from spar.store import LOG

MAX_BYTES = 4 << 20
"""Of a longer log, only the end is read."""
_START = re.compile(r"^(\S+) started: (\d+) of (\d+) prompts are done$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RunStart:
    """One start of a run."""

    at: datetime
    done: int
    """Prompts that were done before."""
    total: int
    """All prompts of the run."""

    def seconds_left(self, done: int, now: datetime) -> float | None:
        """Time for the other prompts at the rate since the start, in seconds; None before the first is done."""
        elapsed = (now - self.at).total_seconds()
        if done <= self.done or elapsed <= 0:
            return None
        return elapsed / (done - self.done) * max(self.total - done, 0)


def start_line(done: int, total: int) -> str:
    """The line of a start, without its date."""
    return f"started: {done} of {total} prompts are done"


def read_starts(directory: Path) -> tuple[RunStart, ...]:
    """The starts of a run, in order; empty for a run of an older version."""
    path = directory / LOG
    try:
        stat = path.stat()
    except OSError:
        return ()
    return _read_starts(path, stat.st_size, stat.st_mtime_ns)


def has_more_trees(totals: Mapping[str, Any], starts: Sequence[RunStart]) -> bool:
    """Whether a run stores trees that its totals do not count: it was started with more prompts than they are of."""
    counted = _integer(totals.get("prompts"))
    return counted is not None and any(start.total > counted for start in starts)


def num_prompts(
    config: Mapping[str, Any], totals: Mapping[str, Any], starts: Sequence[RunStart] = ()
) -> int | None:
    """The number of prompts of a run; None if neither the totals, the log nor the settings give it.

    A limit of prompts from a file says nothing: the file may have fewer.

    Parameters
    ----------
    config:
        The settings in `run.json`.
    totals:
        The content of `summary.json`, empty without one.
    starts:
        Those of `read_starts`.
    """
    if (prompts := _integer(totals.get("prompts"))) is not None:
        return prompts
    if starts:
        return starts[-1].total
    if config.get("prompts") == "" and not config.get("benchmark"):
        return _integer(config.get("limit")) or BUILT_IN_PROMPTS
    return None


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@lru_cache(4096)
def _read_starts(path: Path, size: int, _time: int) -> tuple[RunStart, ...]:
    try:
        with path.open("rb") as handle:
            handle.seek(max(size - MAX_BYTES, 0))
            text = handle.read().decode("utf-8", "replace")
    except OSError:
        return ()
    starts = []
    for line in _START.finditer(text):
        try:
            at = datetime.fromisoformat(line[1])
        except ValueError:
            continue
        if at.tzinfo is not None:
            starts.append(RunStart(at, int(line[2]), int(line[3])))
    return tuple(starts)
