"""Judges that say what to expect before they are done, so that refining can start early (`spar.infer.early`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

from spar.infer.plugin_results import judged_by, require_shares
from spar.infer.roles import Judge, Seeds
from spar.types import Judgement, Prompt, Usage

Report = Callable[[Judgement | None], None]
"""Takes the judgement to expect of a response while it is judged; None where nothing is expected (any more)."""


@runtime_checkable
class EarlyJudge(Judge, Protocol):
    """A judge that says what to expect before it is done, so that refining can start."""

    async def judge_early(
        self, prompt: Prompt, response: str, seeds: Seeds, report: Report
    ) -> tuple[Judgement, Usage]:
        """As `judge`. The critique of a failing judgement is that of the last report, if there was one."""
        ...


async def judge_reporting(
    judge: Judge, prompt: Prompt, response: str, seeds: Seeds, report: Report | None
) -> tuple[Judgement, Usage]:
    """Judge a response; a judge that can say early what to expect does so, where `report` is given.

    Raises
    ------
    UsageError
        What the judge returned or reported is no judgement that a search can go by.
    EngineError
        It was cancelled, and not by spar.
    """
    if report is not None and isinstance(judge, EarlyJudge):
        early = judge.judge_early(prompt, response, seeds, partial(_report, report))
        return await judged_by(judge, early)
    return await judged_by(judge, judge.judge(prompt, response, seeds))


def _report(report: Report, judgement: Judgement | None) -> None:
    if judgement is not None:
        require_shares(judgement)
    report(judgement)
