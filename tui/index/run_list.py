"""Find the run directories below a folder and summarize each.

    for run in Walk("runs"):      # breadth first, within limits
        print(run.directory, run.kind, run.state, run.trees, run.solved)

Only small files are read: `run.json`, `summary.json`, `results.json` and a training loop's stage records, but
no `trees.jsonl`. Directories that cannot be read are skipped and counted.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spar.errors import UsageError
from spar.store import MANIFEST, TREES
from tui.index.run_summary import RunSummary, read_run

SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})
"""Folders without runs that may be large; hidden folders are skipped too."""


@dataclass(frozen=True, slots=True)
class WalkLimits:
    """Limits of a walk."""

    depth: int = 8
    """Levels below the folder."""
    directories: int = 20_000
    seconds: float = 10.0


class RunWalk:
    """Iterates over the runs in and below a folder."""

    unreadable: int
    """Number of directories that could not be read so far."""
    truncated: bool
    """Whether a limit was reached, so there may be more runs."""

    def __init__(self, root: str | Path, limits: WalkLimits = WalkLimits()) -> None:
        self.root, self.limits = Path(root), limits
        self.unreadable, self.truncated = 0, False
        self._seen: set[tuple[int, int]] = set()

    def __iter__(self) -> Iterator[RunSummary]:
        """Every run, breadth first, sorted by name within a folder.

        Raises
        ------
        UsageError
            The folder does not exist.
        """
        if not self.root.is_dir():
            raise UsageError(f"there is no folder {self.root}; pass a folder that contains runs")
        self.unreadable, self.truncated, self._seen = 0, False, set()
        return self._walk(time.monotonic() + self.limits.seconds)

    def _walk(self, deadline: float) -> Iterator[RunSummary]:
        queue: deque[tuple[Path, int, Path | None]] = deque([(self.root, 0, None)])
        while queue:
            directory, depth, parent = queue.popleft()
            if time.monotonic() > deadline or len(self._seen) >= self.limits.directories:
                self.truncated = True
                return
            if (folders := self._enter(directory)) is None:
                continue
            names = [entry.name for entry in folders]
            if (directory / MANIFEST).is_file():
                if run := read_run(directory, parent):
                    yield run
                parent = directory
            elif parent is None and (directory / TREES).is_file():
                yield RunSummary(directory, "decode", "finished", f"it has no {MANIFEST}")
            if depth == self.limits.depth:
                self.truncated = self.truncated or bool(names)
                continue
            queue.extend((directory / name, depth + 1, parent) for name in sorted(names))

    def _enter(self, directory: Path) -> list[os.DirEntry[str]] | None:
        """The folders in a directory; None if it was visited before or cannot be read."""
        try:
            stat = directory.stat()
            if (stat.st_dev, stat.st_ino) in self._seen:
                return None
            self._seen.add((stat.st_dev, stat.st_ino))
            with os.scandir(directory) as entries:
                return [entry for entry in entries if _is_folder(entry)]
        except OSError:
            self.unreadable += 1
            return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or entry.name in SKIPPED:
        return False
    try:
        return entry.is_dir()
    except OSError:  # a symbolic link to itself
        return False
