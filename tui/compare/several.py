"""Compare several runs prompt by prompt, for a table of prompts and runs.

    several = SeveralRuns([TreeIndex.open(path) for path in paths])
    while not several.work(0.05):             # in a worker, again when a run may have grown
        ...
    several.update()
    several.order("flips")                    # positions of prompts, in the order of the first run
    several.line(position)                    # the rows of a prompt, and which runs pass it
    several.passes()                          # for each run, the prompts whose outcome is known

The prompts are those that all of the runs have; `tui.compare.shared` says when a run passes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from tui.compare.shared import SharedPrompts, filter_tables, judged_passes, mark_of
from tui.index.rows import TreeRow
from tui.index.run_index import TreeIndex

Passing = Literal["unread", "unknown", "none", "one", "some", "all"]
"""How many of the runs pass a prompt; `some` is more than one, but not all."""
PASSING: tuple[Passing, ...] = get_args(Passing)
PromptFilter = Literal["all", "flips", "every", "none", "one"]
"""Which prompts to show: `flips` are those that some run passes and some run fails, `every` those that all pass."""


@dataclass(frozen=True, slots=True)
class PromptLine:
    """One prompt in all runs."""

    rows: tuple[TreeRow, ...]
    passes: tuple[bool, ...] | None
    """Whether each run passes it; None where that is not known of all."""
    by_truth: bool
    """Whether that is by ground truth rather than by the judge."""


@dataclass(frozen=True, slots=True)
class PromptCounts:
    """Numbers of prompts, as far as known."""

    shared: int = 0
    """Prompts that all runs have."""
    known: int = 0
    """Those of them for which it is known of all runs whether they pass."""
    by_truth: int = 0
    """Those of these that are known by ground truth."""
    alone: int = 0
    """Prompts of the first run that not all others have."""
    other_content: int = 0
    """Prompts whose id all runs have, not all with the same content."""
    done: bool = False
    """Whether all files are completely read."""


class SeveralRuns(SharedPrompts[PromptFilter]):
    """Several runs on the same prompts. Call `work` in a worker, everything else in the UI thread."""

    def __init__(self, indexes: Sequence[TreeIndex]) -> None:
        super().__init__(*indexes, tables=_TABLES)
        self._passes: list[tuple[bool, ...]] = []
        self.prompt_counts = PromptCounts()
        """As of the last `update`."""
        self.update()

    def update(self) -> None:
        """Update what is shown."""
        found = [_outcome(marks) for marks in zip(*self.take_marks(), strict=True)]
        self._values = bytes(kind for kind, _, _ in found)
        self._passes = [passes for _, passes, _ in found if passes]
        by_truth = sum(is_truth for _, passes, is_truth in found if passes)
        others = self.num_other_content
        alone = self.indexes[0].num_lasting - len(self._rows[0]) - others
        self.prompt_counts = PromptCounts(
            len(found), len(self._passes), by_truth, alone, others, self.is_read
        )

    def passes(self) -> list[list[bool]]:
        """For each run, whether it passes each prompt of which that is known in all runs."""
        return [[passes[run] for passes in self._passes] for run in range(len(self.indexes))]

    def line(self, position: int) -> PromptLine:
        """The prompt at a position."""
        rows = self.rows(position)
        passes, by_truth = judged_passes(tuple(map(mark_of, rows)))
        return PromptLine(rows, passes, by_truth)


@cache
def _outcome(marks: tuple[int, ...]) -> tuple[int, tuple[bool, ...] | None, bool]:
    """The index in `PASSING`, which runs pass, and whether that is by ground truth."""
    if not all(marks):
        return PASSING.index("unread"), None, False
    passes, by_truth = judged_passes(marks)
    return PASSING.index(_passing(passes)), passes, by_truth


def _passing(passes: tuple[bool, ...] | None) -> Passing:
    if passes is None:
        return "unknown"
    if all(passes):
        return "all"
    return ("none", "one", "some")[min(sum(passes), 2)]


_SHOWN: dict[PromptFilter, tuple[Passing, ...]] = {
    "all": PASSING,
    "flips": ("one", "some"),
    "every": ("all",),
    "none": ("none",),
    "one": ("one",),
}
_TABLES = filter_tables(PASSING, _SHOWN)
