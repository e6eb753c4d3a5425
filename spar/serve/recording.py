"""Trees of requests into ordinary run directories, one for each search that is offered, which rotate.

    OUT/bfs-15-1a2b3c4d-2026-11-28/       strategy, budget, digest of the settings, day
    OUT/bfs-15-1a2b3c4d-2026-11-28-2/     the same, once the first is full

A run of one directory has one configuration, so that everything that reads runs reads these. They are written by one
thread, apart from the event loops. The summary of a run is at most `SUMMARY_SECONDS` behind its trees, also where no further
request comes, so that a server that is killed leaves runs whose totals are right; a directory that no new request goes to is closed. A server that is started again goes on in the directories of its settings.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from spar.errors import SparError, UsageError
from spar.files import locked
from spar.infer.engine import NoteCallback
from spar.infer.summary import Summary
from spar.manifest import Manifest
from spar.plugins import safe_name
from spar.run.resume import load_summary
from spar.store import TREES, RunStore
from spar.types import SearchTree

LOCK = "serve.lock"
SUMMARY_SECONDS = 2.0
"""Least time between two writings of a run's summary."""
MAX_OPEN = 32
"""Run directories that stay open."""


@dataclass(slots=True, eq=False)
class RunDirectory:
    """A run directory whose address requests have received."""

    path: Path
    manifest: Manifest
    size: int
    """Bytes of its trees."""
    pending: int = 0
    """Requests whose tree is to come."""
    store: RunStore | None = None
    summary: Summary = field(default_factory=Summary)
    written: float = 0.0
    """When its summary was written."""
    is_written: bool = True
    """Whether its summary has every tree."""
    timer: asyncio.TimerHandle | None = None
    """Of the next writing of its summary."""
    used: float = 0.0

    def address(self, tree_id: str) -> str:
        """`RUN/ID` in the characters of a header; of an absolute path, a client sees no more than its last two parts."""
        path = Path(*self.path.parts[-2:]) if self.path.is_absolute() else self.path
        return quote(f"{path.as_posix()}/{tree_id}", errors="surrogateescape")


class Recorder:
    """Writes trees below a folder. Everything but `close` is called from one event loop.

    Parameters
    ----------
    folder:
        Where the run directories go; locked as long as this is open.
    max_bytes:
        Size of a file of trees at which a new directory is started; 0 for none.
    daily:
        Whether each day (UTC) has its own directories.
    note:
        Takes a line about trees that could not be stored.

    Raises
    ------
    RunLocked
        Another server writes there.
    UsageError
        The folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 0,
        daily: bool = False,
        note: NoteCallback = lambda _: None,
        today: Callable[[], str] = lambda: datetime.now(UTC).date().isoformat(),
    ) -> None:
        self.folder = folder
        self.num_stored = self.num_failed = 0
        """Trees that are, or could not be, stored."""
        self._max_bytes, self._daily, self._note, self._today = max_bytes, daily, note, today
        self._directories: dict[tuple[str, str], RunDirectory] = {}
        """Digest of the settings and day to the directory that new requests go to."""
        self._open: set[RunDirectory] = set()
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spar-record")
        with ExitStack() as resources:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                resources.enter_context(locked(folder / LOCK))
            except OSError as error:
                raise UsageError(
                    f"cannot write to {folder}: {error.strerror}; choose another --out, or --no-record"
                ) from error
            self._resources = resources.pop_all()

    def reserve(self, manifest: Manifest) -> RunDirectory:
        """The directory of a request's tree; `release` it when the tree is stored or will not come."""
        day = self._today() if self._daily else ""
        key = (manifest.digest, day)
        for earlier in [other for other in self._directories if other[1] != day]:
            self._close_unused(self._directories.pop(earlier))
        directory = self._directories.get(key)
        if directory is None or (self._max_bytes and directory.size >= self._max_bytes):
            full, directory = directory, self._next(manifest, day)
            self._directories[key] = directory
            if full is not None:
                self._close_unused(full)
        directory.pending += 1
        directory.used = time.monotonic()
        return directory

    async def append(self, directory: RunDirectory, tree: SearchTree) -> bool:
        """Store a tree in a reserved directory; returns whether it is stored. A failure is noted, not raised."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._append, directory, tree, loop)

    def release(self, directory: RunDirectory) -> None:
        """Say that nothing more comes of a reservation."""
        directory.pending -= 1
        if directory not in self._directories.values():
            self._close_unused(directory)

    def close(self) -> None:
        """Write the summaries and close the files, after what is being written."""
        self._closed = True
        self._thread.submit(self._close_all).result()
        self._thread.shutdown()
        self._resources.close()

    def _write_later(self, directory: RunDirectory) -> None:
        """Write the summary once `SUMMARY_SECONDS` have passed since it was written."""
        if directory.timer is None:
            due = directory.written + SUMMARY_SECONDS - time.monotonic()
            loop = asyncio.get_running_loop()
            directory.timer = loop.call_later(max(due, 0.0), self._write_late, directory)

    def _write_late(self, directory: RunDirectory) -> None:
        directory.timer = None
        if not self._closed:
            self._thread.submit(self._update_summary, directory)

    def _close_unused(self, directory: RunDirectory) -> None:
        """Close a directory that no new request goes to, once no tree is to come."""
        if not directory.pending and not self._closed:
            self._thread.submit(self._close, directory)

    def _next(self, manifest: Manifest, day: str) -> RunDirectory:
        """The first directory of this name that has room."""
        config = manifest.config
        parts = [safe_name(config["strategy"]), str(config["budget"]), manifest.digest[:8], day]
        name, number = "-".join(filter(None, parts)), 1
        while True:
            path = self.folder / (name if number == 1 else f"{name}-{number}")
            trees = path / TREES
            size = trees.stat().st_size if trees.is_file() else 0
            if not self._max_bytes or size < self._max_bytes:
                return RunDirectory(path, manifest, size)
            number += 1

    def _append(
        self, directory: RunDirectory, tree: SearchTree, loop: asyncio.AbstractEventLoop
    ) -> bool:
        try:
            store = self._opened(directory)
            store.append(tree)
            for fault in tree.faults:
                store.log(f"{tree.prompt.id}: {fault.stage}: {fault.reason}")
            directory.size = (directory.path / TREES).stat().st_size
            directory.summary.add(tree)
            directory.summary.seconds += tree.seconds
            directory.is_written = False
            if time.monotonic() - directory.written >= SUMMARY_SECONDS:
                self._write_summary(directory)
            else:  # from here, since the task of a client that has left does not come back to `append`
                with suppress(RuntimeError):  # the loop has ended: `close` writes it
                    loop.call_soon_threadsafe(self._write_later, directory)
        except (SparError, OSError) as error:
            self.num_failed += 1
            self._note(f"the tree of {tree.prompt.id} is not stored: {error}")
            self._close(directory)
            return False
        self.num_stored += 1
        return True

    def _opened(self, directory: RunDirectory) -> RunStore:
        if directory.store is None:
            idle = sorted((d for d in self._open if not d.pending), key=lambda d: d.used)
            for other in idle[: max(0, len(self._open) - MAX_OPEN + 1)]:
                self._close(other)
            directory.store = RunStore.open(directory.path, directory.manifest)
            directory.summary = load_summary(directory.path)
            self._open.add(directory)
        return directory.store

    def _update_summary(self, directory: RunDirectory) -> None:
        if directory.store is None or directory.is_written:
            return
        try:
            self._write_summary(directory)
        except SparError as error:
            self._note(str(error))

    def _write_summary(self, directory: RunDirectory) -> None:
        assert directory.store is not None
        directory.written = time.monotonic()
        directory.store.write_summary(directory.summary.as_dict())
        directory.is_written = True

    def _close_all(self) -> None:
        for directory in tuple(self._open):
            self._close(directory)

    def _close(self, directory: RunDirectory) -> None:
        self._open.discard(directory)
        if directory.store is None:
            return
        try:
            self._write_summary(directory)
            directory.store.close()
        except SparError as error:
            self._note(str(error))
        directory.store = None
