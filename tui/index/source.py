"""A file that somebody else writes: read parts of it, and notice when it is no longer the same file.

Reads go through one open handle, so what was there can still be read after the file was deleted. It is
never mapped into memory: a mapped file that is cut short kills its reader.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

from spar.errors import UsageError
from tui.index.rows import Vanished

ANCHOR_BYTES = 64
"""So many bytes before the known end must stay as they are."""


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
        """The bytes there, fewer where the file ends; none once it is closed or cannot be read."""
        with self._lock:
            if not self._closing.alive:
                return b""
            try:
                os.lseek(self._descriptor, start, os.SEEK_SET)
                return self._read(length)
            except OSError:
                return b""

    def look(self, floor: int) -> bool:
        """See how large the file is now; whether it differs from the last look.

        Raises
        ------
        Vanished
            It is gone, another file, shorter than `floor`, or its known part was rewritten.
        """
        try:
            stat = self.path.stat()
        except OSError as error:
            raise Vanished(f"{self.path} vanished while it was open: {error.strerror}") from error
        if (stat.st_dev, stat.st_ino) != self._identity:
            raise Vanished(f"{self.path} was replaced by another file while it was open")
        if stat.st_size < floor:
            raise Vanished(f"{self.path} was cut short while it was open")
        start, known = self._anchor
        if self.read(start, len(known)) != known:
            raise Vanished(f"{self.path} was rewritten while it was open")
        before, self.size = self.size, stat.st_size
        return self.size != before

    def anchor(self, end: int) -> None:
        """Remember the bytes before `end`, which whoever appends does not touch."""
        start = max(end - ANCHOR_BYTES, 0)
        self._anchor = (start, self.read(start, end - start))

    def close(self) -> None:
        """Close the file, as its last user's end does too; later reads give nothing."""
        with self._lock:
            self._closing()

    def _read(self, length: int) -> bytes:
        parts = []
        while length > 0 and (part := os.read(self._descriptor, length)):
            parts.append(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
