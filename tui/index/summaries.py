"""Rows out of lines: one at a time where somebody looks, all of them in the background.

Ground truth is what an evaluation wrote beside the trees, else what a program that was handed in says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

from tui.index.columns import BAD, SUMMARISED, Columns, code
from tui.index.cooperative import Pace
from tui.index.examples import Examples
from tui.index.row_summary import LONGEST_LINE, Digest, digest, parse
from tui.index.rows import RowError, TreeRow, Truth
from tui.index.search import block_end
from tui.index.source import Source

KEPT_ROWS = 512
"""Rows that are kept where their columns are not filled in yet."""


class Summaries:
    """What fills the columns of one file's rows."""

    def __init__(
        self, columns: Columns, examples: Examples, pace: Pace, truth: Truth | None
    ) -> None:
        self._columns, self._examples, self._pace, self._truth = columns, examples, pace, truth
        self._applied = True
        self.next = 0
        """The first row that is not summarised."""
        self._known = lru_cache(KEPT_ROWS)(self._parsed)

    def step(self, source: Source, deadline: float) -> bool:
        """Fill in columns until a time of `time.monotonic`; whether those of every row are."""
        while self.next < len(self._columns):
            last = block_end(self._columns, self.next)
            self._digest_block(source, last, deadline)
            if time.monotonic() > deadline:
                return self.next >= len(self._columns)
        return True

    def go_back(self) -> bool:
        """Begin again at a row that stands for another line now; whether there is one."""
        before = self.next
        while self.next and not self._columns.flags[self.next - 1] & SUMMARISED:
            self.next -= 1
        return self.next < before

    def use_examples(self, deadline: float) -> bool:
        """Read what an evaluation found, again where it was replaced; whether all is read."""
        if self._examples.look():
            self._applied = False
        if not self._examples.step(deadline):
            return False
        if not self._applied:
            self._apply()
        return True

    def row(self, number: int, raw: Callable[[int], bytes]) -> TreeRow:
        """One row; `raw` reads its line where the columns are not filled in."""
        if self._columns.flags[number] & (SUMMARISED | BAD) == SUMMARISED:
            return self._columns.row(number)
        return self._known(number, self._columns.lengths[number], raw)

    def _digest_block(self, source: Source, last: int, deadline: float) -> None:
        columns, base = self._columns, self._columns.starts[self.next]
        size = columns.starts[last - 1] + columns.lengths[last - 1] - base
        block = source.read(base, size) if size <= LONGEST_LINE else b""
        for number in range(self.next, last):
            start = columns.starts[number] - base
            try:
                columns.digested(
                    number, self._digest(block[start : start + columns.lengths[number]])
                )
            except RowError:
                columns.spoiled(number)
            self.next = number + 1
            self._pace.breathe()
            if time.monotonic() > deadline:
                return

    def _digest(self, raw: bytes) -> Digest:
        tree = parse(raw)
        known = self._examples.passed.get(hash(tree.prompt.id))
        return digest(tree, self._truth if known is None else lambda _: known)

    def _parsed(self, number: int, _length: int, raw: Callable[[int], bytes]) -> TreeRow:
        """A row out of its line; the length tells apart what a last row stood for."""
        try:
            row = self._digest(raw(number))
        except RowError as error:
            return TreeRow(number, error=str(error))
        wrong = None not in (row.truth, row.passed) and row.truth != row.passed
        return TreeRow(
            number,
            prompt_id=row.prompt_id,
            title=row.title,
            stop=row.stop,
            score=row.score,
            num_nodes=row.num_nodes,
            depth=row.depth,
            tokens=row.tokens,
            faults=row.faults,
            truth=row.truth,
            judge_wrong=wrong,
            seconds=row.seconds,
        )

    def _apply(self) -> None:
        """Take outcomes over into rows that were summarised before these were written."""
        columns = self._columns
        for number in range(self.next):
            outcome = self._examples.passed.get(columns.ids[number])
            if outcome is not None and not columns.flags[number] & BAD:
                columns.truths[number] = code(outcome)
        self._known.cache_clear()
        self._applied = True
