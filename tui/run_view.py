"""What the screens show of one run: the filtered and sorted trees, and the background work.

view = RunView.open(path, inputs)
view.show(Filter("unsolved"))       # at once, as far as known
view.work()                         # in a worker, twice a second: read, summarise, search
if view.is_stale():                 # there is something new
    view.update()
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Self

from spar.errors import UsageError
from spar.record.marks import Mark, MarkBook
from spar.record.outcomes import outcome_of, story
from spar.record.run_log import read_starts
from spar.record.run_outcomes import RunOutcomes
from spar.store import LOCK
from spar.types import SearchTree
from spar.view.node_detail import Annotations
from tui.index.query import MarkTerms, SlowPattern, query, split_marks
from tui.index.rows import Authority, Category, Filter, RowError, Sort, TreeRow
from tui.index.run_index import TreeIndex
from tui.index.run_summary import is_locked
from tui.inputs import Inputs
from tui.tables.dashboard import RunProgress
from tui.widgets.bars import seconds_text

SLICE_SECONDS = 0.05
"""Length of a slice of work; between slices, the worker checks whether to stop."""
CHECK_SECONDS = 0.5
"""How often a growing file is checked while there is other work."""
_FAILURES: tuple[Category, ...] = ("unsolved", "judge-wrong", "unjudged")
"""Categories with failures."""
STARRED, NOTED = "✱ ", "✎ "
"""Before a tree with a star, and before a note; `★` is the answer of a tree."""
MATCHES = 256
"""Matches in memory, a few screens of rows."""
COUNT_SECONDS = 1.0
"""How often rows are counted while reading, or when an evaluation's results may have changed them."""


@dataclass(frozen=True, slots=True)
class Match:
    """The first match of a search in a tree."""

    where: str
    """Where it is, such as `#2 ` for a response; empty for the prompt."""
    text: str
    start: int
    end: int


class RunView:
    """The shown trees of one run. Create it with `open`; call `work` in a worker, everything else in the UI thread."""

    def __init__(self, path: Path, index: TreeIndex, annotations: Annotations) -> None:
        self.path, self.index = path, index
        self.annotations = Annotations(index.check, annotations.render, index.graded)
        self.marks = MarkBook(path)
        """Stars and notes."""
        self.shown, self.sort = Filter(), Sort("number")
        self.numbers: array[int] = index.order(self.shown)
        """Numbers of the shown rows, in order."""
        self.problem: str | None = None
        """Why the file is no longer followed."""
        self.progress, self.counts = index.progress(), index.counts()
        """Progress and counts as of the last `update`."""
        self._counted = time.monotonic()
        self._match = lru_cache(MATCHES)(self._find_match)
        self._is_new = False
        """Whether another filter was set since the last `update`."""
        self._closed = False

    @classmethod
    def open(cls, path: Path, inputs: Inputs) -> Self:
        """Open a run directory or a file of trees; raises `UsageError` if it cannot be read."""
        directory = path if path.is_dir() else path.parent
        annotations = inputs.annotations_for(directory)
        index = TreeIndex.open(path, Authority(inputs.truth, annotations.check))
        return cls(path, index, annotations)

    @property
    def directory(self) -> Path:
        """The run directory."""
        return self.path if self.path.is_dir() else self.path.parent

    def show(self, shown: Filter) -> None:
        """Filter; raises `UsageError` for an invalid regular expression and changes nothing."""
        self.numbers = self._order(shown, self.sort)
        self.shown, self._is_new = shown, True

    def update(self) -> None:
        """Update what is shown."""
        self.progress, self.counts = self.index.progress(), self.index.counts()
        self._counted, self._is_new = time.monotonic(), False
        self.numbers = self._order(self.shown, self.sort)

    def num_starred(self) -> int:
        """Number of starred trees."""
        return sum(mark.star for mark in self.marks.all().values())

    def _order(self, shown: Filter, sort: Sort | None = None) -> array[int]:
        """As `TreeIndex.order`, with what the filter asks of marks."""
        terms, text = _split(shown)
        if shown.category == "starred":
            terms, shown = replace(terms, starred=True), replace(shown, category="all")
        numbers = self.index.order(replace(shown, text=text), sort)
        if not terms:
            return numbers
        marks = self.marks.all()
        meant = {
            hash(name)
            for name, mark in marks.items()
            if terms.match(star=mark.star, note=mark.note)
        }
        ids = self.index.ids()
        return array("q", (number for number in numbers if ids[number] in meant))

    def is_stale(self) -> bool:
        """Whether there is more than as of the last `update`."""
        if self._is_new:  # its search may end with the progress of the one before
            return True
        progress, recent = self.index.progress(), time.monotonic() - self._counted < COUNT_SECONDS
        if progress != self.progress:
            return progress.done or not recent
        if recent:
            return False
        self._counted = time.monotonic()
        return self.index.counts() != self.counts

    def totals(self) -> RunOutcomes:
        """What the searches did, as far as known."""
        return self.index.totals()

    def run_progress(self) -> RunProgress:
        """What the run did, how far it is, and how long it may still take."""
        totals, starts = self.totals(), read_starts(self.directory)
        seconds = None
        if starts and is_locked(self.directory / LOCK):
            seconds = starts[-1].seconds_left(totals.trees, datetime.now(UTC))
        return RunProgress(
            totals,
            starts[-1].total if starts else None,
            "" if seconds is None else seconds_text(seconds),
            is_reading=not self.progress.done,
        )

    def position_of(self, number: int) -> int | None:
        """The position of a row, or of the one that replaced it; None if it is not shown."""
        try:
            return self.numbers.index(self.index.last_of(number))
        except ValueError:
            return None

    def row(self, position: int) -> TreeRow:
        """The row at a position."""
        return self.index.row(self.numbers[position])

    def match(self, number: int) -> Match | None:
        """What the filter's text matched in a row; None without a text or while the row cannot be read."""
        terms, text = _split(self.shown)
        if text:
            return self._match(number, text, self.shown.regex)
        return self._match_in_note(number, terms.notes) if any(terms.notes) else None

    def mark(self, row: TreeRow) -> Mark:
        """The star and the note of a row's tree."""
        return self.marks.of(row.prompt_id) if row.error is None else Mark()

    def _find_match(self, number: int, text: str, regex: bool) -> Match | None:
        search_query = query(text, regex)
        with suppress(RowError, SlowPattern):
            tree = self.index.tree(number)
            turns = [("", turn.content) for turn in reversed(tree.prompt.messages)]
            answers = [(f"#{node.id} ", node.response) for node in tree.nodes]
            for where, content in (*turns, *answers, ("id ", tree.prompt.id)):
                if span := search_query.find(content):
                    return Match(where, content, *span)
        return None

    def _match_in_note(self, number: int, texts: Sequence[str]) -> Match | None:
        note, words = self.mark(self.index.row(number)).note, max(texts, key=len)
        span = query(words, False).find(note)
        return Match(NOTED, note, *span) if span else None

    def story(self, number: int) -> str:
        """What the search of a tree did, in one line; empty if the tree cannot be read. Any thread may call it."""
        with suppress(RowError):
            tree = self.index.tree(number)
            truth = self.index.row(number).truth
            return story(outcome_of(tree, self.index.check, graded=truth))
        return ""

    def failure(self, position: int, step: int) -> int | None:
        """The next position in a direction whose search failed; None if there is none."""
        candidates: set[int] = set()
        for category in _FAILURES:
            candidates.update(self._order(replace(self.shown, category=category)))
        positions = range(position + step, len(self.numbers) if step > 0 else -1, step)
        matches = (at for at in positions if self.numbers[at] in candidates)
        return next((at for at in matches if failed(self.row(at))), None)

    def none_text(self, what: str, step: int) -> str:
        """That there is none of something in a direction, or that it is not known yet."""
        where = "below" if step > 0 else "above"
        if self.index.progress().done:
            return f"no {what} {where}"
        return f"no {what} {where} so far: still reading the trees"

    def work(self) -> None:
        """Work until nothing is left or the view is closed."""
        checked = float("-inf")
        while not self._closed:
            if time.monotonic() - checked > CHECK_SECONDS:
                self._check_file()
                checked = time.monotonic()
            steps = [self.index.summarise(SLICE_SECONDS), self.index.search(SLICE_SECONDS)]
            if all(steps):
                return

    def close(self) -> None:
        """Stop the work and close the files."""
        self._closed = True
        self.index.close()

    def _check_file(self) -> None:
        if self.problem is None:
            try:
                self.index.refresh()
            except UsageError as error:
                self.problem = str(error).replace(str(self.index.path), self.index.path.name)


def searched_text(shown: Filter) -> str:
    """What a filter looks for in prompts and responses."""
    return _split(shown)[1]


def _split(shown: Filter) -> tuple[MarkTerms, str]:
    """What a filter's text asks of marks, and the rest of it; a regular expression asks nothing of them."""
    return (MarkTerms(), shown.text) if shown.regex else split_marks(shown.text)


def failed(row: TreeRow) -> bool:
    """Whether a search failed, by ground truth if it is known, else by the judge."""
    if row.judge_wrong or row.truth is not None:
        return row.judge_wrong or row.truth is False
    return row.is_judged and row.stop != "solved"


def tree_of(view: RunView, number: int) -> SearchTree | str:
    """The tree of a row, or the reason why there is none."""
    try:
        return view.index.tree(number)
    except RowError as error:
        return str(error)


def raw_text(view: RunView, number: int) -> str:
    """A row's line as text; empty if it cannot be read."""
    with suppress(RowError):
        return view.index.raw(number).decode("utf-8", "replace")
    return ""
