"""One run as the page asks for it: rows as they are found, totals so far, trees, and searches.

    run = LiveRun("runs/mine", inputs)
    run.rows(0)                     # {"rows": [...], "totals": {...}, "done": False, ...}, at once
    run.tree(3)
    run.search("comma", 0)

A thread reads the file of trees through `TreeIndex`, from its first line on, and follows it while it grows. Row i is
line i + 1 of the file. If the file is replaced, or an evaluation's verdicts come, everything is read again under a
new generation. A last line that is still being written is skipped, as by every reader.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from spar.errors import UsageError
from spar.export.page.run_data import RunFacts, run_facts, totals_data
from spar.export.page.run_page import facts_data, marks_data
from spar.export.page.tree_data import Json, bad_row_data, row_data, tree_data
from spar.files import file_stamp
from spar.record.evaluation import EXAMPLES
from spar.record.grades import once
from spar.record.marks import MarkBook
from spar.record.outcomes import Outcome, outcome_of
from spar.record.run_outcomes import RunOutcomes
from spar.types import SearchTree
from spar.view.node_detail import Annotations
from tui.index.cooperative import Throttle
from tui.index.rows import Authority, Filter, RowError
from tui.index.run_index import TreeIndex
from tui.index.run_summary import read_run

ROWS = 2_000
"""Rows in one answer."""
CHECK_SECONDS = 0.5
"""How often a file is checked that has been read."""
STATUS_SECONDS = 1.0
"""How often the state of the run is read."""
PAUSE_SECONDS = 0.002
"""How long the thread that makes rows waits before it looks again whether an answer is being made."""
SEARCH_SECONDS = 0.3
"""How long one answer of a search looks."""


class LiveRun:
    """A run that is read while the page shows it. Any thread may call its methods."""

    def __init__(self, path: Path, annotations_for: Callable[[Path], Annotations]) -> None:
        self.path = path
        self.directory = path if path.is_dir() else path.parent
        self._annotations = annotations_for(self.directory)
        self._marks = MarkBook(path)
        self._lock = threading.Lock()
        self._searching = threading.Lock()
        self._counting = threading.Lock()
        self._readers = 0
        """Trees and searches that are being answered."""
        self._throttle = Throttle()
        self._closed = threading.Event()
        self._generation = 0
        self._open()
        self._status = ("", float("-inf"))
        self._started = (time.monotonic(), 0)
        self._thread = threading.Thread(target=self._work, name=f"view {path.name}", daemon=True)
        self._thread.start()

    def rows(self, start: int, generation: str = "") -> Json:
        """The rows from `start` on, at most `ROWS`; from the first one if the page has another generation."""
        with self._lock:
            self._marks.refresh()
            current = f"{id(self):x}-{self._generation}"
            start = start if generation == current else 0
            rows = self._rows[start : start + ROWS]
            done = self._done and start + len(rows) == len(self._rows)
            return {
                "generation": current,
                "from": start,
                "rows": rows,
                "totals": totals_data(self._totals),
                "status": self._state(),
                "done": done,
                "complete": start + len(rows) == len(self._rows),
                "problem": self._problem,
                "marks": marks_data(self._marks.all()),
                **({"facts": facts_data(self._facts)} if start == 0 else {}),
            }

    def tree(self, number: int) -> Json:
        """Everything about a tree.

        Raises
        ------
        UsageError
            There is no such row, or its line is not a tree.
        """
        if not 0 <= number < len(self._index):
            raise UsageError(f"{self.path.name} has no tree {number}")
        with self._reading():
            tree = self._index.tree(number)
            check = once(self._index.check)
            outcome = outcome_of(tree, check, graded=self._index.graded(tree.prompt.id))
            return tree_data(tree, outcome, number, Annotations(check, self._annotations.render))

    def search(self, text: str, start: int) -> Json:
        """The numbers of the rows with a text, after the first `start` that were found, as far as it has come."""
        with self._searching, self._reading():
            shown = Filter(text=text, replaced=True)  # so that none of those before `start` goes
            self._index.order(shown)
            done = self._index.search(SEARCH_SECONDS)
            numbers = self._index.order(shown)[start:].tolist()
        return {"numbers": numbers, "next": start + len(numbers), "done": done}

    def close(self) -> None:
        """Stop reading and close the files."""
        self._closed.set()
        self._thread.join(timeout=5)
        self._index.close()

    def _open(self) -> None:
        self._index = TreeIndex.open(self.path, Authority(check=self._annotations.check))
        self._facts: RunFacts = run_facts(self.path)
        self._rows: list[Json] = []
        self._totals = RunOutcomes()
        self._last: dict[str, int] = {}
        """Prompt id to its last row that is a tree."""
        self._done, self._problem = False, ""
        self._stamp = file_stamp(self.directory / EXAMPLES)

    def _work(self) -> None:
        while not self._closed.is_set():
            try:
                is_changed = self._index.refresh() > 0 or self._index.progress().bytes_read == 0
            except UsageError as error:
                self._reopen(str(error))
                continue
            if self._stamp != file_stamp(self.directory / EXAMPLES):
                self._reopen("")
                continue
            has_new = self._read_rows()
            self._done = not has_new and not is_changed
            if not has_new:
                self._closed.wait(CHECK_SECONDS)

    def _read_rows(self) -> bool:
        """Make the rows of the lines found so far; returns whether there were any."""
        before = len(self._rows)
        while len(self._rows) < len(self._index) and not self._closed.is_set():
            number = len(self._rows)
            try:
                tree = self._index.tree(number)
            except RowError as error:
                if number == len(self._index) - 1:
                    break  # it may still be written
                row, outcome = bad_row_data(str(error), number), None
            else:
                outcome = self._outcome(tree)
                row = row_data(tree, outcome, number)
            replaced = self._replaced_by(outcome, number) if outcome else None
            with self._lock:
                self._rows.append(row)
                if outcome is not None:
                    self._totals.add(outcome)
                if replaced is not None:
                    self._totals.remove(replaced)
            self._throttle.yield_cpu()
            while self._readers and not self._closed.wait(PAUSE_SECONDS):
                pass  # a page waits for an answer
        return len(self._rows) > before

    def _replaced_by(self, outcome: Outcome, number: int) -> Outcome | None:
        """What the totals have of an earlier tree of the prompt of a row; its line is read again."""
        earlier = self._last.get(outcome.prompt_id)
        self._last[outcome.prompt_id] = number
        if earlier is not None:
            with suppress(RowError):
                return self._outcome(self._index.tree(earlier))
        return None

    def _reopen(self, problem: str) -> None:
        """Read everything again: the file is another one, or its answers have been graded."""
        self._closed.wait(CHECK_SECONDS)
        with self._lock, self._searching:
            index = self._index
            try:
                self._open()
            except UsageError:
                self._problem = problem
                return
            self._generation += 1
            index.close()

    def _outcome(self, tree: SearchTree) -> Outcome:
        return outcome_of(tree, self._index.check, graded=self._index.graded(tree.prompt.id))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Let the thread that makes rows wait: only one thread runs Python at a time."""
        with self._counting:
            self._readers += 1
        try:
            yield
        finally:
            with self._counting:
                self._readers -= 1

    def _state(self) -> str:
        """What the run is doing, with the time left where it can be said."""
        state, since = self._status
        now = time.monotonic()
        if now - since > STATUS_SECONDS:
            summary = read_run(self.directory) if self.path.is_dir() else None
            state = summary.state if summary else ""
            expected = summary.expected if summary else None
            if state == "running" and expected:
                state += self._time_left(expected, now)
            self._status = (state, now)
        return state

    def _time_left(self, expected: int, now: float) -> str:
        begun, first = self._started
        trees = self._totals.trees
        if not self._done:
            return ""
        if not first:
            self._started = (now, trees)
            return ""
        if trees <= first or expected <= trees:
            return ""
        seconds = (expected - trees) * (now - begun) / (trees - first)
        return f", about {max(1, round(seconds / 60))} min left"


def page_data(name: str, home: str, live: str) -> dict[str, Any]:
    """What the page of a served run reads first."""
    return {"name": name, "facts": [], "live": live, "home": home}
