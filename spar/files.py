"""Files that a killed writer leaves whole: append by lines, replace as a whole, lock by process."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from spar.errors import RunLocked

try:
    import fcntl
except ImportError:  # Windows: two writers on one directory are then not told apart
    fcntl = None  # type: ignore[assignment]

SYNC_SECONDS = 1.0
"""Least time between two syncs of one file: a sync costs milliseconds, a tree may cost less."""


class LineFile:
    """A file that grows by whole lines only, without a buffer of our own."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags, 0o666)
        self._synced = time.monotonic()

    def append(self, line: str) -> None:
        """Add one line; whatever goes wrong, the file ends in a whole line."""
        start = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            _write_all(self._descriptor, line.encode("utf-8") + b"\n")
        except BaseException:  # Ctrl-C between two parts tears a line just as a full disk does
            with suppress(OSError):
                os.ftruncate(self._descriptor, start)
            raise
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            os.fsync(self._descriptor)
            self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        # A short write is no error by itself: the next one says why, or goes through.
        view = view[os.write(descriptor, view) :]


def replace_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file so that a reader sees the old one or the new one, never a part."""
    replace_lines(path, [json.dumps(value, indent=2)])


def replace_lines(path: Path, lines: Iterable[str]) -> str:
    """Write a file of ASCII lines as `replace_json` does; returns the SHA-256 of its bytes."""
    part, digest = path.with_name(f"{path.name}.part"), hashlib.sha256()
    with part.open("wb") as handle:
        for line in lines:
            data = f"{line}\n".encode("ascii")
            digest.update(data)
            handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(path)
    return digest.hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the kernel lets go of it when the process dies.

    Raises
    ------
    RunLocked
        Another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _claim(descriptor, path.parent)
        yield
    finally:
        os.close(descriptor)


def _claim(descriptor: int, directory: Path) -> None:
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
        raise RunLocked(
            f"process {holder} is writing to {directory}; wait for its end or give another --out"
        ) from None
    except OSError:
        pass  # some network file systems have no locks; a run must still be possible there
    os.ftruncate(descriptor, 0)
    _write_all(descriptor, f"{os.getpid()}\n".encode())
