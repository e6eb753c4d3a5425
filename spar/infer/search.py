"""The driver: runs one strategy on one prompt and records everything that happened.

It clips each wave to the budget, generates and judges all children of the wave concurrently, appends
them in the order of the wave, and stops when one passes. It knows no text template and no
model; roles do. Rules: docs/design.md, "Semantics".
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from spar.errors import UsageError
from spar.infer.answers import Select, select_best
from spar.infer.attempts import Attempt, Outcome, attempts_of, fault_of
from spar.infer.early import MAX_BUDGET, EarlyRefine, EarlyRefining
from spar.infer.following import AttemptReporter, OnAttempt
from spar.infer.gather import cancel, gather
from spar.infer.roles import AttemptFailed, Generation, Roles
from spar.infer.seeds import derive
from spar.infer.strategy import Expand, Plan, SearchConfig, Strategy
from spar.infer.work import Work
from spar.types import Fault, Judgement, Node, Prompt, SearchTree, Stop, Usage

StopRule = Literal["wave", "first"]
"""`wave` judges a whole wave before the threshold is tested (paper); `first` cancels the rest of it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that one tree may spend. Roots that are passed in are free."""

    responses: int = 15
    """Drafts and refinements, failed attempts included: the paper's inference times. Never exceeded."""
    calls: int | None = None
    """Requests; tested before each wave, which is then finished."""
    tokens: int | None = None
    """Generated tokens; tested before each wave."""
    seconds: float | None = None
    """Wall-clock time; tested before each wave."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Everything about a search but its prompt and its roles."""

    strategy: Strategy
    name: str
    """The strategy's name, for the record."""
    shape: SearchConfig = SearchConfig()
    budget: Budget = Budget()
    threshold: float = 0.5
    """Votes pass a node when their share of yes is strictly above this (paper: 0.5)."""
    stop_rule: StopRule = "wave"
    seed: int | None = 0
    select: Select = select_best
    """Which node answers."""
    early_refine: EarlyRefine = "off"
    """Whether the next waves start while a wave is judged, where the engine has room; changes no tree."""
    digest: str = ""
    """Digest of the resolved configuration, for the record."""


async def run_search(
    prompt: Prompt,
    roles: Roles,
    settings: SearchSettings,
    *,
    roots: Sequence[Node] = (),
    on_node: Callable[[Node], None] | None = None,
    on_attempt: OnAttempt | None = None,
) -> SearchTree:
    """Search for an answer to one prompt.

    Parameters
    ----------
    roots:
        Judged nodes to start from, ids 0, 1, ...; free of the budget. None: the strategy drafts.
    on_node:
        Called with each node as it joins the tree.
    on_attempt:
        Called with what each attempt of the present wave has written, and with the votes on it, as it comes.

    Raises
    ------
    EngineError
        A request could not be served. There is no partial tree.
    """
    own_seed = derive(settings.seed or 0, prompt.id, "strategy") or 0
    shape = replace(settings.shape, seed=own_seed)
    start = partial(settings.strategy, tuple(roots), shape)
    search, plan = _Search(prompt, roles, settings, list(roots), on_node, start), start()
    if on_attempt is not None:
        search.follow_attempts(on_attempt)
    if not isinstance(plan, Generator):
        raise UsageError(
            f"strategy {settings.name} returned a {type(plan).__name__}; expected a generator that yields "
            "lists of spar.Expand"
        )
    try:
        stop = await search.follow(plan)
    finally:
        plan.close()
        await search.aclose()
    return search.tree(stop)


class _Search:
    """One tree while it grows."""

    def __init__(
        self,
        prompt: Prompt,
        roles: Roles,
        settings: SearchSettings,
        nodes: list[Node],
        on_node: Callable[[Node], None] | None,
        plan: Callable[[], Plan],
    ) -> None:
        self.prompt, self.roles, self.settings = prompt, roles, settings
        self.nodes, self.on_node = nodes, on_node
        self.faults: list[Fault] = []
        self._is_solved = any(self._passes(node.judgement) for node in nodes)
        self._usage = Usage()  # of all but given roots
        known = {node.response: node.judgement for node in nodes if node.judgement}
        self._work = Work(prompt, roles, settings.seed, known)
        self._start = time.monotonic()
        self._spent = 0
        self._bound = False
        self._cut_off: list[Expand] = []  # what the budget has cut off the last wave
        self._num_tried: Counter[int | None] = Counter()
        self._closed: set[int | None] = set()  # nodes whose refinement failed for good
        self._charged: set[str] = set()
        self._cancelled = 0
        self._early: EarlyRefining | None = None
        if refines_early(settings, roles):
            self._early = EarlyRefining(self._work, plan, self._clip_to, self._passes)

    def follow_attempts(self, on_attempt: OnAttempt) -> None:
        """Report what attempts write, and the votes on it."""
        self._work.attempt_reporter = AttemptReporter(on_attempt)

    async def follow(self, plan: Plan) -> Stop:
        """Run the plan's waves until a node passes, the budget binds, or nothing is remaining to try."""
        if self._is_solved:
            return "solved"
        try:
            wave, num_skipped = next(plan), 0
            # A strategy that learns from failures may ask a few times more before it turns to other nodes.
            while num_skipped <= self.settings.budget.responses:
                clipped = self._clip(wave)
                skip = bool(wave) and all(expand.parent in self._closed for expand in wave)
                if not clipped and not skip:
                    break
                num_skipped = num_skipped + 1 if skip else 0
                children = await self._run_as_far(clipped)
                if self._is_solved:
                    return "solved"
                if self._early is not None:
                    self._early.sent.append(children)
                wave = plan.send(children)
        except StopIteration:
            pass
        return "budget" if self._bound else "exhausted"

    async def _run_as_far(self, clipped: Sequence[Expand]) -> tuple[Node, ...]:
        """Run a wave as far as the budget goes; what an attempt gives back is spent on what was cut off."""
        children: tuple[Node, ...] = ()
        while True:
            spent = self._spent + sum(expand.n for expand in clipped)
            children += await self._run_wave(clipped)
            stopped = self.settings.stop_rule == "first" and self._is_solved
            if self._spent == spent or stopped:
                return children
            self._bound = False
            if not (clipped := self._clip(self._cut_off)):
                return children

    def tree(self, stop: Stop) -> SearchTree:
        """The record of what happened."""
        self._work.count_unclaimed(self._charged)
        if self._early is not None:
            self._early.count_unclaimed()
        return SearchTree(
            prompt=self.prompt,
            strategy=self.settings.name,
            config=self.settings.digest,
            gate=self.settings.threshold,
            nodes=tuple(self.nodes),
            faults=tuple(self.faults),
            selected=self.settings.select(self.prompt, self._answering()),
            stop=stop,
            cancelled=self._cancelled,
            cancelled_usage=self._work.cancelled_usage,
            seconds=time.monotonic() - self._start,
        )

    def _answering(self) -> list[Node]:
        """The nodes of which one is the answer: those that pass, where any does and the best is asked for.

        Where a judge has several questions, one that fails may have the higher score.
        """
        passing = [node for node in self.nodes if self._passes(node.judgement)]
        return passing if passing and self.settings.select is select_best else self.nodes

    async def aclose(self) -> None:
        """Cancel what no attempt waits for any more."""
        if self._early is not None:
            await self._early.aclose()
        await cancel(self._work.judging.values())

    def _passes(self, judgement: Judgement | None) -> bool:
        return judgement is not None and judgement.passed(self.settings.threshold)

    def _clip(self, wave: Sequence[Expand]) -> list[Expand]:
        if not isinstance(wave, Sequence):
            raise UsageError(
                f"strategy {self.settings.name} yielded {wave!r}; expected a list of spar.Expand"
            )
        for expand in wave:
            self._check_expand(expand)
        remaining = 0 if self._capped() else self.settings.budget.responses - self._spent
        clipped, self._cut_off = self._clip_to(wave, remaining)
        self._bound = self._bound or bool(self._cut_off)
        return clipped

    def _clip_to(self, wave: Sequence[Expand], remaining: int) -> tuple[list[Expand], list[Expand]]:
        """What of a wave can still be made, and the rest of it."""
        clipped, cut_off = [], []
        for expand in wave:
            if expand.parent in self._closed:
                continue
            if self._work.merge is None:
                expand = replace(expand, second_parent=None)
            granted = min(expand.n, remaining)
            remaining -= granted
            if granted > 0:
                clipped.append(replace(expand, n=granted))
            if granted < expand.n:
                cut_off.append(replace(expand, n=expand.n - granted))
        return clipped, cut_off

    def _check_expand(self, expand: Expand) -> None:
        """Raise `UsageError` where a strategy yields something else, or expands a node that is not there."""
        name, num_nodes = self.settings.name, len(self.nodes)
        if not isinstance(expand, Expand):
            raise UsageError(
                f"strategy {name} yielded {expand!r} in a wave; expected lists of spar.Expand"
            )
        for parent in (expand.parent, expand.second_parent):
            if parent is not None and not 0 <= parent < num_nodes:
                raise UsageError(
                    f"strategy {name} expands node {parent}, but the tree has {num_nodes} nodes"
                )

    def _capped(self) -> bool:
        budget, usage = self.settings.budget, self._usage
        return (
            usage.calls >= (budget.calls or math.inf)
            or usage.completion_tokens >= (budget.tokens or math.inf)
            or time.monotonic() - self._start >= (budget.seconds or math.inf)
        )

    async def _run_wave(self, wave: Sequence[Expand]) -> tuple[Node, ...]:
        started = [*attempts_of(wave, self.nodes, self._num_tried)]
        if self._work.attempt_reporter is not None:
            self._work.attempt_reporter.start_wave(started)
        tasks = [asyncio.create_task(self._attempt(attempt)) for attempt in started]
        self._spent += len(tasks)
        if self._early is not None:
            remaining = self.settings.budget.responses - self._spent
            self._early.start_wave(started, self.nodes, self._num_tried, remaining)
        first_only = self.settings.stop_rule == "first"
        outcomes = await gather(
            tasks,
            lambda outcome: first_only and self._passes(outcome.judgement),
            of_plugins="an attempt of the search",
        )
        self._cancelled += len(tasks) - len(outcomes)
        children = [self._append(outcome) for outcome in outcomes]
        return tuple(node for node in children if node is not None)

    async def _attempt(self, attempt: Attempt) -> Outcome:
        outcome = await self._outcome(attempt)
        if self._work.attempt_reporter is not None:
            self._work.attempt_reporter.report_outcome(outcome)
        return outcome

    async def _outcome(self, attempt: Attempt) -> Outcome:
        with self._work.counting(attempt.role) as counter:
            try:
                if self._early is None:
                    generation = await self._work.write(attempt)
                else:
                    generation = await self._early.generation(attempt)
                    counter.usage += generation.usage
            except AttemptFailed as error:
                return Outcome(attempt, None, fault=fault_of(attempt, attempt.stage, error))
            if self._work.attempt_reporter is not None:
                self._work.attempt_reporter.report_response(attempt, generation.response)
            if not attempt.expand.judged:
                return Outcome(attempt, generation)
            try:
                judgement, usage = await self._judge(generation.response)
            except AttemptFailed as error:
                return Outcome(attempt, generation, fault=fault_of(attempt, "judge", error))
            return Outcome(attempt, generation, judgement, usage)

    async def _judge(self, response: str) -> tuple[Judgement, Usage]:
        if response in self._work.known:
            return self._work.known[response], Usage()
        if self._early is not None:
            self._early.claim_judgement(response)
        # Attempts with the same response share one judgement, requested by the first.
        return await (self._work.judging.get(response) or self._work.start_judging(response))

    def _append(self, outcome: Outcome) -> Node | None:
        """Record an attempt; returns the node that the strategy may expand, if there is one."""
        attempt, generation, fault = outcome.attempt, outcome.generation, outcome.fault
        if fault is not None and fault.is_final:
            if fault.parent in self._closed and fault.usage == Usage():
                # The wave's other attempts at the node say the same, and cost nothing.
                self._spent -= 1
                return None
            self._closed.add(fault.parent)
        if fault is not None:
            # A draft that could not be judged still answers the prompt; such a refinement is dropped.
            keep_draft = generation is not None and attempt.expand.parent is None
            spent = Usage() if generation is None or keep_draft else generation.usage
            failed = self._charge(generation, fault.usage)
            votes = failed if fault.stage == "judge" else Usage()
            update = {"usage": failed + spent, "judge_usage": votes}
            self.faults.append(fault.model_copy(update=update))
            self._usage += self.faults[-1].usage
            if not keep_draft:
                return None
        assert generation is not None
        judge_usage = self._charge(generation, outcome.judge_usage)
        node = attempt.make_node(
            len(self.nodes), generation, outcome.judgement, judge_usage=judge_usage
        )
        self.nodes.append(node)
        self._usage += node.usage
        self._is_solved = self._is_solved or self._passes(node.judgement)
        if self.on_node is not None:
            self.on_node(node)
        return None if fault is not None else node

    def _charge(self, generation: Generation | None, judge_usage: Usage) -> Usage:
        # Identical responses share one judgement; its cost is recorded with the first of them.
        if generation is None:
            return judge_usage
        if generation.response in self._charged:
            return Usage()
        self._charged.add(generation.response)
        return judge_usage + self._work.claim_shared(generation.response)


def refines_early(settings: SearchSettings, roles: Roles) -> bool:
    """Whether a search may start refining early.

    Not where a limit of calls or tokens decides when a tree ends, nor with a refiner that reads more than the critique.
    """
    budget = settings.budget
    return (
        settings.early_refine == "auto"
        and budget.responses <= MAX_BUDGET
        and budget.calls is None
        and budget.tokens is None
        and getattr(roles.refiner, "reads_critique_only", False)
    )
