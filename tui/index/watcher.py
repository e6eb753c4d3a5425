"""The runs below some paths, looked at again and again; a running one with the trees it has by now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from spar.errors import UsageError
from tui.index.run_index import TreeIndex
from tui.index.run_list import Walk
from tui.index.run_summary import RunSummary

TELL_SECONDS = 0.2
"""How often runs that were found are told while the first look goes on."""
REST = 4.0
"""A look that takes long is rarer: the rest after it is so many times as long."""
LEAST_REST = 0.7
COUNT_SECONDS = 0.2
"""Most time spent on counting the trees of one running run at each look."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found."""

    runs: tuple[RunSummary, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be looked at."""
    whole: bool = False
    """Whether the look went through to its end."""


class Feed:
    """`look` is for a worker; `found` may be read by any thread."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.found = Found()
        """What is known by now."""
        self._paths = paths
        self._counting: dict[Path, TreeIndex] = {}
        self._rested = float("-inf")
        self._closed = False

    def is_due(self) -> bool:
        """Whether the last look was not a moment ago."""
        return time.monotonic() >= self._rested

    def look(self) -> None:
        """Look through all paths."""
        begun = time.monotonic()
        runs: list[RunSummary] = []
        notes: list[str] = []
        told = begun
        for path in self._paths:
            for run in self._below(path, notes):
                if self._closed:
                    return
                runs.append(self._counted(run))
                if not self.found.whole and time.monotonic() - told > TELL_SECONDS:
                    self.found, told = Found(tuple(runs)), time.monotonic()
        self.found = Found(tuple(runs), tuple(notes), whole=True)
        self._drop_others(runs)
        now = time.monotonic()
        self._rested = now + max(LEAST_REST, REST * (now - begun))

    def close(self) -> None:
        """End the look and let go of the files."""
        self._closed = True
        for index in self._counting.values():
            index.close()

    def _below(self, path: Path, notes: list[str]) -> Iterator[RunSummary]:
        if path.is_file():
            yield RunSummary(path, "decode", "finished")
            return
        walk = Walk(path)
        try:
            yield from walk
        except UsageError as error:
            notes.append(str(error))
        if walk.unreadable:
            notes.append(f"{walk.unreadable:,} folders below {path} cannot be read")
        if walk.cut:
            notes.append(f"there are too many folders below {path} to look through all")

    def _counted(self, run: RunSummary) -> RunSummary:
        """A running run with what is in its file of trees, since it writes its totals at the end."""
        if run.state != "running" or not run.browsable:
            return run
        with suppress(UsageError):
            index = self._counting.get(run.directory) or TreeIndex.open(run.directory)
            self._counting[run.directory] = index
            index.refresh()
            index.summarise(COUNT_SECONDS)
            counts = index.counts()
            known = counts.solved + counts.unsolved
            return replace(run, trees=counts.rows, solved=counts.solved / known if known else None)
        self._counting.pop(run.directory, None)
        return run

    def _drop_others(self, runs: Sequence[RunSummary]) -> None:
        """Close the files of runs that ended."""
        running = {run.directory for run in runs if run.state == "running"}
        for directory in self._counting.keys() - running:
            self._counting.pop(directory).close()


def is_openable(run: RunSummary) -> bool:
    """Whether it has trees of its own, or is a file of trees."""
    return run.browsable or run.directory.is_file()
