"""Find the lines of a file that may be growing, block by block, reading every byte once.

Every line is a row, even a blank one, so row i is line i + 1 of the file. A last line without a line break is
a provisional row: the writer may still be writing it, or truncate it when the run is resumed. The line that
replaces it takes its row number.
"""

from __future__ import annotations

import time

from tui.index.columns import BAD, SUMMARISED, Columns
from tui.index.cooperative import Throttle
from tui.index.row_summary import HEAD_BYTES, TAIL_BYTES, quick_summary
from tui.index.source import Source

BLOCK = 1 << 20
"""Bytes read at once."""


class Scan:
    """The search for lines in one file."""

    def __init__(self, source: Source, columns: Columns, throttle: Throttle) -> None:
        self._source, self._columns, self._throttle = source, columns, throttle
        self._line = 0
        """Start of the line whose end has not been found yet."""
        self._provisional = False
        """Whether the last row is that line."""
        self.read = 0
        """Bytes read so far."""
        self.changed = 0
        """Rows added or replaced since this was set to 0."""

    def check(self) -> None:
        """Check whether the file has grown; raises `FileChanged` if it is no longer the same file."""
        if self._source.check(self._line) and self.read > self._line:
            self.read = self._line  # the last line may be another one now

    def step(self, deadline: float) -> bool:
        """Read until `deadline`, a time of `time.monotonic`; returns whether the end is reached."""
        while block := self._source.read(self.read, BLOCK):
            self._add_block(block)
            self._throttle.yield_cpu()
            if len(block) < BLOCK:
                break
            if time.monotonic() > deadline:
                return False
        self._finish_last_line()
        return True

    def _add_block(self, block: bytes) -> None:
        at = 0
        while (cut := block.find(b"\n", at)) >= 0:
            self._add(self.read + cut, block)
            at = cut + 1
            self._line = self.read + at
            self._provisional = False
        self.read += len(block)

    def _finish_last_line(self) -> None:
        """At the end of the file, add what follows the last line break as a provisional row."""
        self._source.anchor(self._line)
        last = len(self._columns) - 1
        if self._provisional and self._columns.lengths[last] == self.read - self._line:
            return
        if self.read > self._line or self._provisional:
            self._add(self.read, b"")
            self._provisional = True

    def _add(self, end: int, block: bytes) -> None:
        """Add the row of the line that ends at `end`, inside the block that is being read."""
        start, columns = self._line, self._columns
        if self._provisional:
            number = len(columns) - 1
            complete = columns.flags[number] & (SUMMARISED | BAD) == SUMMARISED
            if complete and columns.lengths[number] == end - start:
                return  # only the line break was missing
            columns.reset(number, start, end - start)
        else:
            number = columns.add(start, end - start)
        self.changed += 1
        head, tail = self._ends(start, end, block)
        if summary := quick_summary(head, tail):
            columns.set_quick_summary(number, summary)

    def _ends(self, start: int, end: int, block: bytes) -> tuple[bytes, bytes]:
        """The first and last bytes of a line."""
        tail = max(start, end - TAIL_BYTES)
        if start >= self.read and block:
            return (
                block[start - self.read : min(start + HEAD_BYTES, end) - self.read],
                block[tail - self.read : end - self.read],
            )
        head = self._source.read(start, min(HEAD_BYTES, end - start))
        return head, self._source.read(tail, end - tail)
