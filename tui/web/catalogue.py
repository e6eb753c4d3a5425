"""The runs that are served, each by a name that stays the same when the server is started again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from spar.errors import UsageError
from spar.export.page.run_data import run_name
from spar.export.page.tree_data import Json
from spar.view.node_detail import Annotations
from spar.view.text import one_line
from tui.index.run_list import RunWalk, WalkLimits
from tui.index.run_summary import RunSummary
from tui.web.live_run import LiveRun

OPEN_RUNS = 4
"""Runs that are read at the same time; the one that was asked for longest ago is closed."""
_LIMITS = WalkLimits(seconds=3.0)
_NAME = 160


class Catalogue:
    """The runs below some paths. Any thread may call its methods."""

    def __init__(
        self, paths: Sequence[Path], annotations_for: Callable[[Path], Annotations]
    ) -> None:
        self._paths, self._annotations_for = paths, annotations_for
        self._found: dict[str, RunSummary] = {}
        self._open: OrderedDict[Path, LiveRun] = OrderedDict()
        self._lock = threading.Lock()

    def scan(self) -> dict[str, RunSummary]:
        """Name to run: those with trees, or that may soon have some; the newest first."""
        found: dict[str, RunSummary] = {}
        for path in self._paths:
            for run in sorted(_runs_at(path), key=lambda run: run.date, reverse=True):
                name = _name(run.directory, path)
                if run.directory not in [other.directory for other in found.values()]:
                    found[name if name not in found else run_name(run.directory)] = run
        self._found = found
        return found

    def names(self) -> list[str]:
        """The names of the runs, as of now."""
        return list(self.scan())

    def open(self, name: str) -> LiveRun:
        """The run of a name.

        Raises
        ------
        UsageError
            There is no such run, or it cannot be read.
        """
        with self._lock:
            run = self._found.get(name) or self.scan().get(name)
            if run is None:
                raise UsageError(f"there is no run {one_line(name, _NAME)} here")
            path = run.directory
            if path not in self._open:
                self._open[path] = LiveRun(path, self._annotations_for)
            self._open.move_to_end(path)
            while len(self._open) > OPEN_RUNS:
                self._open.popitem(last=False)[1].close()
            return self._open[path]

    def table(self) -> list[Json]:
        """What the list of runs shows."""
        return [_row(name, run) for name, run in self.scan().items()]

    def close(self) -> None:
        """Close all runs."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def run_path(name: str) -> str:
    """The path of a run's page."""
    return f"/run/{quote(name, safe='/')}/"


def _runs_at(path: Path) -> Iterator[RunSummary]:
    if path.is_file():
        yield RunSummary(path, "decode", "finished")
        return
    for run in RunWalk(path, _LIMITS):
        if run.browsable or (run.state == "running" and run.kind != "training"):
            yield run


def _name(directory: Path, root: Path) -> str:
    relative = directory.absolute().relative_to(root.absolute()).as_posix()
    return run_name(directory) if relative == "." else relative


def _row(name: str, run: RunSummary) -> Json:
    model = dict(run.models).get("actor", "")
    what = [run.strategy, f"budget {run.budget}" if run.budget else "", run.benchmark, model]
    return {
        "name": one_line(name, _NAME),
        "href": run_path(name),
        "state": run.state,
        "trees": run.trees,
        "expected": run.expected,
        "before": run.before,
        "after": run.truth,
        "solved": run.solved,
        "started": run.date,
        "what": one_line(" · ".join(filter(None, what)), _NAME),
    }
