"""An index of `trees.jsonl` by byte offset: a gigabyte opens at once, and a tree is parsed when it is viewed.

    index = TreeIndex.open("runs/a")          # finds the first lines
    index.rows(range(50))                     # the first screen
    while not index.summarise(0.05):          # in a worker: find all lines, then fill all columns
        ...
    index.order(Filter("faults"), Sort("score"))      # row numbers, in milliseconds
    while not index.search(0.05):             # in a worker, after `order` with a text
        ...
    index.refresh()                           # in a worker, twice a second: find appended lines

`summarise`, `search` and `refresh` each do a slice of work and are called by workers; everything else is called
by the UI thread, concurrently. Row i is always line i + 1 of the file. A line that is not a tree is a row with
an `error`. Of two rows of one prompt the last counts: the earlier one can be read by its number, but is in no order,
no count and no total.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from spar.errors import UsageError
from spar.record.evaluation import EXAMPLES
from spar.record.run_outcomes import RunOutcomes
from spar.store import TREES
from spar.types import Finding, Node, SearchTree
from tui.index.columns import NO_CONTENT, Columns
from tui.index.cooperative import Throttle
from tui.index.examples import Examples
from tui.index.last_rows import NO_ID
from tui.index.query import query
from tui.index.row_summary import MAX_LINE_BYTES, parse_tree
from tui.index.rows import (
    Authority,
    FileChanged,
    Filter,
    IndexProgress,
    RowCounts,
    RowError,
    Sort,
    TreeRow,
)
from tui.index.scan import Scan
from tui.index.search import Search
from tui.index.source import Source
from tui.index.summaries import Summaries

FIRST_SECONDS = 0.05
"""Time limit of `open` for finding lines, in seconds."""


class TreeIndex:
    """The trees of one run. Create it with `open`."""

    path: Path
    """The file of trees."""
    file_error: FileChanged | None
    """Why the file is no longer followed; the rows found so far can still be read."""

    def __init__(self, path: Path, authority: Authority = Authority()) -> None:
        self.path = path
        self.file_error = None
        self._columns, self._throttle = Columns(), Throttle()
        self._source: Source | None = None
        self._scan: Scan | None = None
        self._scanned = False
        self._examples = Examples(path.with_name(EXAMPLES), self._throttle)
        self._summaries = Summaries(self._columns, self._examples, self._throttle, authority)
        self._search: Search | None = None
        self._working = threading.Lock()

    @classmethod
    def open(cls, path: str | Path, authority: Authority = Authority()) -> TreeIndex:
        """Open the trees of a run directory, or a file of trees.

        A run that has just started may not have a file of trees yet; `refresh` opens it once it exists.

        Raises
        ------
        UsageError
            The run or file does not exist, or cannot be read.
        """
        path = Path(path)
        index = cls(path / TREES if path.is_dir() else path, authority)
        if not path.exists():
            raise UsageError(f"{path} does not exist; pass a run directory or its {TREES}")
        if index._open_file() and index._scan:
            index._scan_lines(time.monotonic() + FIRST_SECONDS)
            index._scan.changed = 0
        return index

    def refresh(self) -> int:
        """Find appended lines and return how many rows are new or changed.

        Raises
        ------
        Vanished
            The file was deleted, replaced, rewritten or truncated.
        """
        with self._working:
            if self.file_error:
                raise self.file_error
            if not self._open_file() or self._scan is None:
                return 0
            try:
                self._scan.check()
            except FileChanged as error:
                self.file_error = error
                raise
            self._summaries.read_examples(float("inf"))
            self._scan_lines(time.monotonic() + FIRST_SECONDS)
            changed, self._scan.changed = self._scan.changed, 0
            return changed

    def summarise(self, seconds: float = 0.05) -> bool:
        """Summarise rows for about so many seconds; returns whether all are summarised."""
        deadline = time.monotonic() + seconds
        with self._working:
            if not self._open_file() or self._source is None:
                return True
            if not self._scan_lines(deadline):
                return False
            if not self._summaries.read_examples(deadline):
                return False
            return self._summaries.step(self._source, deadline)

    def search(self, seconds: float = 0.05) -> bool:
        """Search for the text of the last `order` for about so many seconds; returns whether all rows are done."""
        search, source = self._search, self._source
        if search is None or source is None:
            return True
        return search.step(source, self._columns, self._throttle, time.monotonic() + seconds)

    def __len__(self) -> int:
        """Number of rows found so far."""
        return len(self._columns)

    @property
    def num_lasting(self) -> int:
        """Number of rows that no later row of the same prompt replaces, as far as known."""
        return len(self) - self._columns.last.num_replaced

    def row(self, number: int) -> TreeRow:
        """One row; a line that is not a tree has an `error`."""
        self._throttle.note_read()
        return self._summaries.row(number, self.raw)

    def rows(self, numbers: Iterable[int]) -> list[TreeRow]:
        """Several rows, such as those on screen."""
        return [self.row(number) for number in numbers]

    def tree(self, number: int) -> SearchTree:
        """The tree of a row.

        Raises
        ------
        RowError
            The line is not a tree; the message names the file, the line and the reason.
        """
        try:
            return parse_tree(self.raw(number))
        except RowError as error:
            raise RowError(f"{self.path}:{number + 1}: {error}") from error

    def raw(self, number: int) -> bytes:
        """A row's line without its line break.

        Raises
        ------
        RowError
            The line is longer than the limit, or no longer there.
        """
        self._throttle.note_read()
        start, length = self._columns.starts[number], self._columns.lengths[number]
        if length > MAX_LINE_BYTES:
            raise RowError(f"a line of {length >> 20} MB is too long to show")
        data = self._source.read(start, length) if self._source else b""
        if len(data) < length:
            raise RowError("the file was truncated; the line is no longer there")
        return data

    def order(self, shown: Filter = Filter(), sort: Sort | None = None) -> array[int]:
        """The numbers of the rows that match a filter, sorted, as far as they are known.

        With a text, rows are added as `search` finds them. Rows without a value for the sort key, or whose
        value is not known yet, come last.

        Raises
        ------
        UsageError
            The filter's text is not a valid regular expression.
        """
        self._throttle.note_read()
        numbers = self._columns.select(shown.category, shown.constraint, replaced=shown.replaced)
        if shown.text:
            search_query = query(shown.text, shown.regex)
            if self._search is None or self._search.query != search_query:
                self._search = Search(search_query)
            numbers = self._search.matching(numbers)
        else:
            self._search = None
        return self._columns.sort_rows(numbers, sort) if sort else numbers

    def find(self, prompt_id: str) -> int | None:
        """The row of a prompt, the last one; None if there is none, or its line has not been found yet."""
        columns, key, number = self._columns, hash(prompt_id), -1
        while True:
            try:
                number = columns.ids.index(key, number + 1)
            except ValueError:
                return None
            if columns.last.replaced[number] or number >= len(self):
                continue
            if self.row(number).prompt_id == prompt_id:
                return number

    def last_of(self, number: int) -> int:
        """The row that counts of the prompt of a row: the row itself unless a later one replaces it."""
        if not self._columns.last.replaced[number]:
            return number
        last = self.find(self.row(number).prompt_id)
        return number if last is None else last

    def ids(self) -> array[int]:
        """The `hash` of each row's prompt id, -1 while it is unknown."""
        return self._columns.ids[: len(self)]

    def content(self, number: int) -> int | None:
        """The `hash` of the digest of a row's prompt; None until the row is summarised."""
        content = self._columns.contents[number]
        return None if content == NO_CONTENT else content

    def check(self, tree: SearchTree, node: Node) -> Sequence[Finding]:
        """Ground truth of a response, constraint by constraint: of the verifiers, else of an evaluation's verdicts."""
        return self._summaries.check(tree, node)

    def totals(self) -> RunOutcomes:
        """What the searches of the run did, as far as known; the object is replaced, never changed."""
        return self._summaries.totals

    def graded(self, prompt_id: str) -> bool | None:
        """Whether the answer to a prompt passes, as an evaluation found; None for other runs."""
        return self._examples.passed.get(hash(prompt_id))

    def num_tokens(self) -> int:
        """Tokens generated for the trees that count, as far as known."""
        return self._columns.num_tokens()

    def counts(self) -> RowCounts:
        """Number of rows by category, as far as known."""
        return self._columns.counts()

    def progress(self) -> IndexProgress:
        """Progress of the background work."""
        read, total = (
            (self._scan.read, self._source.size) if self._scan and self._source else (0, 0)
        )
        return IndexProgress(
            rows=len(self),
            summarised=self._summaries.next,
            bytes_read=read,
            bytes_total=max(read, total),
            searched=self._search.next if self._search else 0,
            done=self._scanned and self._summaries.next >= len(self),
            replaced=self._columns.last.num_replaced,
            problem=self._search.problem if self._search else "",
        )

    def close(self) -> None:
        """Close the files; rows that are not summarised can no longer be read."""
        for file in (self._source, self._examples):
            if file:
                file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_file(self) -> bool:
        """Open the file unless it is open; returns whether it exists."""
        if self._source is None and self.path.exists():
            self._source = Source(self.path)
            self._scan = Scan(self._source, self._columns, self._throttle)
        return self._source is not None

    def _scan_lines(self, deadline: float) -> bool:
        if self._scan is None or self.file_error:
            return True
        self._scanned = self._scan.step(deadline)
        if self._summaries.rewind() and (search := self._search):
            search.restart_from(self._summaries.next)
        return self._scanned


def shared_rows(first: TreeIndex, *others: TreeIndex) -> list[tuple[int, ...]]:
    """The rows in each run of the prompts that all have, by id and content, in the order of the first run, as far as known."""
    indexes = (first, *others)
    return [rows for rows in rows_by_id(*indexes) if have_one_content(indexes, rows)]


def rows_by_id(first: TreeIndex, *others: TreeIndex) -> list[tuple[int, ...]]:
    """The rows in each run of the prompt ids that all have, whatever the prompts say, in the order of the first run."""
    own, *places = map(_last_rows, (first, *others))
    return sorted(
        (n, *(rows[key] for rows in places))
        for key, n in own.items()
        if all(key in rows for rows in places)
    )


def have_one_content(indexes: Sequence[TreeIndex], rows: Sequence[int]) -> bool:
    """Whether a row of each run is of one prompt, as far as known: files of prompts that number them share ids alone."""
    contents = {index.content(row) for index, row in zip(indexes, rows, strict=True)}
    return len(contents - {None}) <= 1


def _last_rows(index: TreeIndex) -> dict[int, int]:
    """The `hash` of a prompt's id to its row: of two trees of one prompt the last counts (`spar.tree_file`)."""
    rows = {key: number for number, key in enumerate(index.ids())}
    rows.pop(NO_ID, None)
    return rows
