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
from spar.record.run_names import path_labels
from spar.record.run_table import RunRow, run_table
from spar.view.node_detail import Annotations
from spar.view.text import one_line
from tui.index.run_list import RunWalk, WalkLimits
from tui.index.run_rows import run_row
from tui.index.run_summary import RunSummary
from tui.tables.run_lines import RunLine, run_lines
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
        self._labels, self._annotations_for = path_labels(paths), annotations_for
        self._found: dict[str, RunSummary] = {}
        self._open: OrderedDict[Path, LiveRun] = OrderedDict()
        self._lock = threading.Lock()

    def scan(self) -> list[tuple[str, RunLine]]:
        """The runs with trees, or that may soon have some, each with its name.

        They are in the order of the paths, below a path the newest first, each before its stages.
        """
        lines: list[tuple[str, RunLine]] = []
        seen: set[Path] = set()
        for path, label in self._labels.items():
            runs = [run for run in _runs_at(path) if run.directory.absolute() not in seen]
            places = [run.directory for run in runs]
            seen.update(place.absolute() for place in places)
            for line in run_lines(runs, opened=places):
                lines.append((_name(line.run.directory, path, label), line))
        self._found = {name: line.run for name, line in lines}
        return lines

    def run_rows(self) -> list[RunRow]:
        """The runs as a table sets them side by side, without their stages."""
        return [run_row(line.run, name) for name, line in self.scan() if not line.level]

    def names(self) -> list[str]:
        """The names of the runs, as of now."""
        return [name for name, _ in self.scan()]

    def open(self, name: str) -> LiveRun:
        """The run of a name.

        Raises
        ------
        UsageError
            There is no such run, or it cannot be read.
        """
        with self._lock:
            if name not in self._found:
                self.scan()
            run = self._found.get(name)
            if run is None:
                raise UsageError(f"there is no run {one_line(name, _NAME)} here")
            path = run.directory
            if path not in self._open:
                self._open[path] = LiveRun(path, self._annotations_for)
            self._open.move_to_end(path)
            while len(self._open) > OPEN_RUNS:
                self._open.popitem(last=False)[1].close()
            return self._open[path]

    def table(self) -> Json:
        """What the list of runs shows: the table, and of each row its names, link, state, level and start."""
        lines = self.scan()
        table = run_table([run_row(line.run, name) for name, line in lines], ("run", "state"))
        rows = [
            {
                "name": one_line(name, _NAME),
                "short": one_line(_short_name(name, line), _NAME),
                "href": run_path(name),
                "state": line.run.state,
                "level": line.level,
                "cells": cells,
                "started": line.run.date,
            }
            for (name, line), cells in zip(lines, table.rows, strict=True)
        ]
        return {"headings": table.headings, "numeric": table.numeric, "rows": rows}

    def close(self) -> None:
        """Close all runs."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def run_path(name: str) -> str:
    """The path of a run's page; the bytes of a name that is not UTF-8 stay as they are on the disk."""
    return f"/run/{quote(name, safe='/', errors='surrogateescape')}/"


def _runs_at(path: Path) -> Iterator[RunSummary]:
    if path.is_file():
        yield RunSummary(path, "decode", "finished")
        return
    for run in RunWalk(path, _LIMITS):
        if run.browsable or (run.state == "running" and run.kind != "training"):
            yield run


def _name(directory: Path, root: Path, label: str) -> str:
    relative = directory.absolute().relative_to(root.absolute()).as_posix()
    return "/".join(part for part in (label, relative) if part and part != ".") or run_name(
        directory
    )


def _short_name(name: str, line: RunLine) -> str:
    """The name of a run; that of a stage as it is below its run."""
    run = line.run
    if not line.level or run.parent is None:
        return name
    return run.directory.relative_to(run.parent).as_posix()
