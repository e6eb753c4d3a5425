"""Read parts of a file that another process writes, and detect when it is no longer the same file.

Reads use one open handle, so the content remains readable after the file is deleted. The file is never
memory-mapped: truncating a mapped file kills its reader.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

from spar.errors import UsageError
from tui.index.rows import FileChanged

ANCHOR_BYTES = 64
"""Bytes before the known end that must stay unchanged."""


class Source:
    """One open file of lines. Any thread may read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._anchor = (0, b"")
        try:
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from error
        self._closing = weakref.finalize(self, os.close, self._descriptor)
        stat = os.fstat(self._descriptor)
        self._identity = (stat.st_dev, stat.st_ino)
        self.size = stat.st_size

    def read(self, start: int, length: int) -> bytes:
        """The bytes there, fewer at the end of the file; none once it is closed or unreadable."""
        with self._lock:
            if not self._closing.alive:
                return b""
            try:
                os.lseek(self._descriptor, start, os.SEEK_SET)
                return self._read(length)
            except OSError:
                return b""

    def check(self, floor: int) -> bool:
        """Update `size`; returns whether it changed since the last check.

        Raises
        ------
        Vanished
            The file was deleted, replaced, truncated below `floor`, or its known part was rewritten.
        """
        try:
            stat = self.path.stat()
        except OSError as error:
            raise FileChanged(
                f"{self.path} was deleted while it was open: {error.strerror}"
            ) from error
        if (stat.st_dev, stat.st_ino) != self._identity:
            raise FileChanged(f"{self.path} was replaced by another file while it was open")
        if stat.st_size < floor:
            raise FileChanged(f"{self.path} was truncated while it was open")
        start, anchor_bytes = self._anchor
        if self.read(start, len(anchor_bytes)) != anchor_bytes:
            raise FileChanged(f"{self.path} was rewritten while it was open")
        before, self.size = self.size, stat.st_size
        return self.size != before

    def anchor(self, end: int) -> None:
        """Store the bytes before `end`, which appending does not change."""
        start = max(end - ANCHOR_BYTES, 0)
        self._anchor = (start, self.read(start, end - start))

    def close(self) -> None:
        """Close the file; later reads return nothing. Also happens on garbage collection."""
        with self._lock:
            self._closing()

    def _read(self, length: int) -> bytes:
        parts = []
        while length > 0 and (part := os.read(self._descriptor, length)):
            parts.append(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
