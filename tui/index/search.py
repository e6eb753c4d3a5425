"""Search a file of trees for a text, in slices, without parsing lines that cannot match."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right

from tui.index.columns import Columns
from tui.index.cooperative import Throttle
from tui.index.query import Query, SlowPattern
from tui.index.row_summary import MAX_LINE_BYTES, parse_object
from tui.index.rows import RowError
from tui.index.source import Source

BLOCK = 1 << 20


class Search:
    """The search for one text in all rows, in order; rows that are added later are searched too."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.next = 0
        """The first row that has not been searched."""
        self.problem = ""
        """Why the search was given up."""
        self._hits = bytearray()

    def matching(self, numbers: array[int]) -> array[int]:
        """Those of these rows that are known to match."""
        hits = bytes(self._hits)
        return array("q", (n for n in numbers if n < len(hits) and hits[n]))

    def restart_from(self, number: int) -> None:
        """Search a row and those after it again, since its line changed."""
        self.next = min(self.next, number)

    def step(self, source: Source, columns: Columns, throttle: Throttle, deadline: float) -> bool:
        """Search until `deadline`, a time of `time.monotonic`; returns whether all rows are done."""
        while self.next < len(columns) and not self.problem:
            first, last = self.next, block_end(columns, self.next)
            try:
                hits = self._search_block(source, columns, (first, last), throttle)
            except SlowPattern as error:
                self.problem = str(error)
                return True
            self._hits[first:last] = hits
            self.next = last
            throttle.yield_cpu()
            if time.monotonic() > deadline:
                return self.next >= len(columns)
        return True

    def _search_block(
        self, source: Source, columns: Columns, rows: tuple[int, int], throttle: Throttle
    ) -> bytearray:
        """One byte for each row of a block: 1 if it matches."""
        hits = bytearray(rows[1] - rows[0])
        base = columns.starts[rows[0]]
        ends = columns.starts[rows[1] - 1] + columns.lengths[rows[1] - 1] - base
        block = source.read(base, ends) if ends <= MAX_LINE_BYTES else b""
        lowered, at = block.lower(), 0
        while (at := self.query.candidate(lowered, at)) < len(block):
            row = bisect_right(columns.starts, base + at, rows[0], rows[1]) - 1
            start = columns.starts[row] - base
            stop = start + columns.lengths[row]
            hits[row - rows[0]] = self._matches(block[start:stop])
            throttle.yield_cpu()
            at = stop + 1
        return hits

    def _matches(self, raw: bytes) -> bool:
        try:
            return self.query.matches(parse_object(raw))
        except RowError:
            return False


def block_end(columns: Columns, first: int) -> int:
    """The row after the block of rows that starts with `first`; a block has at least one row."""
    past = bisect_left(columns.starts, columns.starts[first] + BLOCK, first, len(columns))
    return max(past - 1, first + 1)
