"""Votes: replies of a judge with a verdict each, how many are cast, and the judgement that they make."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Literal

from spar.infer.cut_replies import count_cut
from spar.infer.engine import Completion, Engine, Request, Sampling
from spar.infer.engine_wrappers import free_requests
from spar.infer.gather import gather
from spar.infer.roles import ask
from spar.infer.verdict_probability import verdict_probability
from spar.templates.verdicts import parse_verdict
from spar.types import Judgement, Usage

VoteRule = Literal["full", "majority", "race", "posterior"]
"""`full` casts every vote; `majority` casts the rest only where the first few split; `race` casts all
at once (a majority first where the engine is full) and cuts the rest off as soon as a majority agrees, so its score and its critique, the first to arrive on the
majority side, depend on who is fast; `posterior` casts small waves until the leader probably leads (`next_wave`), so
its label may differ from that of `full`."""

POSTERIOR = 0.95
"""Probability that more than half of a judge's votes agree with the leader, from which `posterior` stops: the
default of its_hub's adaptive self-consistency, which this rule follows."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One reply of a judge."""

    text: str
    verdict: bool | None
    """None if no verdict can be read."""
    is_cut: bool = False
    """Whether it ended at its token limit before a verdict."""
    empty_reason: str = ""
    """As the completion's."""
    probability: float | None = None
    """P(Yes) at its verdict; None where the request asked for no probabilities, the engine gave none, or there is no verdict."""


def read_vote(reply: Completion, response: str = "") -> Vote:
    """The vote of a reply about a response."""
    verdict = parse_verdict(reply.text, response)
    is_cut = reply.finish == "length" and verdict is None
    probability = verdict_probability(reply, response) if reply.logprobs else None
    return Vote(reply.text, verdict, is_cut, reply.empty_reason, probability)


def cut_reason(usage: Usage, sampling: Sampling) -> str:
    """What to add to a fault for the votes that were cut; "" where none was."""
    if not usage.cut_calls:
        return ""
    votes = f"{usage.cut_calls:,} of {usage.calls:,} votes were"
    if usage.cut_calls == usage.calls:
        votes = "the vote was" if usage.calls == 1 else f"all {usage.calls:,} votes were"
    return f": {votes} cut at {sampling.max_tokens:,} tokens before a verdict"


def empty_reason(votes: Sequence[Vote]) -> str:
    """What to add to a fault for the votes of the last round that were empty; "" where no server said why."""
    reasons = Counter(vote.empty_reason for vote in votes if vote.empty_reason)
    if not reasons:
        return ""
    (reason, _), *_ = reasons.most_common(1)
    return f": {reasons.total():,} of the last {len(votes):,} votes were empty: {reason}"


Cast = tuple[list[Vote], Usage]
"""The votes that came in, in order (`race`: of arrival), and what was spent so far."""

OnVote = Callable[[int, Vote], None]
"""Called with each vote the moment it arrives, and its position among the requests of the round."""

ON_VOTE: ContextVar[OnVote | None] = ContextVar("on_vote", default=None)
"""Callback for the votes that the current task casts; None for none."""


def with_task_callback(on_vote: OnVote | None) -> OnVote | None:
    """A callback that calls `on_vote` and the current task's `ON_VOTE`; None where there is neither."""
    of_task = ON_VOTE.get()
    if on_vote is None or of_task is None:
        return on_vote or of_task

    def call_both(position: int, vote: Vote) -> None:
        of_task(position, vote)
        on_vote(position, vote)

    return call_both


NextWave = Callable[[Sequence[bool | None], int], int]
"""From the verdicts so far and the votes that may still be cast to how many are cast next; 0 where voting has ended."""


async def cast_all(
    engine: Engine,
    requests: Sequence[Request],
    spent: Usage,
    response: str,
    on_vote: OnVote | None = None,
) -> Cast:
    """Every vote: in one call, or each in its own where `on_vote` is to be called as they arrive."""
    if on_vote is not None:
        return await _cast_singly(engine, requests, spent, response, on_vote)
    replies, spent = await ask(engine, requests, spent)
    votes = [read_vote(reply, response) for reply in replies]
    limit = requests[0].sampling.max_tokens
    return votes, spent + count_cut("judge", [vote.is_cut for vote in votes], limit)


async def cast_in_waves(
    next_size: NextWave,
    engine: Engine,
    requests: Sequence[Request],
    spent: Usage,
    response: str,
    on_vote: OnVote | None = None,
) -> Cast:
    """Votes in waves, until `next_size` of those that are in is 0."""
    votes: list[Vote] = []
    while size := next_size([vote.verdict for vote in votes], len(requests) - len(votes)):
        wave = requests[len(votes) : len(votes) + size]
        on_wave = _shifted(on_vote, len(votes))
        cast, spent = await cast_all(engine, wave, spent, response, on_wave)
        votes += cast
    return votes, spent + Usage(skipped_calls=len(requests) - len(votes))


async def cast_race(
    engine: Engine,
    requests: Sequence[Request],
    spent: Usage,
    response: str,
    on_vote: OnVote | None = None,
) -> Cast:
    """All votes at once, or only as many as may decide where the engine is full; once a majority agrees, the rest is aborted."""
    needed = len(requests) // 2 + 1
    num_sent = len(requests) if free_requests(engine) >= len(requests) else needed
    may_send, arrived = asyncio.Semaphore(num_sent), list[Vote]()
    tally: Counter[bool | None] = Counter()

    async def cast(position: int, request: Request) -> Usage:
        nonlocal num_sent
        await may_send.acquire()
        (vote,), cost = await cast_all(engine, [request], Usage(), response)
        arrived.append(vote)
        tally[vote.verdict] += 1
        if on_vote is not None:
            on_vote(position, vote)
        lead, num_out = max(tally[True], tally[False]), num_sent - len(arrived)
        for _ in range(min(needed - lead - num_out, len(requests) - num_sent)):
            may_send.release()
            num_sent += 1
        return cost

    tasks = [asyncio.ensure_future(cast(*numbered)) for numbered in enumerate(requests)]
    costs = await gather(tasks, lambda _: max(tally[True], tally[False]) >= needed)
    unsent = Usage(aborted_calls=num_sent - len(costs), skipped_calls=len(requests) - num_sent)
    return arrived, sum(costs, spent) + unsent


async def _cast_singly(
    engine: Engine, requests: Sequence[Request], spent: Usage, response: str, on_vote: OnVote
) -> Cast:
    """Every vote, each in a call of its own."""

    async def cast(position: int, request: Request) -> Cast:
        votes, cost = await cast_all(engine, [request], Usage(), response)
        on_vote(position, votes[0])
        return votes, cost

    tasks = [asyncio.ensure_future(cast(*numbered)) for numbered in enumerate(requests)]
    results = await gather(tasks, lambda _: False)
    return [votes[0] for votes, _ in results], sum((cost for _, cost in results), spent)


def _shifted(on_vote: OnVote | None, by: int) -> OnVote | None:
    """The callback for a part of the requests that starts at a later position."""
    return on_vote and (lambda position, vote: on_vote(position + by, vote))


def _num_race(verdicts: Sequence[bool | None], num_votes: int) -> int:
    """How many votes, in order of arrival, `race` waits for."""
    tally: Counter[bool | None] = Counter()
    for number, verdict in enumerate(verdicts, start=1):
        tally[verdict] += 1
        if max(tally[True], tally[False]) > num_votes // 2:
            return number
    return num_votes


def _num_in_waves(next_size: NextWave, verdicts: Sequence[bool | None], num_votes: int) -> int:
    """How many votes `cast_in_waves` casts."""
    num_cast = 0
    while size := next_size(verdicts[:num_cast], num_votes - num_cast):
        num_cast += size
    return num_cast


class Forecast:
    """The failing judgement to expect while votes come in: all that are not in yet say No.

    Parameters
    ----------
    rule:
        How the votes are cast.
    num_votes:
        Most votes of the round.
    report:
        Called with the judgement to expect; None once the response will pass.
    """

    def __init__(
        self, rule: VoteRule, num_votes: int, report: Callable[[Judgement | None], None]
    ) -> None:
        self._rule, self._num_votes, self._report = rule, num_votes, report
        self._votes: dict[int, Vote] = {}

    def add(self, position: int, vote: Vote) -> None:
        """Count a vote that arrived, and report what is expected now."""
        self._votes[len(self._votes) if self._rule == "race" else position] = vote
        critique = self._critique()
        if critique is None:
            return
        verdicts = [
            self._votes[number].verdict if number in self._votes else False
            for number in range(self._num_votes)
        ]
        verdicts = verdicts[: _NUM_CAST[self._rule](verdicts, self._num_votes)]
        if verdicts.count(True) >= verdicts.count(False):
            self._report(None)
            return
        self._report(Judgement(verdicts=tuple(verdicts), critique=critique))

    def _critique(self) -> str | None:
        """The text of the first No, whose place no vote that is on its way can take; None without it."""
        for number in range(self._num_votes):
            vote = self._votes.get(number)
            if vote is None:
                return None
            if vote.verdict is False:
                return vote.text
        return None


def next_majority_wave(verdicts: Sequence[bool | None], remaining: int) -> int:
    """How many votes `majority` casts next: as many as decide; then the rest, where these split or cannot be parsed."""
    if not verdicts:
        return remaining // 2 + 1
    agree = len(set(verdicts)) == 1 and None not in verdicts
    return 0 if agree else remaining


def next_wave(verdicts: Sequence[bool | None], remaining: int) -> int:
    """How many votes `posterior` casts next: the fewest that can end the voting if all of them agree with the leader.

    Parameters
    ----------
    verdicts:
        Those of the votes so far; one that could not be parsed counts for neither side.
    remaining:
        Votes that may still be cast.

    Returns
    -------
    int
        0 where voting has ended: the rest cannot overtake the leader, or `leading` is `POSTERIOR` at least.
    """
    follower, leader = sorted((verdicts.count(True), verdicts.count(False)))

    def ends(further: int) -> bool:
        lead = leader + further - follower
        return lead > remaining - further or leading(leader + further, follower) >= POSTERIOR

    return bisect_left(range(remaining), True, key=ends)


def leading(leader: int, follower: int) -> float:
    """Probability that the leader's share of a judge's votes is above one half, under a uniform prior.

    The posterior of the share is Beta(leader + 1, follower + 1); its mass above 1/2 is the chance of at most
    `leader` heads in `leader + follower + 1` throws of a coin.
    """
    throws, term, total = leader + follower + 1, 1, 0
    for heads in range(leader + 1):
        total += term
        term = term * (throws - heads) // (heads + 1)
    return total / (1 << throws)


VOTE_RULES: Mapping[VoteRule, Callable[..., Awaitable[Cast]]] = {
    "full": cast_all,
    "majority": partial(cast_in_waves, next_majority_wave),
    "race": cast_race,
    "posterior": partial(cast_in_waves, next_wave),
}

_NUM_CAST: Mapping[VoteRule, Callable[[Sequence[bool | None], int], int]] = {
    "full": lambda _, num_votes: num_votes,
    "majority": partial(_num_in_waves, next_majority_wave),
    "race": _num_race,
    "posterior": partial(_num_in_waves, next_wave),
}
"""Rule to how many votes it casts, where these verdicts come in."""


def count_votes(votes: Sequence[Vote], *, keep: bool = False) -> Judgement | None:
    """The judgement that the votes make, with their texts if `keep`; None on a tie or where none was parsed."""
    verdicts = [vote.verdict for vote in votes]
    num_yes, num_no = verdicts.count(True), verdicts.count(False)
    if num_yes == num_no:
        return None
    majority = num_yes > num_no
    dissent = next((vote.text for vote in votes if vote.verdict is (not majority)), None)
    return judgement_of(votes, votes[verdicts.index(majority)].text, dissent, keep=keep)


def judgement_of(
    votes: Sequence[Vote], critique: str, dissent: str | None = None, *, keep: bool = False
) -> Judgement:
    """The judgement with these votes, whatever they decide, and with their texts if `keep`."""
    probabilities = tuple(vote.probability for vote in votes)
    return Judgement(
        verdicts=tuple(vote.verdict for vote in votes),
        critique=critique,
        dissent=dissent,
        cut=tuple(number for number, vote in enumerate(votes) if vote.is_cut),
        votes=tuple(vote.text for vote in votes) if keep else (),
        probabilities=probabilities if any(each is not None for each in probabilities) else (),
    )
