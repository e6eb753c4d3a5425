"""An index over `trees.jsonl` by byte offset: a gigabyte opens at once, a tree is parsed when it is looked at.

    index = TreeIndex.open("runs/a")          # the first lines are found
    index.rows(range(50))                     # the first screen
    while not index.summarise(0.05):          # in a worker: find all lines, then fill the columns
        ...
    index.order(Filter("faults"), Sort("score"))      # row numbers, in milliseconds
    while not index.search(0.05):             # in a worker, after an order with a text
        ...
    index.refresh()                           # in a worker, twice a second: what was appended

`summarise`, `search` and `refresh` are for workers and do a slice of work each; everything else is for the
thread that draws, and may be called meanwhile. Row i is line i + 1 of the file for ever. A line that holds
no tree is a row with an `error`.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from spar.errors import UsageError
from spar.record.evaluation import EXAMPLES, Verdict
from spar.store import TREES
from spar.types import SearchTree
from tui.index.columns import NO_ID, Columns
from tui.index.cooperative import Pace
from tui.index.examples import Examples
from tui.index.query import query
from tui.index.row_summary import LONGEST_LINE, parse
from tui.index.rows import (
    Counts,
    Filter,
    Progress,
    RowError,
    Sort,
    TreeRow,
    Truth,
    Vanished,
)
from tui.index.scan import Scan
from tui.index.search import Search
from tui.index.source import Source
from tui.index.summaries import Summaries

FIRST_SECONDS = 0.05
"""Most time that `open` spends on finding lines."""


class TreeIndex:
    """The trees of one run. Made by `open`."""

    path: Path
    """The file of trees."""
    vanished: Vanished | None
    """Why the file is not followed any more; what was found of it can still be read."""

    def __init__(self, path: Path, truth: Truth | None = None) -> None:
        self.path = path
        self.vanished = None
        self._columns, self._pace = Columns(), Pace()
        self._source: Source | None = None
        self._scan: Scan | None = None
        self._scanned = False
        self._examples = Examples(path.with_name(EXAMPLES), self._pace)
        self._summaries = Summaries(self._columns, self._examples, self._pace, truth)
        self._search: Search | None = None
        self._working = threading.Lock()

    @classmethod
    def open(cls, path: str | Path, *, truth: Truth | None = None) -> TreeIndex:
        """Open the trees of a run directory, or a file of trees.

        A run that has only just begun may have no file of trees; `refresh` finds it when it is there.

        Raises
        ------
        UsageError
            There is no such run or file, or it cannot be read.
        """
        path = Path(path)
        index = cls(path / TREES if path.is_dir() else path, truth)
        if not path.exists():
            raise UsageError(f"there is no {path}; expected a run directory or its {TREES}")
        if index._attach() and index._scan:
            index._find_lines(time.monotonic() + FIRST_SECONDS)
            index._scan.changed = 0
        return index

    def refresh(self) -> int:
        """See what was appended; returns how many rows are new, or stand for another line now.

        Raises
        ------
        Vanished
            The file was deleted, replaced, rewritten or cut short.
        """
        with self._working:
            if self.vanished:
                raise self.vanished
            if not self._attach() or self._scan is None:
                return 0
            try:
                self._scan.look()
            except Vanished as error:
                self.vanished = error
                raise
            self._summaries.use_examples(float("inf"))
            self._find_lines(time.monotonic() + FIRST_SECONDS)
            changed, self._scan.changed = self._scan.changed, 0
            return changed

    def summarise(self, seconds: float = 0.05) -> bool:
        """Work for about so long on what is not known of the rows; returns whether all is known."""
        deadline = time.monotonic() + seconds
        with self._working:
            if not self._attach() or self._source is None:
                return True
            if not self._find_lines(deadline):
                return False
            if not self._summaries.use_examples(deadline):
                return False
            return self._summaries.step(self._source, deadline)

    def search(self, seconds: float = 0.05) -> bool:
        """Look for the text of the last `order` for about so long; returns whether all was looked through."""
        search, source = self._search, self._source
        if search is None or source is None:
            return True
        return search.step(source, self._columns, self._pace, time.monotonic() + seconds)

    def __len__(self) -> int:
        """Rows found so far."""
        return len(self._columns)

    def row(self, number: int) -> TreeRow:
        """One row; a line that holds no tree has an `error`."""
        self._pace.visit()
        return self._summaries.row(number, self.raw)

    def rows(self, numbers: Iterable[int]) -> list[TreeRow]:
        """Several rows, such as those on the screen."""
        return [self.row(number) for number in numbers]

    def tree(self, number: int) -> SearchTree:
        """The tree of a row.

        Raises
        ------
        RowError
            The line holds none: the file, its line and why.
        """
        try:
            return parse(self.raw(number))
        except RowError as error:
            raise RowError(f"{self.path}:{number + 1}: {error}") from error

    def raw(self, number: int) -> bytes:
        """A row's line without its break.

        Raises
        ------
        RowError
            It is longer than is ever read, or gone.
        """
        self._pace.visit()
        start, length = self._columns.starts[number], self._columns.lengths[number]
        if length > LONGEST_LINE:
            raise RowError(f"a line of {length >> 20} MB is too long to show")
        data = self._source.read(start, length) if self._source else b""
        if len(data) < length:
            raise RowError("the file was cut short, the line is gone")
        return data

    def order(self, shown: Filter = Filter(), sort: Sort | None = None) -> array[int]:
        """Row numbers that pass a filter, in order, as far as is known by now.

        With a text, rows appear as `search` finds them. Rows without a value in the sorted column, or
        with one that is not known yet, come last.

        Raises
        ------
        UsageError
            The filter's text is no regular expression.
        """
        self._pace.visit()
        numbers = self._columns.select(shown.show)
        if shown.text:
            wanted = query(shown.text, shown.regex)
            if self._search is None or self._search.query != wanted:
                self._search = Search(wanted)
            numbers = self._search.among(numbers)
        else:
            self._search = None
        return self._columns.arrange(numbers, sort) if sort else numbers

    def find(self, prompt_id: str) -> int | None:
        """The row of a prompt, None where there is none, or its line was not found yet."""
        wanted, ids, number = hash(prompt_id), self._columns.ids, -1
        while True:
            try:
                number = ids.index(wanted, number + 1)
            except ValueError:
                return None
            if number < len(self) and self.row(number).prompt_id == prompt_id:
                return number

    def ids(self) -> array[int]:
        """The `hash` of every row's prompt id, -1 where it is not known (yet)."""
        return self._columns.ids[: len(self)]

    def verdicts(self, prompt_id: str) -> tuple[Verdict, ...]:
        """What an evaluation checked of the answer to a prompt; none where it was no evaluation."""
        return self._examples.verdicts(prompt_id)

    def counts(self) -> Counts:
        """Rows by what is known of them so far."""
        return self._columns.counts()

    def progress(self) -> Progress:
        """How far the work in the background is."""
        read, total = (
            (self._scan.read, self._source.size) if self._scan and self._source else (0, 0)
        )
        done = self._scanned and self._summaries.next >= len(self)
        searched = self._search.next if self._search else 0
        return Progress(len(self), self._summaries.next, read, max(read, total), searched, done)

    def close(self) -> None:
        """Let go of the files; rows that are not summarised cannot be read any more."""
        for file in (self._source, self._examples):
            if file:
                file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attach(self) -> bool:
        """Open the file where that has not been done; whether it is there."""
        if self._source is None and self.path.exists():
            self._source = Source(self.path)
            self._scan = Scan(self._source, self._columns, self._pace)
        return self._source is not None

    def _find_lines(self, deadline: float) -> bool:
        if self._scan is None or self.vanished:
            return True
        self._scanned = self._scan.step(deadline)
        if self._summaries.go_back() and (search := self._search):
            search.again_from(self._summaries.next)
        return self._scanned


def shared_rows(left: TreeIndex, right: TreeIndex) -> list[tuple[int, int]]:
    """Rows of two runs on the same prompts, in the order of the left one, as far as they are found."""
    ids = right.ids()
    rows = {ids[number]: number for number in range(len(ids) - 1, -1, -1)}
    rows.pop(NO_ID, None)
    return [(n, rows[key]) for n, key in enumerate(left.ids()) if key in rows]
