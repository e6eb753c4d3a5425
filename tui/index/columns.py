"""The rows of a file in columns: about 100 bytes each, without a Python object for each row.

A missing number is -1. Rows are only appended, so a row's number never changes; the last row may be reset
if its line was incomplete. A row that a later row of its prompt replaces is in no category and no count.
One thread writes while others read the rows that `len` counts.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import compress
from typing import Any, get_args

from spar.record.outcomes import Change
from spar.types import Stop
from tui.index.failing_types import FailingTypes
from tui.index.last_rows import NO_ID, LastRows
from tui.index.row_summary import QuickSummary, RowSummary
from tui.index.rows import Category, RowCounts, Sort, TreeRow, is_judged

STOPS: tuple[Stop, ...] = get_args(Stop)
STOP = 0b11
"""Bits of a flag with the index of the stop in `STOPS` plus one; 0 while it is unknown."""
FAULTS, SUMMARISED, BAD, JUDGED, PASSED, UNJUDGED = 4, 8, 16, 32, 64, 128
"""`JUDGED`: the answer has a verdict. `UNJUDGED`: no judge was called for the whole tree."""
UNKNOWN, RIGHT, WRONG = 0, 1, 2
"""Ground truth of an answer."""
CHANGES: tuple[Change | None, ...] = (None, *get_args(Change))
"""What became of the first draft, by its code in the column."""
NO_CONTENT = -1
"""`hash` of a string is never -1."""
LARGEST = 2**63 - 1


class Columns:
    """Rows by column."""

    def __init__(self) -> None:
        self.starts, self.lengths = array("q"), array("q")
        self.last = LastRows()
        """The prompt of each row, and which rows a later one replaces."""
        self.contents = array("q")
        """The `hash` of each prompt's digest."""
        self.flags, self.truths, self.changes = bytearray(), bytearray(), bytearray()
        self.failing = FailingTypes()
        """Types of the constraints that each answer does not meet."""
        self.score, self.seconds = array("d"), array("d")
        self.nodes, self.depth = array("q"), array("q")
        self.tokens, self.faults = array("q"), array("q")
        self._text = bytearray()
        self._text_at, self._id_length, self._title_length = array("q"), array("q"), array("q")
        self._count = 0
        self._all = array("q")
        """0, 1, 2 and so on; never changed, but replaced."""

    def __len__(self) -> int:
        return self._count

    @property
    def ids(self) -> array[int]:
        """The `hash` of each row's prompt id."""
        return self.last.ids

    def add(self, start: int, length: int) -> int:
        """Add a row for the line at `start`; returns its number."""
        for column in (self.starts, self.lengths, *self._values()):
            column.append(-1)
        self.last.append()
        self.flags.append(0)
        self.truths.append(UNKNOWN)
        self.changes.append(UNKNOWN)
        self.failing.append()
        self.reset(self._count, start, length)
        self._count += 1
        return self._count - 1

    def reset(self, number: int, start: int, length: int) -> None:
        """Assign a row to another line, about which nothing is known yet."""
        self.flags[number] = 0
        self._forget(number)
        self.starts[number], self.lengths[number] = start, length

    def set_quick_summary(self, number: int, seen: QuickSummary) -> None:
        """Fill the columns that the start and the end of a line give."""
        self.last.set(number, hash(seen.prompt_id))
        self.seconds[number] = seen.seconds
        self.flags[number] = STOPS.index(seen.stop) + 1 | FAULTS * seen.has_faults

    def mark_bad(self, number: int) -> None:
        """Mark a line that is not a tree."""
        self.flags[number] = BAD | SUMMARISED
        self._forget(number)

    def set_summary(self, number: int, row: RowSummary) -> None:
        """Fill all columns."""
        for column, value in (
            (self.nodes, row.num_nodes),
            (self.depth, row.depth),
            (self.tokens, row.tokens),
            (self.faults, row.faults),
        ):
            column[number] = max(-1, min(value, LARGEST))
        self.score[number] = -1.0 if row.score is None else row.score
        self.seconds[number] = row.seconds if row.seconds >= 0 else -1.0  # also if it is NaN
        self.truths[number] = encode_truth(row.truth)
        self.changes[number] = CHANGES.index(row.outcome.change)
        self.failing.set(number, row.failing)
        self.contents[number] = hash(row.digest)
        self._store_text(number, row.prompt_id, row.title)
        judged = row.passed is not None
        flags = STOPS.index(row.stop) + 1 | FAULTS * bool(row.faults) | JUDGED * judged
        unjudged = not is_judged(row.score, row.num_nodes, row.faults)
        self.flags[number] = flags | PASSED * bool(row.passed) | SUMMARISED | UNJUDGED * unjudged

    def row(self, number: int) -> TreeRow:
        """A row that is summarised and valid."""
        flags, truth, score = self.flags[number], self.truths[number], self.score[number]
        return TreeRow(
            number,
            prompt_id=self._slice(number, 0, self._id_length[number]),
            title=self.title(number),
            stop=STOPS[(flags & STOP) - 1],
            score=score if flags & JUDGED else None,
            num_nodes=self.nodes[number],
            depth=self.depth[number],
            tokens=self.tokens[number],
            faults=self.faults[number],
            truth=None if truth == UNKNOWN else truth == RIGHT,
            judge_wrong=bool(_PASSED[flags] & _IS_WRONG[truth] | _FAILED[flags] & _IS_RIGHT[truth]),
            change=CHANGES[self.changes[number]],
            failing=self.failing.of(number),
            seconds=self.seconds[number],
        )

    def title(self, number: int) -> str:
        """A summarised row's prompt on one line."""
        return self._slice(number, self._id_length[number], self._title_length[number])

    def select(self, show: Category, constraint: str = "", *, replaced: bool = False) -> array[int]:
        """Numbers of the rows of a category, of those that fail a constraint type if one is named, as far as known.

        Rows that later ones replace are among them if `replaced` and all are asked for.
        """
        rows = len(self)
        if show == "all" and not constraint and (replaced or not self.last.num_replaced):
            return self._numbers_to(rows)
        mask = self._mask(show)
        if constraint:
            mask = _both(mask, self.failing.rows_with(constraint)[:rows])
        return array("q", compress(self._numbers_to(len(mask)), mask))

    def counts(self) -> RowCounts:
        """Number of rows by category, as far as known."""
        truths = self._last_of(self.truths[: len(self)])
        counts = {show: self._mask(show).count(1) for show in get_args(Category)[1:]}
        passed, failed = truths.count(RIGHT), truths.count(WRONG)
        return RowCounts(
            rows=len(truths) - self.last.replaced.count(1, 0, len(truths)),
            solved=counts["solved"],
            unsolved=counts["unsolved"],
            faults=counts["faults"],
            judge_wrong=counts["judge-wrong"],
            verified=passed + failed,
            passed=passed,
            broken=counts["no-tree"],
            unjudged=counts["unjudged"],
            fixed=counts["fixed"],
            regressed=counts["broken"],
            answers_passed=counts["passed"],
            answers_failed=counts["failed"],
        )

    def num_tokens(self) -> int:
        """Tokens generated for the trees that count, as far as known."""
        tokens: Iterable[int] = self.tokens
        if self.last.num_replaced:
            tokens = compress(tokens, self.last.replaced.translate(_COUNTS))
        return sum(each for each in tokens if each > 0)

    def sort_rows(self, numbers: array[int], sort: Sort) -> array[int]:
        """Sort row numbers, which must be ascending."""
        if sort.key == "number":
            return numbers[::-1] if sort.descending else numbers
        if sort.key == "prompt":
            return self._sorted_titles(numbers, descending=sort.descending)
        column = self._sortable(sort)
        # Absent values are the smallest: last where the largest is first, else moved behind the others.
        ordered = sorted(numbers, key=column.__getitem__, reverse=sort.descending)
        if not sort.descending:
            absent = bisect_left(ordered, 0, key=column.__getitem__)
            ordered = ordered[absent:] + ordered[:absent]
        return array("q", ordered)

    def _numbers_to(self, rows: int) -> array[int]:
        """The numbers of the first rows; to count afresh takes longer than all else in a query."""
        if len(self._all) < rows:  # replaced, not extended: another thread may be reading it
            self._all = array("q", range(max(rows, 2 * len(self._all))))
        return self._all[:rows]

    def _sorted_titles(self, numbers: array[int], *, descending: bool) -> array[int]:
        titles = {
            n: self.title(n).casefold()
            for n in numbers
            if self.flags[n] & (SUMMARISED | BAD) == SUMMARISED
        }
        ordered = sorted(titles, key=titles.__getitem__, reverse=descending)
        return array("q", ordered + [n for n in numbers if n not in titles])

    def _sortable(self, sort: Sort) -> Any:
        """A column whose absent values are negative."""
        match sort.key:
            case "stop":
                return array("b", self.flags.translate(_STOP_PLACE))
            case "truth":
                return array("b", self.truths.translate(_TRUTH_PLACE))
        return getattr(self, sort.key)

    def _mask(self, show: Category) -> bytes | bytearray:
        """One byte for each row: 1 if it is in the category and no later row replaces it."""
        return self._last_of(self._category_mask(show))

    def _last_of(self, values: bytes | bytearray) -> bytes | bytearray:
        """One byte for each row, with 0 for those that a later row replaces."""
        if not self.last.num_replaced:
            return values
        return _both(values, self.last.replaced[: len(values)].translate(_COUNTS))

    def _category_mask(self, show: Category) -> bytes | bytearray:
        flags = self.flags[: len(self)]
        if show == "judge-wrong":
            truths = self.truths[: len(flags)]
            lenient = _both(flags.translate(_PASSED), truths.translate(_IS_WRONG))
            strict = _both(flags.translate(_FAILED), truths.translate(_IS_RIGHT))
            return _either(lenient, strict)
        if show in _CHANGE_TABLES:
            return self.changes[: len(self)].translate(_CHANGE_TABLES[show])
        return flags.translate(_TABLES[show])

    def _forget(self, number: int) -> None:
        """Clear all columns of a row but its flags and its place in the file."""
        self.truths[number] = self.changes[number] = UNKNOWN
        self.failing.set(number, ())
        self.last.set(number, NO_ID)
        for column in self._values():
            column[number] = -1

    def _values(self) -> tuple[array[int] | array[float], ...]:
        numbers = (self.contents, self.nodes, self.depth, self.tokens, self.faults)
        texts = (self._text_at, self._id_length, self._title_length)
        return (*numbers, *texts, self.score, self.seconds)

    def _store_text(self, number: int, prompt_id: str, title: str) -> None:
        parts = [text.encode("utf-8", "surrogatepass") for text in (prompt_id, title)]
        self.last.set(number, hash(prompt_id))
        self._text_at[number] = len(self._text)
        self._id_length[number], self._title_length[number] = map(len, parts)
        self._text += b"".join(parts)

    def _slice(self, number: int, skip: int, length: int) -> str:
        start = self._text_at[number] + skip
        return self._text[start : start + length].decode("utf-8", "surrogatepass")


def encode_truth(truth: bool | None) -> int:
    """The code of a ground truth in its column."""
    return UNKNOWN if truth is None else RIGHT if truth else WRONG


def _both(left: bytes | bytearray, right: bytes | bytearray) -> bytes:
    """Of two masks, byte by byte; as whole numbers, since a loop over 100,000 rows can be felt."""
    both = int.from_bytes(left, "little") & int.from_bytes(right, "little")
    return both.to_bytes(min(len(left), len(right)), "little")


def _either(left: bytes, right: bytes) -> bytes:
    either = int.from_bytes(left, "little") | int.from_bytes(right, "little")
    return either.to_bytes(max(len(left), len(right)), "little")


def _table(mask: int, expected: int) -> bytes:
    return bytes(flag & mask == expected for flag in range(256))


def _changes(*changes: Change) -> bytes:
    """For each code of a change, 1 if it is one of these."""
    return bytes(code < len(CHANGES) and CHANGES[code] in changes for code in range(256))


_COUNTS = bytes(0 if replaced else 0xFF for replaced in range(256))
"""For each value of `LastRows.replaced`, the bits that are left of a row's byte."""
_ABSENT = 0xFF
"""-1 in a column of signed bytes."""
_STOP_PLACE = bytes((flag & STOP) - 1 if flag & STOP else _ABSENT for flag in range(256))
_TRUTH_PLACE = bytes((_ABSENT, 1, 0)).ljust(256, b"\0")
_IS_RIGHT, _IS_WRONG = (bytes(code == truth for code in range(256)) for truth in (RIGHT, WRONG))
_PASSED = _table(JUDGED | PASSED, JUDGED | PASSED)
_FAILED = _table(JUDGED | PASSED, JUDGED)
_SOLVED = STOPS.index("solved") + 1
_TABLES: dict[Category, bytes] = {
    "all": bytes([1]) * 256,
    "solved": _table(STOP, _SOLVED),
    "unsolved": bytes(
        bool(flag & STOP) and flag & STOP != _SOLVED and not flag & UNJUDGED for flag in range(256)
    ),
    "faults": _table(FAULTS, FAULTS),
    "unjudged": _table(UNJUDGED, UNJUDGED),
    "no-tree": _table(BAD, BAD),
    "starred": bytes(256),
}
_CHANGE_TABLES: dict[Category, bytes] = {
    "fixed": _changes("fixed"),
    "broken": _changes("broken"),
    "passed": _changes("fixed", "passed"),
    "failed": _changes("broken", "failed"),
}
