"""The score of one answer: its verdicts, and what it adds to the hard and to the soft rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spar.eval.followbench.judge import YES, last_line, read
from spar.eval.followbench.rules import JUDGE, check, shown
from spar.record.evaluation import Verdict
from spar.types import Prompt

State = Literal["ruled", "judged", "unanswered", "unjudged", "unparsed"]
"""Scored by a rule; by a judge; no answer; no output of the judge; none that can be read."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The score of one answer."""

    state: State
    verdicts: tuple[Verdict, ...]
    """Each condition's, or each constraint's."""
    hard: float
    """1 where all are satisfied, 0 where not; -1 for an unread judge in the original's way."""
    soft: float
    """Share of the constraints satisfied; as `hard` for a rule."""
    attempts: int = 0
    """Outputs of the judge up to the one that was read."""

    @property
    def passed(self) -> bool | None:
        """Whether all are satisfied, None where no judge decided."""
        return None if self.state in ("unjudged", "unparsed") else self.hard == 1


def outcome(
    example: Prompt, answer: str | None, replies: Sequence[str], *, official_scoring: bool = False
) -> Outcome:
    """Score an answer.

    Parameters
    ----------
    answer:
        None where there is none: not satisfied.
    replies:
        What the judge wrote about it, all attempts in order; the first that can be read counts.
    official_scoring:
        Read the judge as the benchmark's own scripts do, and count an unread one as -1, not as 0.
    """
    rule, level = example.meta["rule"], example.meta["level"]
    if answer is None:
        return Outcome("unanswered", (Verdict(name="answer", passed=False, why="none"),), 0, 0)
    if rule == JUDGE:
        return _judged(level, replies, official_scoring=official_scoring)
    verdicts = check(rule, level, answer, example.meta["target"])
    hard = float(all(verdict.passed for verdict in verdicts))
    return Outcome("ruled", verdicts, hard, hard)


def _judged(level: int, replies: Sequence[str], *, official_scoring: bool) -> Outcome:
    for attempts, output in enumerate(replies, start=1):
        words = read(output, level, strict=official_scoring)
        if words is not None:
            return _read(words, attempts)
    lost = -1.0 if official_scoring else 0.0
    why = f"the judge's last line: {shown(last_line(replies[-1]))}" if replies else "never judged"
    verdicts = tuple(Verdict(name=name, passed=None, why=why) for name in _names(level))
    return Outcome("unparsed" if replies else "unjudged", verdicts, lost, lost, len(replies))


def _read(words: Sequence[str], attempts: int) -> Outcome:
    verdicts = tuple(
        Verdict(name=name, passed=word == YES, why=f"the judge: {word}")
        for name, word in zip(_names(len(words)), words, strict=True)
    )
    satisfied = words.count(YES)
    hard = float(satisfied == len(words))
    return Outcome("judged", verdicts, hard, satisfied / len(words), attempts)


def _names(level: int) -> list[str]:
    return [f"constraint {number}" for number in range(1, level + 1)]
