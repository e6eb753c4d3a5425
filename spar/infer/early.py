"""Early refining: the next waves of a search are started while the present one is still being judged.

A response with a first No will most likely fail, and its critique is known: the one that the refinement continues. A
strategy is a pure function of the children that it is sent, so a second copy of its plan, sent what is expected of the
present wave, says what it would ask for next. That is requested, judged in turn, and so on, as long as the engine has
room for it.

Nothing that is expected decides anything. The driver takes over what was started here only where it asks for that very
request: the same place in the tree, hence the same seed, with the same response and the same critique. The rest is
cancelled, and what it cost is counted. So a tree is the same with and without early refining.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from spar.infer.attempts import Attempt, Place, attempts_of
from spar.infer.engine_wrappers import free_requests
from spar.infer.gather import cancel
from spar.infer.roles import AttemptFailed, Generation
from spar.infer.strategy import Expand, Plan
from spar.infer.work import Work
from spar.types import Judgement, Node, Role

T = TypeVar("T")

EarlyRefine = Literal["off", "auto"]
"""Whether the next waves start early: never, or where the engine has room."""

SHARE = 0.75
"""Share of an engine's capacity up to which requests are sent early; a fuller batch slows down the requests that are
certain to be needed (reports/schedule_ratio.md)."""
MAX_BUDGET = 256
"""Largest budget of a tree that is looked ahead in: each look runs through all of its waves."""


class EarlyRefining:
    """What one search writes, and what it may ask for next.

    Parameters
    ----------
    plan:
        Starts the strategy anew.
    clip:
        Limits a wave to a number of responses.
    passes:
        Whether a judgement ends the search.
    """

    def __init__(
        self,
        work: Work,
        plan: Callable[[], Plan],
        clip: Callable[[Sequence[Expand], int], tuple[list[Expand], list[Expand]]],
        passes: Callable[[Judgement | None], bool],
    ) -> None:
        self.sent: list[tuple[Node, ...]] = []
        """Children of the waves so far, as the strategy was sent them."""
        self._work, self._plan, self._clip, self._passes = work, plan, clip, passes
        work.report, work.on_judged = self.report, self.look_soon
        self._wave: Sequence[Attempt] = ()
        self._nodes: Sequence[Node] = ()
        self._tried: Counter[int | None] = Counter()
        self._remaining = 0
        self._writing: dict[Place, asyncio.Task[Generation]] = {}
        self._unclaimed: dict[Place, Role] = {}  # what the search has not asked for
        self._unclaimed_judgements: set[str] = set()  # responses
        self._forecasts: dict[str, Judgement] = {}
        self._cancelled: list[asyncio.Task[Any]] = []
        self._is_scheduled = self._is_closed = False

    def start_wave(
        self,
        wave: Sequence[Attempt],
        nodes: Sequence[Node],
        tried: Counter[int | None],
        remaining: int,
    ) -> None:
        """Look ahead of a wave that starts now.

        Parameters
        ----------
        nodes:
            The tree so far.
        tried:
            Attempts at each node, those of this wave included.
        remaining:
            Responses that later waves may ask for.
        """
        self._wave, self._nodes, self._tried, self._remaining = wave, nodes, tried, remaining
        self.look_soon()

    async def generation(self, attempt: Attempt) -> Generation:
        """What an attempt of the search writes, started now or earlier."""
        task = self._start(attempt)
        self._unclaimed.pop(attempt.place, None)
        return await task

    def claim_judgement(self, response: str) -> None:
        """Note that the search asks for a judgement."""
        self._unclaimed_judgements.discard(response)

    def look_soon(self, *_: object) -> None:
        """Look ahead once all that happens at this moment has happened."""
        if not self._is_scheduled and not self._is_closed:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._look)

    async def aclose(self) -> None:
        """Cancel what is not finished, and look ahead no more."""
        self._is_closed = True
        await cancel([*self._writing.values(), *self._cancelled])

    def count_unclaimed(self) -> None:
        """Count what was written early and is of no use."""
        for place, role in self._unclaimed.items():
            self._work.count_finished(role, self._writing[place], lambda written: written.usage)

    def report(self, response: str, judgement: Judgement | None) -> None:
        """Note the judgement to expect of a response, None for none any more."""
        if judgement is None:
            self._forecasts.pop(response, None)
        else:
            self._forecasts[response] = judgement
        self.look_soon()

    def _start(self, attempt: Attempt) -> asyncio.Task[Generation]:
        place = attempt.place
        if place not in self._writing:
            task = self._writing[place] = asyncio.ensure_future(self._work.write_counted(attempt))
            self._unclaimed[place] = attempt.role
            task.add_done_callback(self.look_soon)
        return self._writing[place]

    def _look(self) -> None:
        """Start what the strategy will ask for if all goes as expected, and cancel what it will not."""
        self._is_scheduled = False
        roles = self._work.roles
        if self._is_closed or not (
            self._unclaimed
            or self._unclaimed_judgements
            or self._has_room(roles.refiner)
            or self._has_room(roles.actor)
        ):
            return
        places = {attempt.place for attempt in self._wave}
        responses: set[str] = set()
        for attempt in self._expected():
            places.add(attempt.place)
            writer = roles.refiner if attempt.parents else roles.actor
            if attempt.place not in self._writing and self._has_room(writer):
                self._start(attempt)
            written = self._written(attempt)
            if isinstance(written, Generation) and attempt.expand.judged:
                responses.add(written.response)
                self._judge_early(written.response)
        self._cancel_unexpected(places, responses)

    def _judge_early(self, response: str) -> None:
        if response in self._work.known or response in self._work.judging:
            return
        if self._has_room(self._work.roles.judge):
            self._work.start_judging(response)
            self._unclaimed_judgements.add(response)

    def _cancel_unexpected(self, places: set[Place], responses: set[str]) -> None:
        for place in self._unclaimed.keys() - places:
            if not self._writing[place].done():
                del self._unclaimed[place]
                self._cancel(self._writing.pop(place))
        for response in self._unclaimed_judgements - responses:
            if not self._work.judging[response].done():
                self._unclaimed_judgements.remove(response)
                self._cancel(self._work.judging.pop(response))

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        task.cancel()
        self._cancelled.append(task)

    def _expected(self) -> Iterator[Attempt]:
        """The attempts of later waves, as far as can be seen."""
        plan, nodes = self._plan(), {node.id: node for node in self._nodes}
        tried, remaining, wave = self._tried.copy(), self._remaining, self._wave
        try:
            _advance(plan, None)
            for children in self.sent:
                _advance(plan, children)
            next_id = len(nodes)
            while True:
                children, next_id = self._children(wave, next_id)
                if not children or any(self._passes(child.judgement) for child in children):
                    return
                nodes |= {child.id: child for child in children}
                asked = _advance(plan, children)
                if not _can_be_made(asked, nodes):
                    return
                expands, _ = self._clip(asked, remaining)
                remaining -= sum(expand.n for expand in expands)
                wave = [*attempts_of(expands, nodes, tried)]
                yield from wave
        except StopIteration:
            return
        finally:
            plan.close()

    def _children(self, wave: Sequence[Attempt], next_id: int) -> tuple[tuple[Node, ...], int]:
        """The children of a wave that are known or expected, and the id after the last of the wave."""
        children = []
        for attempt in wave:
            written = self._written(attempt)
            if written == "failed":
                continue
            if isinstance(written, Generation):
                judgement = self._judgement(written.response)
                if judgement == "failed" and attempt.parents:
                    continue
                if isinstance(judgement, Judgement) or not attempt.expand.judged:
                    shown = judgement if isinstance(judgement, Judgement) else None
                    children.append(attempt.make_node(next_id, written, shown))
            next_id += 1
        return tuple(children), next_id

    def _written(self, attempt: Attempt) -> Generation | Literal["failed"] | None:
        """What an attempt wrote; None where it is not done."""
        return _outcome(self._writing.get(attempt.place))

    def _judgement(self, response: str) -> Judgement | Literal["failed"] | None:
        """The judgement of a response, final or expected; None where nothing is known."""
        if response in self._work.known:
            return self._work.known[response]
        outcome = _outcome(self._work.judging.get(response))
        if isinstance(outcome, tuple):
            return outcome[0]
        return outcome or self._forecasts.get(response)

    def _has_room(self, role: object) -> bool:
        engine = getattr(role, "engine", None)
        return engine is not None and free_requests(engine, SHARE) >= 1


def _advance(plan: Plan, children: tuple[Node, ...] | None) -> Sequence[Expand]:
    """The wave that a strategy yields next; raises `StopIteration` where it ends, or fails over children that are only expected."""
    try:
        return next(plan) if children is None else plan.send(children)
    except Exception as error:  # of a plug-in: the driver reports what the real plan raises
        raise StopIteration from error


def _can_be_made(wave: object, nodes: Mapping[int, Node]) -> bool:
    """Whether a strategy asks for children of nodes that are there; the driver says what is wrong once it is asked."""
    return isinstance(wave, Sequence) and all(
        isinstance(expand, Expand)
        and all(
            parent in nodes
            for parent in (expand.parent, expand.second_parent)
            if parent is not None
        )
        for expand in wave
    )


def _outcome(task: asyncio.Task[T] | None) -> T | Literal["failed"] | None:
    """The result of a task; "failed" where the role could not do its work, None where it is not known."""
    if task is None or not task.done() or task.cancelled():
        return None
    error = task.exception()
    if error is None:
        return task.result()
    return "failed" if isinstance(error, AttemptFailed) else None
