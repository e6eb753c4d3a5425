"""Two runs side by side, prompt by prompt: what each came to, and where they differ.

    comparison = Comparison(TreeIndex.open("runs/greedy"), TreeIndex.open("runs/bfs"))
    while not comparison.work(0.05):          # in a worker, again whenever a run may have grown
        ...
    comparison.order("flips")                 # places of prompts, in the order of the left run
    comparison.pair(place)                    # both rows, and what they came to

A side passes a prompt by ground truth where that is known of both sides, else where its search was solved.
Where one of them was not judged, as greedy decoding is not, what the pair came to is not known. No tree is
held: a byte a row says what it came to, and two numbers a prompt which rows it has.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import compress
from typing import Literal, get_args

from spar.errors import UsageError
from tui.index.cooperative import Pace
from tui.index.rows import Counts, TreeRow
from tui.index.run_index import TreeIndex, shared_rows

Outcome = Literal["unread", "unknown", "both", "left", "right", "neither"]
"""What a pair came to: the sides that pass. `unread`: at least one tree was not looked at yet."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
Kind = Literal["all", "flips", "left", "right", "both", "neither"]
"""Which prompts to show; `flips` are those that exactly one side passes."""
KINDS: tuple[Kind, ...] = get_args(Kind)

LOOK_SECONDS = 0.5
"""How often a file is looked at for what was appended."""

_PASS, _FAIL, _NOT_JUDGED = 1, 2, 3
_TRUTHS = 3
_MARKS = 4 * _TRUTHS
"""Marks of a row: what the judge said, times 3, plus the ground truth; 0 while it was not looked at."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt that both runs have."""

    left: TreeRow
    right: TreeRow
    outcome: Outcome
    by_truth: bool
    """Whether ground truth decided, and not the judge."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Prompts by what became of them, as far as is known."""

    shared: int = 0
    """Prompts that both runs have."""
    outcomes: Mapping[Outcome, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    by_truth: int = 0
    """Shared prompts that ground truth decides."""
    left_alone: int = 0
    """Prompts that only the left run has."""
    right_alone: int = 0
    done: bool = False
    """Whether everything that is in both files was looked at."""

    @property
    def known(self) -> int:
        """Shared prompts of which it is known what they came to."""
        return sum(self.outcomes[name] for name in ("both", "left", "right", "neither"))


class Comparison:
    """Two runs on the same prompts. `work` is for a worker, all else for the thread that draws."""

    def __init__(self, left: TreeIndex, right: TreeIndex) -> None:
        self.left, self.right = left, right
        self._sides = (_Side(left), _Side(right))
        # Of each prompt its row in the left run and in the right one: as found, and as shown.
        self._found: tuple[array[int], array[int]] = (array("q"), array("q"))
        self._known: tuple[tuple[int, bool], ...] = ()
        self._changes, self._arranged = 0, -1
        self._done = False
        self._rows = self._found
        self._outcomes = b""
        self.tally = Tally()
        """All counts, as of the last `arrange`."""
        self.arrange()

    @property
    def problem(self) -> str | None:
        """Why one of the files is not followed any more."""
        return next((side.problem for side in self._sides if side.problem), None)

    def work(self, seconds: float = 0.05) -> bool:
        """Work for about so long on what is not known yet; returns whether all is known."""
        known = tuple((len(side.index), side.step(seconds / 2)) for side in self._sides)
        taken = [
            side.take_changed() for side in self._sides
        ]  # of both, whatever the first one says
        changed = any(taken)
        self._done = all(done for _, done in known)
        if known != self._known or (changed and self._done):
            pairs = shared_rows(self.left, self.right)
            self._found = array("q", (a for a, _ in pairs)), array("q", (b for _, b in pairs))
            self._known, changed = known, True
        self._changes += changed
        return self._done

    def is_stale(self) -> bool:
        """Whether more is known than when prompts were arranged."""
        return self._changes != self._arranged

    def arrange(self) -> None:
        """Bring what is shown up to what is known."""
        self._arranged = self._changes
        self._rows = lefts, rights = self._found
        marks = [
            _MARKS * a + b
            for a, b in zip(self._sides[0].of(lefts), self._sides[1].of(rights), strict=True)
        ]
        self._outcomes = bytes(map(_OUTCOMES.__getitem__, marks))
        self.tally = Tally(
            len(marks),
            {name: self._outcomes.count(at) for at, name in enumerate(OUTCOMES)},
            sum(map(_BY_TRUTH.__getitem__, marks)),
            len(self.left) - len(set(lefts)),
            len(self.right) - len(set(rights)),
            self._done,
        )

    def order(self, kind: Kind = "all") -> array[int]:
        """Places of the prompts of one kind."""
        places = range(len(self._outcomes))
        return array("q", compress(places, self._outcomes.translate(_TABLES[kind])))

    def pair(self, place: int) -> Pair:
        """The prompt at a place; its rows are read where they are not known yet."""
        numbers = self._rows[0][place], self._rows[1][place]
        left, right = self.left.row(numbers[0]), self.right.row(numbers[1])
        marks = _mark(left), _mark(right)
        return Pair(left, right, OUTCOMES[_outcome(*marks)], _by_truth(*marks))


def num_of(tally: Tally, kind: Kind) -> int:
    """How many prompts there are of a kind."""
    if kind == "all":
        return tally.shared
    if kind == "flips":
        return tally.outcomes["left"] + tally.outcomes["right"]
    return tally.outcomes[kind]


def is_judged(row: TreeRow) -> bool:
    """Whether a judge had a say: an answer without a score and without a fault was given to none."""
    return row.error is None and (row.score is not None or not row.num_nodes or bool(row.faults))


class _Side:
    """What the rows of one run came to."""

    def __init__(self, index: TreeIndex) -> None:
        self.index = index
        self.marks = bytearray()
        self.problem: str | None = None
        self._counts: Counts | None = None
        self._pace = Pace()
        self._looked = float("-inf")
        self._changed = False

    def step(self, seconds: float) -> bool:
        """Look at rows for about so long; whether every row was looked at."""
        deadline = time.monotonic() + seconds
        self._look()
        whole = self.index.summarise(seconds / 2)
        known = self.index.progress().summarised
        if whole:
            self._forget_changed()
        del self.marks[known:]
        while len(self.marks) < known:
            self.marks.append(_mark(self.index.row(len(self.marks))))
            self._changed = True
            self._pace.breathe()
            if time.monotonic() > deadline:
                break
        return whole and len(self.marks) >= known

    def of(self, rows: array[int]) -> list[int]:
        """The marks of some rows."""
        marks = bytes(self.marks)
        return [marks[row] if row < len(marks) else 0 for row in rows]

    def take_changed(self) -> bool:
        """Whether a row was looked at since the last call."""
        changed, self._changed = self._changed, False
        return changed

    def _look(self) -> None:
        if self.problem is None and time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            try:
                self.index.refresh()
            except UsageError as error:
                self.problem = str(error)

    def _forget_changed(self) -> None:
        """Look again at what may say something else by now: the last line, or all by an evaluation."""
        counts = self.index.counts()
        before, self._counts = self._counts, counts
        if before is None or counts == before:
            return
        grown = counts.rows - before.rows
        told = counts.truths - before.truths > grown + 1
        del self.marks[0 if told or not grown else max(before.rows - 1, 0) :]


def _mark(row: TreeRow) -> int:
    truth = 0 if row.truth is None else 1 if row.truth else 2
    return _TRUTHS * _judged(row) + truth


def _judged(row: TreeRow) -> int:
    if not is_judged(row):
        return _NOT_JUDGED
    return _PASS if row.stop == "solved" else _FAIL


def _outcome(left: int, right: int) -> int:
    """Place in `OUTCOMES` of two marks."""
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

_WANTED: Mapping[Kind, tuple[Outcome, ...]] = {"all": OUTCOMES, "flips": ("left", "right")}
_TABLES = {
    kind: bytes(
        at < len(OUTCOMES) and OUTCOMES[at] in _WANTED.get(kind, (kind,)) for at in range(256)
    )
    for kind in KINDS
}
