"""The prompts that several runs have, by id and content, each run's rows marked with what decides whether they pass.

A row's mark is its judgement times 3 plus its ground truth; 0 while it is unread. Each run passes or fails a prompt by
ground truth if that is known for all of them, else by whether its search was solved. If one of them was not judged, as
in greedy decoding, that is unknown.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Generic, Literal, TypeVar

from spar.errors import UsageError
from spar.record.standing import agreed_passes
from tui.index.cooperative import Throttle
from tui.index.rows import RowCounts, TreeRow
from tui.index.run_index import TreeIndex, have_one_content, rows_by_id

PASS, FAIL, NOT_JUDGED = 1, 2, 3
TRUTHS = 3
MARKS = 4 * TRUTHS
"""Number of marks."""
CHECK_SECONDS = 0.5
"""How often a file is checked for appended lines."""

Kind = TypeVar("Kind", bound=str)
"""Names of the filters of prompts."""


class SharedPrompts(ABC, Generic[Kind]):
    """The prompts that all of some runs have. Call `work` in a worker, everything else in the UI thread.

    A subclass sums up the marks of each prompt in one byte, its value.

    Parameters
    ----------
    tables:
        Filter to 256 bytes, 1 for each value that it shows; `all` and `flips` are among them.
    """

    def __init__(self, *indexes: TreeIndex, tables: Mapping[str, bytes]) -> None:
        self.indexes, self._tables = indexes, tables
        self._sides = tuple(map(RunMarks, indexes))
        self._found = self._rows = tuple(array("q") for _ in indexes)
        """The rows of each shared prompt in each run; `_rows` are those of the last `update`."""
        self._num_other_found = 0
        self.num_other_content = 0
        """Prompt ids that all runs have, of prompts with another content, as of the last `update`."""
        self._progress: tuple[tuple[int, bool], ...] = ()
        self._changes, self._updated_changes = 0, -1
        self._done = False
        self._values = b""
        """That of each shared prompt, as of the last `update`."""
        self.is_read = False
        """Whether all files are completely read, as of the last `update`."""

    @property
    def problem(self) -> str | None:
        """Why one of the files is no longer followed."""
        return next((side.problem for side in self._sides if side.problem), None)

    def work(self, seconds: float = 0.05) -> bool:
        """Read for about so many seconds; returns whether everything is read."""
        share = seconds / len(self._sides)
        progress = tuple((len(side.index), side.step(share)) for side in self._sides)
        changes = [side.take_changed() for side in self._sides]  # a list: all must be called
        changed = any(changes)
        self._done = all(done for _, done in progress)
        if progress != self._progress or (changed and self._done):
            same_id = rows_by_id(*self.indexes)
            rows = [each for each in same_id if have_one_content(self.indexes, each)]
            self._num_other_found = len(same_id) - len(rows)
            self._found = tuple(array("q", (row[at] for row in rows)) for at in range(len(changes)))
            self._progress, changed = progress, True
        self._changes += changed
        return self._done

    def is_stale(self) -> bool:
        """Whether there is more than as of the last `update`."""
        return self._changes != self._updated_changes

    def take_marks(self) -> list[list[int]]:
        """The marks of the shared prompts in each run, as of now."""
        self._updated_changes, self._rows = self._changes, self._found
        self.is_read, self.num_other_content = self._done, self._num_other_found
        return [side.of(rows) for side, rows in zip(self._sides, self._rows, strict=True)]

    @abstractmethod
    def update(self) -> None:
        """Update what is shown."""

    @abstractmethod
    def passes(self) -> list[list[bool]]:
        """For each run, whether it passes each prompt of which that is known in all runs."""

    def order(self, kind: Kind | Literal["all"] = "all") -> array[int]:
        """Positions of the prompts that match a filter; of all prompts, those that flipped come first."""
        if kind != "all":
            return self._matches(self._tables[kind])
        flips = self._tables["flips"]
        return self._matches(flips) + self._matches(bytes(not flip for flip in flips))

    def count(self, kind: Kind) -> int:
        """Number of prompts that match a filter."""
        return self._values.translate(self._tables[kind]).count(1)

    def next_flip(self, positions: Sequence[int], line: int, step: int) -> int | None:
        """The next line of a table of positions, in a direction, whose prompt flipped; None if there is none."""
        flips = set(self._matches(self._tables["flips"]))
        ahead = range(line + step, len(positions) if step > 0 else -1, step)
        return next((at for at in ahead if positions[at] in flips), None)

    def prompt_at(self, position: int) -> int:
        """The `hash` of the id of the prompt at a position, which keeps its meaning while the runs grow."""
        return self.indexes[0].ids()[self._rows[0][position]]

    def position_of(self, prompt: int) -> int | None:
        """The position of a prompt, by the `hash` of its id; None if it is not among them."""
        ids = self.indexes[0].ids()
        return next((at for at, row in enumerate(self._rows[0]) if ids[row] == prompt), None)

    def rows(self, position: int) -> tuple[TreeRow, ...]:
        """The rows of a prompt in each run."""
        numbers = (rows[position] for rows in self._rows)
        return tuple(index.row(n) for index, n in zip(self.indexes, numbers, strict=True))

    def _matches(self, table: bytes) -> array[int]:
        return array("q", compress(range(len(self._values)), self._values.translate(table)))


class RunMarks:
    """The marks of one run's rows, read in slices and followed while the run grows."""

    def __init__(self, index: TreeIndex) -> None:
        self.index = index
        self.marks = bytearray()
        self.problem: str | None = None
        self._seen: tuple[int, RowCounts] | None = None
        """Number of rows, and their counts, when marks were last discarded."""
        self._throttle = Throttle()
        self._checked = float("-inf")
        self._changed = False

    def step(self, seconds: float) -> bool:
        """Mark rows for about so many seconds; returns whether all are marked."""
        deadline = time.monotonic() + seconds
        self._check_file()
        complete = self.index.summarise(seconds / 2)
        num_summarised = self.index.progress().summarised
        if complete:
            self._discard_changed()
        del self.marks[num_summarised:]
        while len(self.marks) < num_summarised:
            self.marks.append(mark_of(self.index.row(len(self.marks))))
            self._changed = True
            self._throttle.yield_cpu()
            if time.monotonic() > deadline:
                break
        return complete and len(self.marks) >= num_summarised

    def of(self, rows: array[int]) -> list[int]:
        """The marks of some rows."""
        marks = bytes(self.marks)
        return [marks[row] if row < len(marks) else 0 for row in rows]

    def take_changed(self) -> bool:
        """Whether a row was marked since the last call; resets the flag."""
        changed, self._changed = self._changed, False
        return changed

    def _check_file(self) -> None:
        if self.problem is None and time.monotonic() - self._checked > CHECK_SECONDS:
            self._checked = time.monotonic()
            try:
                self.index.refresh()
            except UsageError as error:
                self.problem = str(error)

    def _discard_changed(self) -> None:
        """Discard marks that may have changed: the last row, or all rows after an evaluation."""
        rows, counts = now = len(self.index), self.index.counts()
        before, self._seen = self._seen, now
        if before is None or now == before:
            return
        grown = rows - before[0]
        changed = counts.verified - before[1].verified > grown + 1
        del self.marks[0 if changed or not grown else max(before[0] - 1, 0) :]


def filter_tables(values: Sequence[str], shown: Mapping[Kind, Sequence[str]]) -> dict[str, bytes]:
    """The tables of `SharedPrompts`, by the names of the values in order, and those that each filter shows."""
    return {
        kind: bytes(at < len(values) and values[at] in names for at in range(256))
        for kind, names in shown.items()
    }


def mark_of(row: TreeRow) -> int:
    """A row's mark, which is never 0."""
    truth = 0 if row.truth is None else 1 if row.truth else 2
    return TRUTHS * _judged(row) + truth


def _judged(row: TreeRow) -> int:
    if not row.is_judged:
        return NOT_JUDGED
    return PASS if row.stop == "solved" else FAIL


def judged_passes(marks: tuple[int, ...]) -> tuple[tuple[bool, ...] | None, bool]:
    """Whether each run passes a prompt, None where that is unknown; and whether that is by ground truth.

    Raises
    ------
    ValueError
        A row is not read yet.
    """
    if not all(marks):
        raise ValueError("unread")
    sides = [divmod(mark, TRUTHS) for mark in marks]
    return agreed_passes(
        [truth == PASS if truth else None for _, truth in sides],
        [None if judged == NOT_JUDGED else judged == PASS for judged, _ in sides],
    )
