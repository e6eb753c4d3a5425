"""Compare two runs prompt by prompt.

    comparison = Comparison(TreeIndex.open("runs/greedy"), TreeIndex.open("runs/bfs"))
    while not comparison.work(0.05):          # in a worker, again when a run may have grown
        ...
    comparison.order("flips")                 # positions of prompts, in the order of the left run
    comparison.pair(position)                 # both rows and the outcome

Each side passes or fails by ground truth if it is known for both sides, else by whether its search was solved.
If one of them was not judged, as in greedy decoding, the outcome is unknown. No tree stays in memory: there
is one byte for each row and two row numbers for each prompt.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Literal, get_args

from spar.errors import UsageError
from tui.index.cooperative import Throttle
from tui.index.rows import RowCounts, TreeRow
from tui.index.run_index import TreeIndex, shared_rows

Outcome = Literal["unread", "unknown", "both", "left", "right", "neither"]
"""The sides that pass a prompt; `unread` while a tree has not been summarised."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
PairFilter = Literal["all", "flips", "left", "right", "both", "neither"]
"""Which prompts to show; `flips` are those that exactly one side passes."""
PAIR_FILTERS: tuple[PairFilter, ...] = get_args(PairFilter)

CHECK_SECONDS = 0.5
"""How often a file is checked for appended lines."""

_PASS, _FAIL, _NOT_JUDGED = 1, 2, 3
_TRUTHS = 3
_MARKS = 4 * _TRUTHS
"""Number of marks. A row's mark is its judgement times 3 plus its ground truth; 0 while it is unread."""


@dataclass(frozen=True, slots=True)
class PromptPair:
    """One prompt that both runs have."""

    left: TreeRow
    right: TreeRow
    outcome: Outcome
    by_truth: bool
    """Whether the outcome is by ground truth rather than by the judge."""


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """Number of prompts by outcome, as far as known."""

    shared: int = 0
    """Prompts that both runs have."""
    outcomes: Mapping[Outcome, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    by_truth: int = 0
    """Shared prompts whose outcome is by ground truth."""
    left_only: int = 0
    """Prompts that only the left run has."""
    right_only: int = 0
    done: bool = False
    """Whether both files are completely read."""

    @property
    def judged(self) -> int:
        """Shared prompts with a known outcome."""
        return sum(self.outcomes[name] for name in ("both", "left", "right", "neither"))


class Comparison:
    """Two runs on the same prompts. Call `work` in a worker, everything else in the UI thread."""

    def __init__(self, left: TreeIndex, right: TreeIndex) -> None:
        self.left, self.right = left, right
        self._sides = (_Side(left), _Side(right))
        # The rows of each shared prompt in both runs; `_rows` are those of the last `update`.
        self._found: tuple[array[int], array[int]] = (array("q"), array("q"))
        self._progress: tuple[tuple[int, bool], ...] = ()
        self._changes, self._updated_changes = 0, -1
        self._done = False
        self._rows = self._found
        self._outcomes = b""
        self.outcome_counts = OutcomeCounts()
        """All counts, as of the last `update`."""
        self.update()

    @property
    def problem(self) -> str | None:
        """Why one of the files is no longer followed."""
        return next((side.problem for side in self._sides if side.problem), None)

    def work(self, seconds: float = 0.05) -> bool:
        """Read for about so many seconds; returns whether everything is read."""
        progress = tuple((len(side.index), side.step(seconds / 2)) for side in self._sides)
        changes = [side.take_changed() for side in self._sides]  # a list: both must be called
        changed = any(changes)
        self._done = all(done for _, done in progress)
        if progress != self._progress or (changed and self._done):
            pairs = shared_rows(self.left, self.right)
            self._found = array("q", (a for a, _ in pairs)), array("q", (b for _, b in pairs))
            self._progress, changed = progress, True
        self._changes += changed
        return self._done

    def is_stale(self) -> bool:
        """Whether there is more than as of the last `update`."""
        return self._changes != self._updated_changes

    def update(self) -> None:
        """Update what is shown."""
        self._updated_changes = self._changes
        self._rows = lefts, rights = self._found
        marks = [
            _MARKS * a + b
            for a, b in zip(self._sides[0].of(lefts), self._sides[1].of(rights), strict=True)
        ]
        self._outcomes = bytes(map(_OUTCOMES.__getitem__, marks))
        self.outcome_counts = OutcomeCounts(
            len(marks),
            {name: self._outcomes.count(at) for at, name in enumerate(OUTCOMES)},
            sum(map(_BY_TRUTH.__getitem__, marks)),
            len(self.left) - len(set(lefts)),
            len(self.right) - len(set(rights)),
            self._done,
        )

    def order(self, kind: PairFilter = "all") -> array[int]:
        """Positions of the prompts that match a filter; of all prompts, those that flipped come first."""
        if kind == "all":
            return self._matches("flips") + self._matches("rest")
        return self._matches(kind)

    def _matches(self, kind: PairFilter | Literal["rest"]) -> array[int]:
        positions = range(len(self._outcomes))
        return array("q", compress(positions, self._outcomes.translate(_TABLES[kind])))

    def next_flip(self, positions: Sequence[int], line: int, step: int) -> int | None:
        """The next line of a table of positions, in a direction, whose prompt flipped; None if there is none."""
        flips = set(self.order("flips"))
        ahead = range(line + step, len(positions) if step > 0 else -1, step)
        return next((at for at in ahead if positions[at] in flips), None)

    def passes(self) -> list[tuple[bool, bool]]:
        """Whether the left and the right run pass, for each prompt with a known outcome."""
        return [_PASSES[outcome] for outcome in self._outcomes if outcome in _PASSES]

    def pair(self, position: int) -> PromptPair:
        """The prompt at a position."""
        numbers = self._rows[0][position], self._rows[1][position]
        left, right = self.left.row(numbers[0]), self.right.row(numbers[1])
        marks = _mark(left), _mark(right)
        return PromptPair(left, right, OUTCOMES[_outcome(*marks)], _by_truth(*marks))


def count_of(outcome_counts: OutcomeCounts, kind: PairFilter) -> int:
    """Number of prompts that match a filter."""
    if kind == "all":
        return outcome_counts.shared
    if kind == "flips":
        return outcome_counts.outcomes["left"] + outcome_counts.outcomes["right"]
    return outcome_counts.outcomes[kind]


class _Side:
    """The marks of one run's rows."""

    def __init__(self, index: TreeIndex) -> None:
        self.index = index
        self.marks = bytearray()
        self.problem: str | None = None
        self._counts: RowCounts | None = None
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
            self.marks.append(_mark(self.index.row(len(self.marks))))
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
        counts = self.index.counts()
        before, self._counts = self._counts, counts
        if before is None or counts == before:
            return
        grown = counts.rows - before.rows
        changed = counts.verified - before.verified > grown + 1
        del self.marks[0 if changed or not grown else max(before.rows - 1, 0) :]


def _mark(row: TreeRow) -> int:
    truth = 0 if row.truth is None else 1 if row.truth else 2
    return _TRUTHS * _judged(row) + truth


def _judged(row: TreeRow) -> int:
    if not row.is_judged:
        return _NOT_JUDGED
    return _PASS if row.stop == "solved" else _FAIL


def _outcome(left: int, right: int) -> int:
    """The index in `OUTCOMES` of two marks."""
    if not left or not right:
        return OUTCOMES.index("unread")
    (a, truth_a), (b, truth_b) = divmod(left, _TRUTHS), divmod(right, _TRUTHS)
    if truth_a and truth_b:
        a, b = truth_a, truth_b
    elif _NOT_JUDGED in (a, b):
        return OUTCOMES.index("unknown")
    names: Mapping[tuple[bool, bool], Outcome] = {
        (True, True): "both",
        (True, False): "left",
        (False, True): "right",
        (False, False): "neither",
    }
    return OUTCOMES.index(names[a == _PASS, b == _PASS])


def _by_truth(left: int, right: int) -> bool:
    return bool(left % _TRUTHS and right % _TRUTHS)


_ALL_MARKS = [(a, b) for a in range(_MARKS) for b in range(_MARKS)]
_OUTCOMES = bytes(_outcome(a, b) for a, b in _ALL_MARKS)
_BY_TRUTH = bytes(_by_truth(a, b) for a, b in _ALL_MARKS)

_PASSES: Mapping[int, tuple[bool, bool]] = {
    OUTCOMES.index("both"): (True, True),
    OUTCOMES.index("left"): (True, False),
    OUTCOMES.index("right"): (False, True),
    OUTCOMES.index("neither"): (False, False),
}
_FILTER_OUTCOMES: Mapping[PairFilter | Literal["rest"], tuple[Outcome, ...]] = {
    "all": OUTCOMES,
    "flips": ("left", "right"),
    "left": ("left",),
    "right": ("right",),
    "both": ("both",),
    "neither": ("neither",),
    "rest": ("unread", "unknown", "both", "neither"),
}
_TABLES = {
    kind: bytes(at < len(OUTCOMES) and OUTCOMES[at] in outcomes for at in range(256))
    for kind, outcomes in _FILTER_OUTCOMES.items()
}
