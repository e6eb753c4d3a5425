"""Summarize lines into rows: on demand for the rows on screen, all of them in the background.

Ground truth is what an evaluation wrote beside the trees, else the result of the verifiers that are passed in. What the
searches did is added up on the way, so the totals of a run cost nothing once its rows are summarised. A tree that a
later one of its prompt replaces is taken back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from functools import lru_cache

from spar.record.outcomes import Outcome, with_verdicts
from spar.record.run_outcomes import RunOutcomes
from tui.index.columns import BAD, SUMMARISED, Columns, encode_truth
from tui.index.cooperative import Throttle
from tui.index.examples import Examples
from tui.index.row_summary import MAX_LINE_BYTES, RowSummary, parse_tree, summarize_tree
from tui.index.rows import Authority, RowError, TreeRow
from tui.index.search import block_end
from tui.index.source import Source

CACHED_ROWS = 512
"""Size of the cache of rows whose columns are not filled yet."""


class Summaries:
    """Fills the columns of one file's rows."""

    def __init__(
        self, columns: Columns, examples: Examples, throttle: Throttle, authority: Authority
    ) -> None:
        self._columns, self._examples, self._throttle = columns, examples, throttle
        self._authority = authority
        self.check = with_verdicts(authority.check, examples.findings)
        """Ground truth of a response, constraint by constraint: of the verifiers, else of the evaluation's verdicts."""
        self._applied = True
        self.next = 0
        """The first row that is not summarised."""
        self.totals = RunOutcomes()
        """What the searches of the rows before `next` did, as of the last `step`; never changed, but replaced."""
        self._sum = RunOutcomes()
        self._last: Outcome | None = None
        """Of the row before `next`, which may be reset: it is not in `_sum` yet."""
        self._summed = bytearray()
        """1 for each row that is in `_sum`."""
        self._cached_row = lru_cache(CACHED_ROWS)(self._parse_row)

    def step(self, source: Source, deadline: float) -> bool:
        """Fill columns until `deadline`, a time of `time.monotonic`; returns whether all rows are done."""
        if self.next >= len(self._columns) and not self._columns.last.changed:
            return True
        while self.next < len(self._columns):
            last = block_end(self._columns, self.next)
            self._summarise_block(source, last, deadline)
            if time.monotonic() > deadline:
                break
        is_settled = self._take_changed(source, deadline)
        self.totals = deepcopy(self._sum)
        if self._last is not None and not self._is_replaced(self.next - 1):
            self.totals.add(self._last)
        return is_settled and self.next >= len(self._columns)

    def rewind(self) -> bool:
        """Go back to the first row whose line changed; returns whether there is one."""
        before = self.next
        while self.next and not self._columns.flags[self.next - 1] & SUMMARISED:
            self.next -= 1
        if self.next < before:
            self._last = None
        if self.next < before - 1:
            self._restart()
        return self.next < before

    def read_examples(self, deadline: float) -> bool:
        """Read the examples of an evaluation, again if they were replaced; returns whether all are read."""
        if self._examples.reload():
            self._applied = False
        if not self._examples.step(deadline):
            return False
        if not self._applied:
            self._apply()
        return True

    def row(self, number: int, raw: Callable[[int], bytes]) -> TreeRow:
        """One row; `raw` reads its line if the columns are not filled yet."""
        if self._columns.flags[number] & (SUMMARISED | BAD) == SUMMARISED:
            return self._columns.row(number)
        return self._cached_row(number, self._columns.lengths[number], raw)

    def _summarise_block(self, source: Source, last: int, deadline: float) -> None:
        columns, base = self._columns, self._columns.starts[self.next]
        size = columns.starts[last - 1] + columns.lengths[last - 1] - base
        block = source.read(base, size) if size <= MAX_LINE_BYTES else b""
        for number in range(self.next, last):
            start = columns.starts[number] - base
            outcome = None
            try:
                row = self._summarise(block[start : start + columns.lengths[number]])
                columns.set_summary(number, row)
                outcome = row.outcome
            except RowError:
                columns.mark_bad(number)
            self._add_last()
            self._last = outcome
            self.next = number + 1
            self._throttle.yield_cpu()
            if time.monotonic() > deadline:
                return

    def _add_last(self) -> None:
        """Add the row before `next`, which does not change any more."""
        self._summed.extend(bytes(self.next - len(self._summed)))
        if self._last is not None and not self._is_replaced(self.next - 1):
            self._sum.add(self._last)
            self._summed[self.next - 1] = 1

    def _take_changed(self, source: Source, deadline: float) -> bool:
        """Take back rows that were replaced since they were added, and add those that no longer are; whether all are done.

        Their lines are read again, since the outcomes of all rows would take too much memory.
        """
        columns, changed = self._columns, self._columns.last.changed
        while changed:
            number = changed.pop()
            is_added = number < len(self._summed)  # the others are not looked at before they are
            if is_added and self._summed[number] == self._is_replaced(number):
                raw = source.read(columns.starts[number], columns.lengths[number])
                with suppress(RowError):
                    outcome = self._summarise(raw).outcome
                    (self._sum.remove if self._summed[number] else self._sum.add)(outcome)
                    self._summed[number] ^= 1
                self._throttle.yield_cpu()
                if time.monotonic() > deadline:
                    return not changed
        return True

    def _is_replaced(self, number: int) -> int:
        return self._columns.last.replaced[number]

    def _summarise(self, raw: bytes) -> RowSummary:
        tree = parse_tree(raw)
        graded = self._examples.passed.get(hash(tree.prompt.id))
        return summarize_tree(tree, self._authority.truth, self.check, graded=graded)

    def _restart(self) -> None:
        """Summarise all rows again; those that are summarised stay as they are until then."""
        self.next, self._sum, self._last = 0, RunOutcomes(), None
        self._summed.clear()

    def _parse_row(self, number: int, _length: int, raw: Callable[[int], bytes]) -> TreeRow:
        """Parse a row; the length is part of the cache key, since the last line may change."""
        try:
            row = self._summarise(raw(number))
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
            change=row.outcome.change,
            failing=row.failing,
            seconds=row.seconds,
        )

    def _apply(self) -> None:
        """Update rows that were summarised before the examples were read."""
        columns = self._columns
        for number in range(self.next):
            outcome = self._examples.passed.get(columns.ids[number])
            if outcome is not None and not columns.flags[number] & BAD:
                columns.truths[number] = encode_truth(outcome)
        self._cached_row.cache_clear()
        self._applied = True
        if self.next:
            self._restart()
