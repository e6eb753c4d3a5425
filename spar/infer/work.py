"""What one search asks of its roles: writing and judging, with the seed of each place, and what cancelled work cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from spar.infer.attempts import Attempt
from spar.infer.engine import ON_TEXT
from spar.infer.following import AttemptReporter
from spar.infer.plugin_results import written_by
from spar.infer.reporting import judge_reporting
from spar.infer.roles import (
    USAGE_COUNTER,
    AttemptFailed,
    Generation,
    RefinerProtocol,
    Roles,
    Seeds,
    UsageCounter,
)
from spar.infer.seeds import derive
from spar.infer.tree_judge import open_for_tree
from spar.infer.votes import ON_VOTE
from spar.types import Judgement, Node, Prompt, Role, Usage

T = TypeVar("T")

Merge = Callable[[Prompt, tuple[Node, Node], Seeds], Awaitable[Generation]]
"""Makes one refinement out of two judged nodes."""


class Work:
    """The writing and judging of one search.

    Parameters
    ----------
    known:
        Response to a judgement that needs no call.
    """

    def __init__(
        self, prompt: Prompt, roles: Roles, seed: int | None, known: Mapping[str, Judgement]
    ) -> None:
        self.roles, self.known = roles, known
        self.judging: dict[str, asyncio.Task[tuple[Judgement, Usage]]] = {}
        """Response to its judgement, also once it is there."""
        self.cancelled_usage: dict[Role, Usage] = {}
        """Cost of work whose result was not used in the end."""
        self.merge = merging(roles.refiner)
        self.report: Callable[[str, Judgement | None], None] | None = None
        """Called with a response and the judgement to expect of it (`spar.infer.reporting.Report`)."""
        self.on_judged: Callable[[object], None] | None = None
        """Called when a response has been judged."""
        self.attempt_reporter: AttemptReporter | None = None
        """Reports texts and votes; None where no callback was passed for them."""
        self._prompt, self._seed = prompt, seed
        self._sharing = open_for_tree(roles.judge, prompt, [*known.values()])

    async def write(self, attempt: Attempt) -> Generation:
        """A draft, or a refinement of one or two nodes."""
        if self.attempt_reporter is None:
            return await self._write(attempt)
        token = ON_TEXT.set(self.attempt_reporter.on_text(attempt))
        try:
            return await self._write(attempt)
        finally:  # the same task judges next
            ON_TEXT.reset(token)

    async def _write(self, attempt: Attempt) -> Generation:
        parents, index = attempt.parents, attempt.index
        # A seed is derived from: run seed, prompt id, parent, child index, role, attempt.
        seeds = partial(
            derive, self._seed, self._prompt.id, attempt.expand.parent, index, attempt.stage
        )
        if not parents:
            actor = self.roles.actor
            return await written_by("actor", actor, actor.draft(self._prompt, index, seeds))
        refiner = self.roles.refiner
        if self.merge is not None and len(parents) == 2:
            merged = self.merge(self._prompt, (parents[0], parents[1]), seeds)
            return await written_by("refiner", refiner, merged)
        return await written_by("refiner", refiner, refiner.refine(self._prompt, parents[0], seeds))

    async def write_counted(self, attempt: Attempt) -> Generation:
        """As `write`, in a task of its own that counts what it cost if it is cancelled."""
        with self.counting(attempt.role):
            return await self.write(attempt)

    def start_judging(self, response: str) -> asyncio.Task[tuple[Judgement, Usage]]:
        """Judge a response that is not being judged yet."""
        task = self.judging[response] = asyncio.ensure_future(self._judge(response))
        if self.on_judged is not None:
            task.add_done_callback(self.on_judged)
        return task

    @contextmanager
    def counting(self, role: Role) -> Iterator[UsageCounter]:
        """Add up what the current task requests, and count it if the task is cancelled."""
        counter = UsageCounter()
        USAGE_COUNTER.set(counter)  # seen by this task alone
        try:
            yield counter
        except asyncio.CancelledError:
            self._count(role, counter.usage)
            raise

    def count_unclaimed(self, charged: Collection[str]) -> None:
        """Count judgements of no response in `charged`: who requested them was cancelled, or they came too early."""
        for response, task in self.judging.items():
            if response not in charged:
                self.count_finished("judge", task, lambda result: result[1])
        if (shared := self.claim_shared(None)) != Usage():
            self._count("judge", shared)

    def claim_shared(self, response: str | None) -> Usage:
        """What work that judgements share cost, once (`spar.infer.tree_judge.TreeJudge.claim`)."""
        return Usage() if self._sharing is None else self._sharing.claim(response)

    def count_finished(
        self, role: Role, task: asyncio.Task[T], usage_of: Callable[[T], Usage]
    ) -> None:
        """Count finished work of no use; cancelled work has counted itself."""
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, AttemptFailed):
            self._count(role, error.usage)
        elif error is None:
            self._count(role, usage_of(task.result()))

    def _count(self, role: Role, usage: Usage) -> None:
        self.cancelled_usage[role] = self.cancelled_usage.get(role, Usage()) + usage

    async def _judge(self, response: str) -> tuple[Judgement, Usage]:
        seeds = partial(derive, self._seed, self._prompt.id, response, "judge")
        report = self.report and partial(self.report, response)
        judge = self._sharing or self.roles.judge
        if self.attempt_reporter is not None:
            ON_VOTE.set(self.attempt_reporter.on_vote(response))  # seen by this task alone
        with self.counting("judge"):
            return await judge_reporting(judge, self._prompt, response, seeds, report)


def merging(refiner: RefinerProtocol) -> Merge | None:
    """The method of a refiner that merges two nodes; None for one that cannot."""
    merge: Merge | None = getattr(refiner, "merge", None)
    return merge
