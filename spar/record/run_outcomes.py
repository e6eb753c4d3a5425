"""What a run did: `spar.record.outcomes` of its trees, added up tree by tree.

totals = RunOutcomes()
totals.add(outcome_of(tree, check))
totals.remove(outcome_of(earlier, check))      # of two trees of one prompt, the last counts
totals.shown.before.value, totals.shown.after.value, totals.shown.gain
totals.changes["fixed"], totals.judge_wrong, totals.failing_types(), totals.score_by_depth()
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from spar.record.outcomes import Change, Outcome
from spar.types import ROLES, Role, Stop, Usage


@dataclass(frozen=True, slots=True)
class Share:
    """A share of independent yes-or-no outcomes."""

    hits: int = 0
    n: int = 0

    @property
    def value(self) -> float | None:
        """In [0, 1]; None without outcomes."""
        return self.hits / self.n if self.n else None

    @property
    def stderr(self) -> float | None:
        """Standard error; None with fewer than two outcomes."""
        return share_stderr(self.hits / self.n, self.n) if self.n else None

    def plus(self, hit: bool | None, times: int = 1) -> Share:
        """With one more outcome, or one less where `times` is -1; None is none."""
        return self if hit is None else Share(self.hits + times * hit, self.n + times)


@dataclass(slots=True)
class BeforeAfter:
    """First drafts and answers of the same prompts."""

    before: Share = Share()
    """First drafts that pass."""
    after: Share = Share()
    """Answers that pass."""
    fixed: int = 0
    broken: int = 0

    @property
    def gain(self) -> tuple[float, float | None] | None:
        """After minus before, and its standard error over the prompts, None with one prompt; None without prompts."""
        if not (n := self.after.n):
            return None
        gain = (self.fixed - self.broken) / n
        if n == 1:
            return gain, None
        return gain, math.sqrt(((self.fixed + self.broken) / n - gain**2) / (n - 1))

    def add(self, before: bool | None, after: bool | None, times: int = 1) -> None:
        """Count a prompt, or take it back where `times` is -1, unless one of the two is not known."""
        if before is None or after is None:
            return
        self.before, self.after = self.before.plus(before, times), self.after.plus(after, times)
        self.fixed += times * (after and not before)
        self.broken += times * (before and not after)


@dataclass(slots=True)
class ConstraintTotals:
    """How often constraints of one type fail."""

    n: int = 0
    """Constraints of the type, in all prompts."""
    before: int = 0
    """Those that the first draft does not meet."""
    after: int = 0
    """Those that the answer does not meet."""


@dataclass(frozen=True, slots=True)
class DepthScore:
    """The best scores that searches reached within a depth."""

    depth: int
    reached: int
    """Trees with a judged node at this depth."""
    mean: float
    """Mean of the best score at this depth or above over all judged trees, also those that ended earlier."""
    stderr: float | None
    """None with fewer than two trees."""


@dataclass(slots=True)
class RunOutcomes:
    """The totals of a run, added up tree by tree."""

    trees: int = 0
    unjudged: int = 0
    """Trees that no judge was called for; they are neither solved nor unsolved."""
    unanswered: int = 0
    faulty: int = 0
    """Trees with a fault."""
    nodes: int = 0
    refinements: int = 0
    seconds: float = 0.0
    """Sum of the searches' times, which overlap."""
    stops: Counter[Stop] = field(default_factory=Counter)
    """Of the judged trees."""
    changes: Counter[Change] = field(default_factory=Counter)
    """Of the trees for which it is known: by ground truth where there is one, else by the judge."""
    shown: BeforeAfter = field(default_factory=lambda: BeforeAfter())
    """By ground truth where it is known, else by the judge: what `changes` counts."""
    by_truth: BeforeAfter = field(default_factory=lambda: BeforeAfter())
    by_judge: BeforeAfter = field(default_factory=lambda: BeforeAfter())
    too_lenient: int = 0
    """Answers that the judge passed and ground truth does not."""
    too_strict: int = 0
    """Answers that ground truth passes and the judge did not."""
    compared: int = 0
    """Answers with both verdicts."""
    constraints: dict[str, ConstraintTotals] = field(default_factory=dict)
    """By constraint type."""
    roles: dict[Role, Usage] = field(default_factory=lambda: dict.fromkeys(ROLES, Usage()))
    _reached: list[int] = field(default_factory=list)
    _steps: list[tuple[float, float]] = field(default_factory=list)
    """By depth, how much the best scores and their squares grow there, summed over trees."""

    @property
    def judge_wrong(self) -> int:
        """Answers on which judge and ground truth disagree."""
        return self.too_lenient + self.too_strict

    @property
    def solved(self) -> int:
        """Trees of which the judge passed a node."""
        return self.stops["solved"]

    @property
    def usage(self) -> Usage:
        """Cost of all roles together."""
        return sum(self.roles.values(), Usage())

    def add(self, outcome: Outcome) -> None:
        """Count one tree."""
        self._count(outcome, 1)

    def remove(self, outcome: Outcome) -> None:
        """Take back a tree that was counted."""
        self._count(outcome, -1)

    def failing_types(self) -> list[tuple[str, ConstraintTotals]]:
        """Constraint types, those that fail most in answers first, then in drafts."""
        return sorted(
            self.constraints.items(), key=lambda item: (-item[1].after, -item[1].before, item[0])
        )

    def score_by_depth(self) -> list[DepthScore]:
        """The best score within each depth; a tree that ended earlier counts with its last one."""
        n, total, squares, scores = (self._reached or [0])[0], 0.0, 0.0, []
        for depth, (reached, step) in enumerate(zip(self._reached, self._steps, strict=True)):
            total, squares = total + step[0], squares + step[1]
            variance = max(squares / n - (total / n) ** 2, 0.0)
            stderr = math.sqrt(variance / (n - 1)) if n > 1 else None
            scores.append(DepthScore(depth, reached, total / n, stderr))
        return scores

    def _count(self, outcome: Outcome, times: int) -> None:
        self.trees += times
        self.unjudged += times * (not outcome.is_judged)
        self.unanswered += times * (outcome.after.node is None)
        self.faulty += times * bool(outcome.faults)
        self.nodes += times * outcome.nodes
        self.refinements += times * outcome.refinements
        self.seconds += times * outcome.seconds
        if outcome.is_judged:
            _add_to(self.stops, outcome.stop, times)
        if outcome.change is not None:
            _add_to(self.changes, outcome.change, times)
        self.shown.add(outcome.before.passes, outcome.after.passes, times)
        self.by_truth.add(outcome.before.truth, outcome.after.truth, times)
        self.by_judge.add(outcome.before.judge, outcome.after.judge, times)
        self.compared += times * (None not in (outcome.after.judge, outcome.after.truth))
        self.too_lenient += times * (outcome.judge_wrong and outcome.after.judge is True)
        self.too_strict += times * (outcome.judge_wrong and outcome.after.judge is False)
        for role, usage in outcome.roles.items():
            self.roles[role] = self.roles[role] + usage if times > 0 else self.roles[role] - usage
        self._count_constraints(outcome, times)
        self._count_scores(outcome.best_scores, times)

    def _count_constraints(self, outcome: Outcome, times: int) -> None:
        for finding in outcome.after.findings:
            totals = self.constraints.setdefault(finding.type, ConstraintTotals())
            totals.n += times
            totals.after += times * (not finding.met)
        for finding in outcome.before.failing:
            self.constraints.setdefault(finding.type, ConstraintTotals()).before += times
        if times < 0:
            for finding in (*outcome.after.findings, *outcome.before.failing):
                if self.constraints.get(finding.type) == ConstraintTotals():
                    del self.constraints[finding.type]

    def _count_scores(self, best_scores: Sequence[float], times: int) -> None:
        last = 0.0
        for depth, score in enumerate(best_scores):
            if depth == len(self._steps):
                self._reached.append(0)
                self._steps.append((0.0, 0.0))
            total, squares = self._steps[depth]
            self._reached[depth] += times
            grown, squared = score - last, score**2 - last**2
            self._steps[depth] = total + times * grown, squares + times * squared
            last = score
        while self._reached and not self._reached[-1]:
            self._reached.pop()
            self._steps.pop()


def _add_to(counter: Counter[Any], key: str, times: int) -> None:
    counter[key] += times
    if not counter[key]:
        del counter[key]


def share_stderr(share: float, n: int) -> float | None:
    """Standard error of a share of `n` independent yes-or-no outcomes, in the share's unit; None with fewer than two.

    It is that of the metrics of evaluations (`spar.eval.statistics`).
    """
    return math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else None
