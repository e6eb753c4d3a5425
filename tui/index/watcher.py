"""Watch the runs below some paths by scanning them repeatedly; counts the trees of runs in progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from spar.errors import UsageError
from spar.record.evaluation import NO_TREES
from spar.record.outcomes import pluralize
from tui.index.rows import Authority
from tui.index.run_index import TreeIndex
from tui.index.run_list import RunWalk
from tui.index.run_summary import RunSummary

PUBLISH_SECONDS = 0.2
"""How often partial results of the first scan are published."""
REST_FACTOR = 4.0
"""The pause after a scan is this many times as long as the scan."""
MIN_REST_SECONDS = 0.7
COUNT_SECONDS = 0.2
"""Time limit for counting the trees of one run in progress in each scan."""


AuthorityFor = Callable[[Path], Authority]
"""Returns who says whether the responses of a run pass."""


def _no_authority(directory: Path) -> Authority:
    """Nobody."""
    return Authority()


@dataclass(frozen=True, slots=True)
class RunScan:
    """The result of a scan."""

    runs: tuple[RunSummary, ...] = ()
    notes: tuple[str, ...] = ()
    """Paths that could not be scanned, and why."""
    complete: bool = False
    """Whether the scan is finished."""


class RunWatcher:
    """Call `scan` in a worker; any thread may read `latest`."""

    def __init__(self, paths: Sequence[Path], authority_for: AuthorityFor = _no_authority) -> None:
        self.latest = RunScan()
        """The latest result."""
        self._paths, self._authority_for = paths, authority_for
        self._indexes: dict[Path, TreeIndex] = {}
        self._next_scan = float("-inf")
        self._closed = False

    def is_due(self) -> bool:
        """Whether the pause since the last scan is over."""
        return time.monotonic() >= self._next_scan

    def scan(self) -> None:
        """Scan all paths."""
        started = time.monotonic()
        runs: list[RunSummary] = []
        notes: list[str] = []
        published = started
        for path in self._paths:
            for run in self._runs_below(path, notes):
                if self._closed:
                    return
                runs.append(self._with_counts(run))
                if not self.latest.complete and time.monotonic() - published > PUBLISH_SECONDS:
                    self.latest, published = RunScan(tuple(runs)), time.monotonic()
        self.latest = RunScan(tuple(runs), tuple(notes), complete=True)
        self._close_finished(runs)
        now = time.monotonic()
        self._next_scan = now + max(MIN_REST_SECONDS, REST_FACTOR * (now - started))

    def close(self) -> None:
        """Stop the scan and close the files."""
        self._closed = True
        for index in self._indexes.values():
            index.close()

    def _runs_below(self, path: Path, notes: list[str]) -> Iterator[RunSummary]:
        if path.is_file():
            yield RunSummary(path, "decode", "finished")
            return
        walk = RunWalk(path)
        try:
            yield from walk
        except UsageError as error:
            notes.append(str(error))
        if walk.unreadable:
            notes.append(f"{pluralize(walk.unreadable, 'folder')} below {path} cannot be read")
        if walk.truncated:
            notes.append(f"{path} has too many folders; some were not scanned")

    def _with_counts(self, run: RunSummary) -> RunSummary:
        """Add the numbers of a run in progress or killed, since a run writes its totals only at the end."""
        if not _is_counted(run):
            return run
        with suppress(UsageError):
            index = self._indexes.get(run.directory)
            index = index or TreeIndex.open(run.directory, self._authority_for(run.directory))
            self._indexes[run.directory] = index
            index.refresh()
            index.summarise(COUNT_SECONDS)
            counts, shown = index.counts(), index.totals().by_truth
            finished = counts.solved + counts.unsolved
            return replace(
                run,
                trees=counts.trees,
                solved=counts.solved / finished if finished else None,
                unjudged=bool(counts.unjudged) and not finished,
                before=None if counts.unjudged else shown.before.value,
                truth=counts.passed / counts.verified if counts.verified else None,
                error=shown.after.stderr,
                tokens=index.num_tokens(),
            )
        self._indexes.pop(run.directory, None)
        return run

    def _close_finished(self, runs: Sequence[RunSummary]) -> None:
        """Close the files of runs that are not counted any more."""
        running = {run.directory for run in runs if _is_counted(run)}
        for directory in self._indexes.keys() - running:
            self._indexes.pop(directory).close()


def _is_counted(run: RunSummary) -> bool:
    """Whether the trees are counted, for want of totals."""
    unfinished = run.state == "running" or (run.state == "stopped" and run.tokens is None)
    return unfinished and run.browsable and run.kind != "training"


def is_openable(run: RunSummary) -> bool:
    """Whether the run has trees of its own, or is a file of trees."""
    if run.kind == "training" or run.answers_given:
        return False
    return run.browsable or run.directory.is_file()


def why_no_trees(run: RunSummary) -> str:
    """Why a run that is not openable cannot be opened or compared, in one sentence."""
    if run.answers_given:
        return f"{run.directory} {NO_TREES}"
    if run.kind == "training":
        return f"{run.directory} is a training loop, which has no trees; its stages, listed below it, have some"
    if run.reason:
        return f"{run.directory}: {run.reason}"
    return f"{run.directory} has no trees of its own; its stages are listed below it"
