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

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from tui.compare.shared import MARKS, SharedPrompts, filter_tables, judged_passes, mark_of
from tui.index.rows import TreeRow
from tui.index.run_index import TreeIndex

Outcome = Literal["unread", "unknown", "both", "left", "right", "neither"]
"""The sides that pass a prompt; `unread` while a tree has not been summarised."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
PairFilter = Literal["all", "flips", "left", "right", "both", "neither"]
"""Which prompts to show; `flips` are those that exactly one side passes."""


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
    other_content: int = 0
    """Prompts of each run whose id the other has with another content."""
    done: bool = False
    """Whether both files are completely read."""

    @property
    def judged(self) -> int:
        """Shared prompts with a known outcome."""
        return sum(self.outcomes[name] for name in ("both", "left", "right", "neither"))


class Comparison(SharedPrompts[PairFilter]):
    """Two runs on the same prompts. Call `work` in a worker, everything else in the UI thread."""

    def __init__(self, left: TreeIndex, right: TreeIndex) -> None:
        super().__init__(left, right, tables=_TABLES)
        self.left, self.right = left, right
        self.outcome_counts = OutcomeCounts()
        """All counts, as of the last `update`."""
        self.update()

    def update(self) -> None:
        """Update what is shown."""
        marks = [MARKS * a + b for a, b in zip(*self.take_marks(), strict=True)]
        lefts, rights = self._rows
        self._values = bytes(map(_OUTCOMES.__getitem__, marks))
        self.outcome_counts = OutcomeCounts(
            len(marks),
            {name: self._values.count(at) for at, name in enumerate(OUTCOMES)},
            sum(map(_BY_TRUTH.__getitem__, marks)),
            self.left.num_lasting - len(lefts) - self.num_other_content,
            self.right.num_lasting - len(rights) - self.num_other_content,
            self.num_other_content,
            self.is_read,
        )

    def passes(self) -> list[list[bool]]:
        """For the left and the right run, whether it passes each prompt with a known outcome."""
        known = [_PASSES[outcome] for outcome in self._values if outcome in _PASSES]
        return [[passes[side] for passes in known] for side in (0, 1)]

    def pair(self, position: int) -> PromptPair:
        """The prompt at a position."""
        left, right = self.rows(position)
        marks = mark_of(left), mark_of(right)
        return PromptPair(left, right, OUTCOMES[_outcome(*marks)], _by_truth(*marks))


def _outcome(left: int, right: int) -> int:
    """The index in `OUTCOMES` of two marks."""
    if not left or not right:
        return OUTCOMES.index("unread")
    passes, _ = judged_passes((left, right))
    return OUTCOMES.index(_NAMES[passes])


def _by_truth(left: int, right: int) -> bool:
    return bool(left and right and judged_passes((left, right))[1])


_NAMES: Mapping[tuple[bool, ...] | None, Outcome] = {
    None: "unknown",
    (True, True): "both",
    (True, False): "left",
    (False, True): "right",
    (False, False): "neither",
}
_ALL_MARKS = [(a, b) for a in range(MARKS) for b in range(MARKS)]
_OUTCOMES = bytes(_outcome(a, b) for a, b in _ALL_MARKS)
_BY_TRUTH = bytes(_by_truth(a, b) for a, b in _ALL_MARKS)

_PASSES = {OUTCOMES.index(name): passes for passes, name in _NAMES.items() if passes}
_SHOWN: Mapping[PairFilter, tuple[Outcome, ...]] = {
    "all": OUTCOMES,
    "flips": ("left", "right"),
    "left": ("left",),
    "right": ("right",),
    "both": ("both",),
    "neither": ("neither",),
}
_TABLES = filter_tables(OUTCOMES, _SHOWN)
