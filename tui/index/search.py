"""Look through a file of trees for a text, in slices, without parsing what cannot hold it."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right

from tui.index.columns import Columns
from tui.index.cooperative import Pace
from tui.index.query import Query
from tui.index.row_summary import LONGEST_LINE, load
from tui.index.rows import RowError
from tui.index.source import Source

BLOCK = 1 << 20


class Search:
    """One text looked for in all rows, in their order; rows that come later are looked through too."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.next = 0
        """The first row that was not looked at."""
        self._hits = bytearray()

    def among(self, numbers: array[int]) -> array[int]:
        """Of these rows, those that are known to hold the text."""
        hits = bytes(self._hits)
        return array("q", (n for n in numbers if n < len(hits) and hits[n]))

    def again_from(self, number: int) -> None:
        """Look at a row, and those after it, once more: it stands for another line now."""
        self.next = min(self.next, number)

    def step(self, source: Source, columns: Columns, pace: Pace, deadline: float) -> bool:
        """Look on until a time of `time.monotonic`; whether every row was looked at."""
        while self.next < len(columns):
            first, last = self.next, block_end(columns, self.next)
            found = self._look(source, columns, (first, last), pace)
            self._hits[first:last] = found
            self.next = last
            pace.breathe()
            if time.monotonic() > deadline:
                return self.next >= len(columns)
        return True

    def _look(
        self, source: Source, columns: Columns, rows: tuple[int, int], pace: Pace
    ) -> bytearray:
        """One byte a row of a block: 1 where it holds the text."""
        found = bytearray(rows[1] - rows[0])
        base = columns.starts[rows[0]]
        ends = columns.starts[rows[1] - 1] + columns.lengths[rows[1] - 1] - base
        block = source.read(base, ends) if ends <= LONGEST_LINE else b""
        small, at = block.lower(), 0
        while (at := self.query.candidate(small, at)) < len(block):
            row = bisect_right(columns.starts, base + at, rows[0], rows[1]) - 1
            start = columns.starts[row] - base
            stop = start + columns.lengths[row]
            found[row - rows[0]] = self._holds(block[start:stop])
            pace.breathe()
            at = stop + 1
        return found

    def _holds(self, raw: bytes) -> bool:
        try:
            return self.query.matches(load(raw))
        except RowError:
            return False


def block_end(columns: Columns, first: int) -> int:
    """The row after those that are read together, beginning with `first`: at least one."""
    past = bisect_left(columns.starts, columns.starts[first] + BLOCK, first, len(columns))
    return max(past - 1, first + 1)
