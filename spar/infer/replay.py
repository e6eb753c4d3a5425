"""The tree that a search would have made, out of one that another search did make, without a model.

Every request's seed follows from its position, so a search asks for nothing that an earlier search of the
same prompt has not asked for, as long as both have made the same nodes. The record of a large budget
therefore holds the trees of smaller ones, and often those of other strategies: each starts with the same
draft. Here the driver itself runs, and its roles answer from the record. It finds out by itself what is
held: an attempt that the record lacks ends the replay.

The record and the wanted search must agree in all that decides a reply: models, templates, sampling, votes
and seed. Strategy, shape, budget and gate are free.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from spar.infer.decode import RootsProvider
from spar.infer.roles import REFINE_ATTEMPTS, AttemptFailed, Generation, Roles, Seeds
from spar.infer.search import SearchSettings, run_search
from spar.infer.seeds import child_indexes
from spar.infer.strategy import Plan, SearchConfig, Strategy
from spar.infer.tree_judge import TreeJudge, open_for_tree
from spar.infer.work import Merge, merging
from spar.types import Fault, Judgement, Node, Prompt, SearchTree, Usage

T = TypeVar("T")
TimeOf = Callable[[Usage, bool], float]
"""What a usage took, of a judge (True) or of a writer."""


async def replay(
    tree: SearchTree,
    settings: SearchSettings,
    *,
    roots: Callable[[Roles], RootsProvider] | None = None,
) -> SearchTree | None:
    """The tree that `settings` give on the record's prompt, None where the record does not hold it.

    It is that of a real search in everything but clock readings. Usages are the recorded ones; the time of
    the tree is estimated from them: the slowest attempt of each wave, summed up, at the load that the
    recorded run had. A search that is capped in seconds, or one that ended by cutting attempts off, has no
    replay, since it depends on who is fast. So does what early refining spent in vain: only the replay of the whole record
    has it.

    Parameters
    ----------
    tree:
        The record. Without seeds, a parent with both nodes and faults is ambiguous, hence not held.
    roots:
        From the roles to what gives a prompt its roots, where both searches start from given ones.
    """
    made = await _made_again(tree, settings, roots, _seconds)
    if made is None:
        return None
    replayed, waves = made
    whole = (len(replayed.nodes), len(replayed.faults)) == (len(tree.nodes), len(tree.faults))
    if whole:
        return replayed.model_copy(
            update={"seconds": tree.seconds, "cancelled_usage": tree.cancelled_usage}
        )
    return replayed.model_copy(update={"seconds": min(sum(waves), tree.seconds)})


async def dependent_steps(
    tree: SearchTree,
    settings: SearchSettings,
    votes: int,
    *,
    roots: Callable[[Roles], RootsProvider] | None = None,
) -> int | None:
    """How many requests of a search had to wait for one another, however many an engine runs at once.

    The drafts or refinements of a wave are one step and their votes another; a repeated request or round of `votes`
    requests is one more. `settings` are those of the run. None for a tree without a replay.
    """

    def steps(usage: Usage, is_judge: bool) -> float:
        return math.ceil(usage.calls / votes) if is_judge else usage.calls

    made = await _made_again(tree, settings, roots, steps)
    return None if made is None else round(sum(made[1]))


async def _made_again(
    tree: SearchTree,
    settings: SearchSettings,
    roots: Callable[[Roles], RootsProvider] | None,
    time_of: TimeOf,
) -> tuple[SearchTree, Sequence[float]] | None:
    """The replayed tree and the time of each wave; None where the record does not hold it."""
    if settings.budget.seconds is not None:
        return None
    try:
        initial = await _given_roots(tree, roots)
        record = _Record.of(tree, settings.seed, len(initial), time_of)
        counting = replace(settings, strategy=_counting(settings.strategy, record.waves))
        replayed = await run_search(tree.prompt, record.roles, counting, roots=initial)
    except _NotHeldError:
        return None
    return (replayed, record.waves) if _sound(replayed, record, settings) else None


def continuing(tree: SearchTree, roles: Roles, seed: int | None) -> Roles:
    """Roles that take from a record what it holds, and from `roles` the rest: a search goes on where the record ends.

    The record has no given roots, and its run a seed.
    """
    record = _Record.of(tree, seed, 0)
    record.waves.append(0.0)
    continued = _Continued(record, roles)
    return Roles(continued, continued, continued)


async def _given_roots(
    tree: SearchTree, provider: Callable[[Roles], RootsProvider] | None
) -> tuple[Node, ...]:
    """The given roots, made anew; they must be those of the record."""
    if provider is None:
        return ()
    record = _Record.of(tree, None, 0)
    record.waves.append(0.0)
    for node in tree.nodes:
        if node.judgement is None:  # a root that no vote decided on; what it cost is on its record
            lost = Fault(parent=None, stage="judge", reason="", judge_usage=node.judge_usage)
            record.undecided.setdefault(node.response, lost)
    roots = tuple(await provider(record.roles)(tree.prompt))
    if roots != tree.nodes[: len(roots)]:
        raise _NotHeldError
    return roots


def _seconds(usage: Usage, is_judge: bool) -> float:
    return usage.seconds


class _NotHeldError(Exception):
    """The record lacks what the search asks for."""


@dataclass(slots=True)
class _Record:
    """All three roles, answering from a tree."""

    tree: SearchTree
    seed: int | None
    num_roots: int
    time_of: TimeOf
    judged: dict[str, tuple[Judgement, Usage]] = field(default_factory=dict)
    """Response to its judgement, and to the usage that the first node with it was charged."""
    undecided: dict[str, Fault] = field(default_factory=dict)
    """Response to the fault that says that no vote decided on it."""
    lost: dict[int, str] = field(default_factory=dict)
    """Fault to a placeholder for a refinement that could not be judged: its text is not in the record."""
    tried: Counter[int | None] = field(default_factory=Counter)
    """Attempts so far, by parent; the driver makes them in order."""
    attempts: dict[int | None, dict[int, Node | Fault]] = field(default_factory=dict)
    """The attempts below a parent, computed when they are first needed."""
    closing: dict[int | None, Fault] = field(default_factory=dict)
    """Node to the fault after which no more of its refinements were tried."""
    waves: list[float] = field(default_factory=list)
    """Time of each wave's slowest attempt."""
    wrote: dict[str, float] = field(default_factory=dict)
    """Time that writing a response took."""
    asked: dict[str, int] = field(default_factory=dict)
    """Response to the wave in which its votes were cast, from 1."""

    @classmethod
    def of(
        cls, tree: SearchTree, seed: int | None, num_roots: int, time_of: TimeOf = _seconds
    ) -> _Record:
        """Read a tree's judgements."""
        record = cls(tree, seed, num_roots, time_of)
        record.closing = {fault.parent: fault for fault in tree.faults if fault.is_final}
        own = tree.nodes[num_roots:]
        for node in own:
            if node.judgement is not None:
                record.judged.setdefault(node.response, (node.judgement, node.judge_usage))
        unjudged = [node for node in own if node.parent is None and node.judgement is None]
        # Both lists are in the order of the attempts; where nothing was judged, there are no faults.
        for node, fault in zip(unjudged, filter(_keeps_draft, tree.faults), strict=False):
            record.undecided.setdefault(node.response, fault)
        longest = max((len(node.response) for node in tree.nodes), default=0)
        for index, fault in enumerate(tree.faults):
            if fault.stage == "judge" and fault.parent is not None:
                record.lost[index] = "\0" * (longest + 1 + index)  # longer, so like no response
                record.undecided[record.lost[index]] = fault
        return record

    @property
    def roles(self) -> Roles:
        """This record in all three roles."""
        return Roles(self, self, self)

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """The recorded draft, or its failure."""
        return self._written(None)

    async def refine(self, prompt: Prompt, parent: Node, seeds: Seeds) -> Generation:
        """The recorded refinement of the same node, or its failure."""
        return self._refined(parent, None)

    async def merge(self, prompt: Prompt, parents: tuple[Node, Node], seeds: Seeds) -> Generation:
        """The recorded refinement of the same two nodes, or its failure."""
        return self._refined(*parents)

    def _refined(self, parent: Node, second: Node | None) -> Generation:
        # Seeds go by the parent's id: only a parent that has the same place in both trees will do.
        nodes = self.tree.nodes
        for node in (parent, second) if second else (parent,):
            if node.id >= len(nodes) or nodes[node.id].response != node.response:
                raise _NotHeldError
        return self._written(parent.id, second.id if second else None)

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """The recorded judgement of a response, or its failure."""
        if response in self.judged:
            judgement, usage = self.judged[response]
            self._clock_votes(response, usage)
            return judgement, usage
        if response not in self.undecided:
            raise _NotHeldError
        fault = self.undecided[response]
        self._clock_votes(response, fault.judge_usage)
        raise AttemptFailed(fault.reason, fault.text, fault.judge_usage)

    def _written(self, parent: int | None, second_parent: int | None = None) -> Generation:
        index = self.tried[parent]
        self.tried[parent] += 1
        if parent not in self.attempts:
            self.attempts[parent] = self._attempts(parent)
        attempt = self.attempts[parent].get(index, self.closing.get(parent))
        if attempt is None or attempt.second_parent != second_parent:
            raise _NotHeldError
        usage = attempt.usage - attempt.judge_usage
        took = self.time_of(usage, False)
        self._clock(took)
        if isinstance(attempt, Node):
            self.wrote.setdefault(attempt.response, took)
            seed, text = attempt.seed, attempt.text
            return Generation(attempt.response, attempt.reflection, usage, seed, text)
        if attempt.stage != "judge":
            raise AttemptFailed(attempt.reason, attempt.text, usage, is_final=attempt.is_final)
        response = self.lost[_position(self.tree.faults, attempt)]
        self.wrote[response] = took
        return Generation(response, None, usage, None)

    def _attempts(self, parent: int | None) -> dict[int, Node | Fault]:
        """Child index to what came of the attempt."""
        nodes = [n for n in self.tree.nodes[self.num_roots :] if n.parent == parent]
        faults = [f for f in self.tree.faults if f.parent == parent and not _keeps_draft(f)]
        if self.seed is None:
            if nodes and faults:
                raise _NotHeldError
            return dict(enumerate((*nodes, *faults)))
        most = len(nodes) + len(faults) + self.tree.cancelled
        places = child_indexes(
            self.seed, self.tree.prompt.id, parent, most, attempts=REFINE_ATTEMPTS
        )
        if not all(node.seed in places for node in nodes):
            raise _NotHeldError
        by_index: dict[int, Node | Fault] = {places[node.seed]: node for node in nodes}
        empty = [index for index in range(most) if index not in by_index]
        if faults and len(empty) != len(faults):  # which of them was cut off, and which one failed?
            raise _NotHeldError
        return {**by_index, **dict(zip(empty, faults, strict=False))}

    def _clock_votes(self, response: str, usage: Usage) -> None:
        if self.asked.setdefault(response, len(self.waves)) == len(self.waves):  # else it has them
            self._clock(self.wrote.get(response, 0.0) + self.time_of(usage, True))

    def _clock(self, time: float) -> None:
        self.waves[-1] = max(self.waves[-1], time)


@dataclass(frozen=True, slots=True)
class _Continued:
    """All three roles: a record, and who makes what it lacks."""

    record: _Record
    roles: Roles

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        return await _held_or_made(self.record.draft, self.roles.actor.draft, prompt, index, seeds)

    async def refine(self, prompt: Prompt, parent: Node, seeds: Seeds) -> Generation:
        make = self.roles.refiner.refine
        return await _held_or_made(self.record.refine, make, prompt, parent, seeds)

    @property
    def merge(self) -> Merge | None:
        """As `refine`, for two nodes; None where the refiner cannot."""
        make = merging(self.roles.refiner)
        return partial(_held_or_made, self.record.merge, make) if make else None

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        make = self.roles.judge.judge
        return await _held_or_made(self.record.judge, make, prompt, response, seeds)

    def for_tree(self, prompt: Prompt, judged: Sequence[Judgement]) -> TreeJudge | None:
        held = [judgement for judgement, _ in self.record.judged.values()]
        judge = open_for_tree(self.roles.judge, prompt, [*judged, *held])
        return judge and _ContinuedJudge(self.record, judge)


@dataclass(frozen=True, slots=True)
class _ContinuedJudge:
    """The judge of a tree that goes on: a record, and who judges what it lacks."""

    record: _Record
    inner: TreeJudge

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        make = self.inner.judge
        return await _held_or_made(self.record.judge, make, prompt, response, seeds)

    def claim(self, response: str | None) -> Usage:
        return self.inner.claim(response)


async def _held_or_made(
    held: Callable[..., Awaitable[T]], make: Callable[..., Awaitable[T]], *arguments: Any
) -> T:
    """What the record holds, else what is made now."""
    try:
        return await held(*arguments)
    except _NotHeldError:
        return await make(*arguments)


def _keeps_draft(fault: Fault) -> bool:
    """Whether the attempt also left a node: a draft that no vote decided on still answers."""
    return fault.stage == "judge" and fault.parent is None


def _position(faults: Sequence[Fault], fault: Fault) -> int:
    return next(index for index, other in enumerate(faults) if other is fault)


def _sound(made: SearchTree, record: _Record, settings: SearchSettings) -> bool:
    """Whether what the driver could not know was no part of the search."""
    if settings.stop_rule == "first" and made.solved:
        return False
    # An unjudged refinement whose text the record lacks.
    if any(node.response in record.lost.values() for node in made.nodes):
        return False
    # The first of identical responses is charged; where their text is lost, only the order identifies it.
    return _marks(made) == _marks(record.tree)[: len(made.faults)]


def _marks(tree: SearchTree) -> list[tuple[int | None, str, str, str]]:
    return [(fault.parent, fault.stage, fault.reason, fault.text) for fault in tree.faults]


def _counting(strategy: Strategy, waves: list[float]) -> Strategy:
    """The strategy, recording the start of each wave in `waves`."""

    def plan(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
        inner = strategy(roots, config)
        try:
            wave = next(inner)
            while True:
                waves.append(0.0)
                wave = inner.send((yield wave))
        except StopIteration:
            return

    return plan
