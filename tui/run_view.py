"""One run as a person looks at it: which of its trees, in which order, and the work in the background.

view = RunView.open(path, inputs)
view.show(Filter("unsolved"))       # at once: what is known by now
view.work()                         # in a worker, twice a second: read on, summarise, search
if view.is_stale():                 # what is known has changed
    view.arrange()
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from spar.errors import UsageError
from spar.types import Node, SearchTree
from spar.view.node_detail import Annotations, ConstraintCheck
from tui.index.rows import Filter, RowError, Sort, TreeRow
from tui.index.run_index import TreeIndex
from tui.inputs import Inputs

SLICE_SECONDS = 0.05
"""Work between two looks at whether it is still wanted."""
LOOK_SECONDS = 0.5
"""How often a file that grows is looked at while there is other work."""
COUNT_SECONDS = 1.0
"""How often rows are counted: while much is read, and where an evaluation's outcomes change them."""


class RunView:
    """The trees of one run as they are shown. Made by `open`; `work` is for a worker, all else is not."""

    def __init__(self, path: Path, index: TreeIndex, annotations: Annotations) -> None:
        self.path, self.index = path, index
        self.annotations = Annotations(_with_examples(index, annotations), annotations.render)
        self.shown, self.sort = Filter(), Sort("number")
        self.numbers: array[int] = index.order(self.shown)
        """Numbers of the rows that are shown, in order."""
        self.problem: str | None = None
        """Why the file is not followed any more."""
        self.progress, self.counts = index.progress(), index.counts()
        """What was known when rows were arranged."""
        self._counted = time.monotonic()
        self._closed = False

    @classmethod
    def open(cls, path: Path, inputs: Inputs) -> Self:
        """Open a run directory or a file of trees; raises `UsageError` where it cannot be read."""
        directory = path if path.is_dir() else path.parent
        index = TreeIndex.open(path, truth=inputs.truth)
        return cls(path, index, inputs.annotations_for(directory))

    @property
    def directory(self) -> Path:
        """Where the run lives."""
        return self.path if self.path.is_dir() else self.path.parent

    def show(self, shown: Filter) -> None:
        """Filter; raises `UsageError` where a regular expression is none, and changes nothing then."""
        self.numbers = self.index.order(shown, self.sort)
        self.shown = shown

    def arrange(self) -> None:
        """Bring what is shown up to what is known."""
        self.progress, self.counts = self.index.progress(), self.index.counts()
        self._counted = time.monotonic()
        self.numbers = self.index.order(self.shown, self.sort)

    def is_stale(self) -> bool:
        """Whether more is known than when rows were arranged."""
        progress, recent = self.index.progress(), time.monotonic() - self._counted < COUNT_SECONDS
        if progress != self.progress:
            return progress.done or not recent
        if recent:
            return False
        self._counted = time.monotonic()
        return self.index.counts() != self.counts

    def place_of(self, number: int) -> int | None:
        """Where a row is shown, None where it is not."""
        try:
            return self.numbers.index(number)
        except ValueError:
            return None

    def row(self, place: int) -> TreeRow:
        """A row that is shown."""
        return self.index.row(self.numbers[place])

    def failure(self, place: int, step: int) -> int | None:
        """The next place in a direction whose search failed, None where there is none."""
        kinds = [self.index.order(replace(self.shown, show=k)) for k in ("unsolved", "judge-wrong")]
        candidates = set(kinds[0]) | set(kinds[1])
        places = range(place + step, len(self.numbers) if step > 0 else -1, step)
        found = (at for at in places if self.numbers[at] in candidates)
        return next((at for at in found if failed(self.row(at))), None)

    def work(self) -> None:
        """Do what there is to do until nothing is left, or the run is closed."""
        looked = float("-inf")
        while not self._closed:
            if time.monotonic() - looked > LOOK_SECONDS:
                self._look()
                looked = time.monotonic()
            steps = [self.index.summarise(SLICE_SECONDS), self.index.search(SLICE_SECONDS)]
            if all(steps):
                return

    def close(self) -> None:
        """End the work and let go of the files."""
        self._closed = True
        self.index.close()

    def _look(self) -> None:
        if self.problem is None:
            try:
                self.index.refresh()
            except UsageError as error:
                self.problem = str(error).replace(str(self.index.path), self.index.path.name)


def failed(row: TreeRow) -> bool:
    """Whether a search failed: by ground truth where it is known, else by the judge."""
    if row.judge_wrong or row.truth is not None:
        return row.judge_wrong or row.truth is False
    return row.error is None and row.stop != "solved"


def tree_of(view: RunView, number: int) -> SearchTree | str:
    """The tree of a row, or why there is none."""
    try:
        return view.index.tree(number)
    except RowError as error:
        return str(error)


def raw_text(view: RunView, number: int) -> str:
    """A row's line as text, as far as it can be read."""
    with suppress(RowError):
        return view.index.raw(number).decode("utf-8", "replace")
    return ""


def _with_examples(index: TreeIndex, annotations: Annotations) -> ConstraintCheck:
    """What a program says of a response; of an answer, else what an evaluation wrote down."""

    def verdicts(tree: SearchTree, node: Node) -> Sequence[tuple[str, bool]]:
        own = annotations.check(tree, node) if annotations.check else ()
        if own or node.id != tree.selected:
            return own
        kept = index.verdicts(tree.prompt.id)
        return [(one.name, one.passed) for one in kept if one.passed is not None]

    return verdicts
