"""Find the run directories below a folder, and say of each what it is and how it stands.

    for run in Walk("runs"):      # near ones first; stops at its limits
        print(run.directory, run.kind, run.state, run.trees, run.solved)

No `trees.jsonl` is read: what is told comes from `run.json`, `summary.json`, `results.json` and a training
loop's stage records, all of them small. Directories that cannot be read are skipped and counted.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spar.errors import UsageError
from spar.store import MANIFEST
from tui.index.run_summary import RunSummary, read_run

SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})
"""Folders that hold no runs and much else; hidden ones are skipped too."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far to look."""

    depth: int = 8
    """Levels below the folder."""
    directories: int = 20_000
    seconds: float = 10.0


class Walk:
    """The runs below a folder, itself included."""

    unreadable: int
    """Directories that could not be read, so far."""
    cut: bool
    """Whether a limit was met, so that there may be more runs."""

    def __init__(self, root: str | Path, limits: Limits = Limits()) -> None:
        self.root, self.limits = Path(root), limits
        self.unreadable, self.cut = 0, False
        self._seen: set[tuple[int, int]] = set()

    def __iter__(self) -> Iterator[RunSummary]:
        """Every run, those of a level before those below it, by name within a folder.

        Raises
        ------
        UsageError
            There is no such folder.
        """
        if not self.root.is_dir():
            raise UsageError(f"there is no folder {self.root}; give one that holds runs")
        self.unreadable, self.cut, self._seen = 0, False, set()
        return self._walk(time.monotonic() + self.limits.seconds)

    def _walk(self, deadline: float) -> Iterator[RunSummary]:
        waiting: deque[tuple[Path, int, Path | None]] = deque([(self.root, 0, None)])
        while waiting:
            directory, depth, parent = waiting.popleft()
            if time.monotonic() > deadline or len(self._seen) >= self.limits.directories:
                self.cut = True
                return
            if (folders := self._enter(directory)) is None:
                continue
            names = [entry.name for entry in folders]
            if (directory / MANIFEST).is_file():
                if run := read_run(directory, parent):
                    yield run
                parent = directory
            if depth == self.limits.depth:
                self.cut = self.cut or bool(names)
                continue
            waiting.extend((directory / name, depth + 1, parent) for name in sorted(names))

    def _enter(self, directory: Path) -> list[os.DirEntry[str]] | None:
        """The folders in a directory; None where it was seen before or cannot be read."""
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
