"""Find the lines of a file that may be growing, block by block, reading every byte once.

Every line is a row, blank ones too, so row i is line i + 1 of the file. A last line without its break is
a row as well, a provisional one: the writer may be in the middle of it, complete it, or cut it off when
the run is resumed. Whatever stands there next takes that row's number.
"""

from __future__ import annotations

import time

from tui.index.columns import BAD, SUMMARISED, Columns
from tui.index.cooperative import Pace
from tui.index.row_summary import HEAD_BYTES, TAIL_BYTES, glance
from tui.index.source import Source

BLOCK = 1 << 20
"""Bytes read at once."""


class Scan:
    """The search for lines in one file."""

    def __init__(self, source: Source, columns: Columns, pace: Pace) -> None:
        self._source, self._columns, self._pace = source, columns, pace
        self._line = 0
        """Where the line begins whose end is not found yet."""
        self._provisional = False
        """Whether the last row stands for that line."""
        self.read = 0
        """Bytes read so far."""
        self.changed = 0
        """Rows that were added, or written over, since somebody set this to 0."""

    def look(self) -> None:
        """See whether the file changed; raises `Vanished` where it is not the same file any more."""
        if self._source.look(self._line) and self.read > self._line:
            self.read = self._line  # the last line may be another one now

    def step(self, deadline: float) -> bool:
        """Read on until a time of `time.monotonic`; whether the end of the file is reached."""
        while block := self._source.read(self.read, BLOCK):
            self._take(block)
            self._pace.breathe()
            if len(block) < BLOCK:
                break
            if time.monotonic() > deadline:
                return False
        self._settle()
        return True

    def _take(self, block: bytes) -> None:
        at = 0
        while (cut := block.find(b"\n", at)) >= 0:
            self._add(self.read + cut, block)
            at = cut + 1
            self._line = self.read + at
            self._provisional = False
        self.read += len(block)

    def _settle(self) -> None:
        """At the end of the file: what follows the last line break is a provisional row."""
        self._source.anchor(self._line)
        known = len(self._columns) - 1
        if self._provisional and self._columns.lengths[known] == self.read - self._line:
            return
        if self.read > self._line or self._provisional:
            self._add(self.read, b"")
            self._provisional = True

    def _add(self, end: int, block: bytes) -> None:
        """Add the row of the line that ends at `end`, which lies in the block that is being read."""
        start, columns = self._line, self._columns
        if self._provisional:
            number = len(columns) - 1
            whole = columns.flags[number] & (SUMMARISED | BAD) == SUMMARISED
            if whole and columns.lengths[number] == end - start:
                return  # all that was missing is the line break
            columns.put(number, start, end - start)
        else:
            number = columns.add(start, end - start)
        self.changed += 1
        head, tail = self._ends(start, end, block)
        if seen := glance(head, tail):
            columns.glanced(number, seen)

    def _ends(self, start: int, end: int, block: bytes) -> tuple[bytes, bytes]:
        """The first and the last bytes of a line."""
        tail = max(start, end - TAIL_BYTES)
        if start >= self.read and block:
            return (
                block[start - self.read : min(start + HEAD_BYTES, end) - self.read],
                block[tail - self.read : end - self.read],
            )
        head = self._source.read(start, min(HEAD_BYTES, end - start))
        return head, self._source.read(tail, end - tail)
