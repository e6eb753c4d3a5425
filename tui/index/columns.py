"""What is known of every line of a file, about 100 bytes a line: no Python object a row.

A missing number is -1. Rows are only ever added, so a row's number never changes; the last one may be
written over, where it stood for a line that was not complete. One thread writes, others read meanwhile:
they see the rows that `len` counts.
"""

from __future__ import annotations

from array import array
from itertools import compress
from typing import Any, get_args

from spar.types import Stop
from tui.index.row_summary import Digest, Glance
from tui.index.rows import Counts, Show, Sort, TreeRow

STOPS: tuple[Stop, ...] = get_args(Stop)
STOP = 0b11
"""Bits of a flag that hold the stop's place in `STOPS` plus one; 0 while it is not known."""
FAULTS, SUMMARISED, BAD, JUDGED, PASSED = 4, 8, 16, 32, 64
UNKNOWN, RIGHT, WRONG = 0, 1, 2
"""Ground truth of an answer."""
NO_ID = -1
"""`hash` of a string is never -1."""
LARGEST = 2**63 - 1


class Columns:
    """Rows by column."""

    def __init__(self) -> None:
        self.starts, self.lengths, self.ids = array("q"), array("q"), array("q")
        self.flags, self.truths = bytearray(), bytearray()
        self.score, self.seconds = array("d"), array("d")
        self.nodes, self.depth = array("q"), array("q")
        self.tokens, self.faults = array("q"), array("q")
        self._text = bytearray()
        self._text_at, self._id_length, self._title_length = array("q"), array("q"), array("q")
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, start: int, length: int) -> int:
        """Add a row for the line at `start`; returns its number."""
        for column in (self.starts, self.lengths, *self._values()):
            column.append(-1)
        self.flags.append(0)
        self.truths.append(UNKNOWN)
        self.put(self._count, start, length)
        self._count += 1
        return self._count - 1

    def put(self, number: int, start: int, length: int) -> None:
        """Let a row stand for another line, of which nothing is known yet."""
        self.flags[number], self.truths[number] = 0, UNKNOWN
        self.starts[number], self.lengths[number] = start, length
        for column in self._values():
            column[number] = -1

    def glanced(self, number: int, seen: Glance) -> None:
        """Fill in what the two ends of a line say."""
        self.ids[number] = hash(seen.prompt_id)
        self.seconds[number] = seen.seconds
        self.flags[number] = STOPS.index(seen.stop) + 1 | FAULTS * seen.has_faults

    def spoiled(self, number: int) -> None:
        """Mark a line that holds no tree."""
        self.flags[number], self.truths[number] = BAD | SUMMARISED, UNKNOWN
        for column in self._values():
            column[number] = -1

    def digested(self, number: int, row: Digest) -> None:
        """Fill in every column."""
        for column, value in (
            (self.nodes, row.num_nodes),
            (self.depth, row.depth),
            (self.tokens, row.tokens),
            (self.faults, row.faults),
        ):
            column[number] = max(-1, min(value, LARGEST))
        self.score[number] = -1.0 if row.score is None else row.score
        self.seconds[number] = row.seconds
        self.truths[number] = code(row.truth)
        self._keep_text(number, row.prompt_id, row.title)
        judged = row.passed is not None
        flags = STOPS.index(row.stop) + 1 | FAULTS * bool(row.faults) | JUDGED * judged
        self.flags[number] = flags | PASSED * bool(row.passed) | SUMMARISED

    def row(self, number: int) -> TreeRow:
        """A row that is summarised and not bad."""
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
            judge_wrong=bool(_WRONG[flags] & (1 << truth)),
            seconds=self.seconds[number],
        )

    def title(self, number: int) -> str:
        """First line of a summarised row's prompt."""
        return self._slice(number, self._id_length[number], self._title_length[number])

    def select(self, show: Show) -> array[int]:
        """Numbers of the rows of one kind, as far as is known."""
        kept = self._mask(show)
        return array("q", compress(range(len(kept)), kept))

    def counts(self) -> Counts:
        """Rows by kind, as far as is known."""
        rows, truths = len(self), self.truths[: len(self)]
        solved, unsolved, faults, wrong = (
            self._mask(show).count(1) for show in ("solved", "unsolved", "faults", "judge-wrong")
        )
        passed, failed = truths.count(RIGHT), truths.count(WRONG)
        broken = self.flags[:rows].translate(_table(BAD, BAD)).count(1)
        return Counts(rows, solved, unsolved, faults, wrong, passed + failed, passed, broken)

    def arrange(self, numbers: array[int], sort: Sort) -> array[int]:
        """Row numbers, ascending on the way in, in the order asked for."""
        if sort.column == "number":
            return numbers[::-1] if sort.descending else numbers
        values = self._titles(numbers) if sort.column == "prompt" else self._numbers(sort)
        known = [n for n in numbers if values[n] is not None]
        missing = [n for n in numbers if values[n] is None] if len(known) < len(numbers) else []
        known.sort(key=values.__getitem__, reverse=sort.descending)
        return array("q", known + missing)

    def _titles(self, numbers: array[int]) -> list[Any]:
        titles: list[Any] = [None] * len(self.flags)
        for n in numbers:
            if self.flags[n] & (SUMMARISED | BAD) == SUMMARISED:
                titles[n] = self.title(n).casefold()
        return titles

    def _numbers(self, sort: Sort) -> list[Any]:
        """A column with None where a value is missing."""
        match sort.column:
            case "stop":
                return [_STOP_PLACE[flag] for flag in self.flags]
            case "truth":
                return [_TRUTH_PLACE[truth] for truth in self.truths]
        column: array[float] = getattr(self, sort.column)
        return [value if value >= 0 else None for value in column]

    def _mask(self, show: Show) -> bytes | bytearray:
        """One byte a row: 1 where the row is shown."""
        flags = self.flags[: len(self)]
        if show == "judge-wrong":
            pairs = zip(flags, self.truths, strict=False)
            return bytes(_WRONG[flag] >> truth & 1 for flag, truth in pairs)
        return flags.translate(_TABLES[show])

    def _values(self) -> tuple[array[int] | array[float], ...]:
        numbers = (self.ids, self.nodes, self.depth, self.tokens, self.faults)
        texts = (self._text_at, self._id_length, self._title_length)
        return (*numbers, *texts, self.score, self.seconds)

    def _keep_text(self, number: int, prompt_id: str, title: str) -> None:
        parts = [text.encode("utf-8", "surrogatepass") for text in (prompt_id, title)]
        self.ids[number] = hash(prompt_id)
        self._text_at[number] = len(self._text)
        self._id_length[number], self._title_length[number] = map(len, parts)
        self._text += b"".join(parts)

    def _slice(self, number: int, skip: int, length: int) -> str:
        start = self._text_at[number] + skip
        return self._text[start : start + length].decode("utf-8", "surrogatepass")


def code(truth: bool | None) -> int:
    """How ground truth is kept in a column."""
    return UNKNOWN if truth is None else RIGHT if truth else WRONG


def _table(mask: int, wanted: int) -> bytes:
    return bytes(flag & mask == wanted for flag in range(256))


_STOP_PLACE = tuple((flag & STOP) - 1 if flag & STOP else None for flag in range(256))
_TRUTH_PLACE = (None, 1, 0)
_SOLVED = STOPS.index("solved") + 1
_TABLES: dict[Show, bytes] = {
    "all": bytes([1]) * 256,
    "solved": _table(STOP, _SOLVED),
    "unsolved": bytes(bool(flag & STOP) and flag & STOP != _SOLVED for flag in range(256)),
    "faults": _table(FAULTS, FAULTS),
}
_WRONG = bytes(
    (1 << (WRONG if flag & PASSED else RIGHT)) if flag & JUDGED else 0 for flag in range(256)
)
"""By flag: the bit of the ground truth with which the judge's verdict disagrees."""
