"""Votes: replies of a judge with a verdict each, how many are cast, and the judgement that they make."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from spar.infer.cut_replies import count_cut
from spar.infer.engine import Completion, Engine, Request, Sampling
from spar.infer.gather import gather
from spar.infer.roles import ask
from spar.templates.verdicts import parse_verdict
from spar.types import Judgement, Usage

VoteRule = Literal["full", "majority", "race", "posterior"]
"""`full` casts every vote; `majority` casts the rest only where the first few split; `race` casts all
at once and cuts the rest off as soon as a majority agrees, so its score depends on who is fast; `posterior`
casts small waves until the leader probably leads (`next_wave`), so its label may differ from that of `full`."""

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


def read_vote(reply: Completion, response: str = "") -> Vote:
    """The vote of a reply about a response."""
    verdict = parse_verdict(reply.text, response)
    is_cut = reply.finish == "length" and verdict is None
    return Vote(reply.text, verdict, is_cut, reply.empty_reason)


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
"""The votes that came in, in order, and what was spent so far."""


async def cast_all(
    engine: Engine, requests: Sequence[Request], spent: Usage, response: str
) -> Cast:
    """Every vote, together."""
    replies, spent = await ask(engine, requests, spent)
    votes = [read_vote(reply, response) for reply in replies]
    limit = requests[0].sampling.max_tokens
    return votes, spent + count_cut("judge", [vote.is_cut for vote in votes], limit)


async def cast_majority(
    engine: Engine, requests: Sequence[Request], spent: Usage, response: str
) -> Cast:
    """As many votes as a majority needs; the rest where these split or cannot be parsed."""
    needed = len(requests) // 2 + 1
    votes, spent = await cast_all(engine, requests[:needed], spent, response)
    verdicts = {vote.verdict for vote in votes}
    if needed == len(requests):
        return votes, spent
    if len(verdicts) == 1 and None not in verdicts:
        return votes, spent + Usage(skipped_calls=len(requests) - needed)
    rest, spent = await cast_all(engine, requests[needed:], spent, response)
    return votes + rest, spent


async def cast_race(
    engine: Engine, requests: Sequence[Request], spent: Usage, response: str
) -> Cast:
    """All votes at once; once a majority of them agrees, those on their way are aborted."""
    tally: Counter[bool | None] = Counter()

    def decided(result: Cast) -> bool:
        tally[result[0][0].verdict] += 1
        return max(tally[True], tally[False]) > len(requests) // 2

    tasks = [
        asyncio.ensure_future(cast_all(engine, [request], Usage(), response))
        for request in requests
    ]
    results = await gather(tasks, decided)
    for _, cost in results:
        spent += cost
    spent += Usage(aborted_calls=len(requests) - len(results))
    return [votes[0] for votes, _ in results], spent


async def cast_posterior(
    engine: Engine, requests: Sequence[Request], spent: Usage, response: str
) -> Cast:
    """Votes in small waves, until the leader probably or certainly has the majority."""
    votes: list[Vote] = []
    while size := next_wave([vote.verdict for vote in votes], len(requests) - len(votes)):
        wave = requests[len(votes) : len(votes) + size]
        cast, spent = await cast_all(engine, wave, spent, response)
        votes += cast
    return votes, spent + Usage(skipped_calls=len(requests) - len(votes))


VOTE_RULES: Mapping[VoteRule, Callable[..., Awaitable[Cast]]] = {
    "full": cast_all,
    "majority": cast_majority,
    "race": cast_race,
    "posterior": cast_posterior,
}


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


def count_votes(votes: Sequence[Vote]) -> Judgement | None:
    """The judgement that the votes make, None on a tie or where none was parsed."""
    verdicts = [vote.verdict for vote in votes]
    num_yes, num_no = verdicts.count(True), verdicts.count(False)
    if num_yes == num_no:
        return None
    majority = num_yes > num_no
    dissent = next((vote.text for vote in votes if vote.verdict is (not majority)), None)
    return judgement_of(votes, votes[verdicts.index(majority)].text, dissent)


def judgement_of(votes: Sequence[Vote], critique: str, dissent: str | None = None) -> Judgement:
    """The judgement with these votes, whatever they decide."""
    return Judgement(
        verdicts=tuple(vote.verdict for vote in votes),
        critique=critique,
        dissent=dissent,
        cut=tuple(number for number, vote in enumerate(votes) if vote.is_cut),
    )
