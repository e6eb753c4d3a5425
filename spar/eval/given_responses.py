"""Judging what was written elsewhere: a given response becomes a judged root.

A stage whose prompts carry a response in their meta starts its searches at `judged_roots`. With the
strategy `greedy`, which leaves given roots alone, its trees are one judged node each; with any other
strategy the search goes on from there.

A judgement that a benchmark counts is one round of votes (`one_round`): a tie or an unreadable vote
stays as it fell, where a search would ask again. So every vote is on record, and its seeds are those
of a search's first round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from spar.config import EvalConfig, SamplingConfig
from spar.infer.decode import RootsProvider
from spar.infer.engine import Engine, Request, Sampling
from spar.infer.judges import Judge, JudgeSettings, VotesJudge, cast_all, count_votes
from spar.infer.roles import AttemptFailed, Seeds, judge_messages
from spar.infer.search import Roles
from spar.infer.seeds import derive, run_of_seeds
from spar.record.evaluation import Share
from spar.templates.parse import parse_verdict
from spar.types import Judgement, Node, Prompt, Usage

RESPONSE = "response"
"""Field of a prompt's meta that holds the response to judge."""

ALONE: Mapping[str, Any] = {"strategy": "greedy", "budget": 1, "greedy_first": True}
"""Settings of a stage that writes one greedy draft, or leaves given roots alone."""

_BARE = re.compile(r"\W*(yes|true|no|false)\W*", re.IGNORECASE)


def with_response(prompt: Prompt, response: str) -> Prompt:
    """The prompt with a response to judge in its meta."""
    return prompt.model_copy(update={"meta": {**prompt.meta, RESPONSE: response}})


def judging(config: EvalConfig) -> dict[str, Any]:
    """Settings of a stage that only judges: one greedy judgement, or as many votes as are asked for."""
    if config.judge_votes:
        return {**ALONE, "votes": config.judge_votes}
    return {**ALONE, "votes": 1, "vote": config.grade}


def judged_roots(seed: int | None) -> Callable[[Roles], RootsProvider]:
    """What a stage's `begin` takes: each prompt's own response, judged, is its only root.

    Where the judge decides nothing the root is unjudged.

    Parameters
    ----------
    seed:
        The run's seed.
    """

    def begin(roles: Roles) -> RootsProvider:
        async def roots(prompt: Prompt) -> Sequence[Node]:
            return (await _root(prompt, roles.judge, seed),)

        return roots

    return begin


def one_round(roles: Roles) -> Roles:
    """The roles with a judge that casts its votes once; judges that do not vote stay as they are."""
    if not isinstance(roles.judge, VotesJudge):
        return roles
    return replace(roles, judge=OneRound(roles.judge.settings))


@dataclass(frozen=True, slots=True)
class OneRound:
    """Every vote cast once, whatever they come to."""

    settings: JudgeSettings

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Ask for all votes together."""
        messages = judge_messages(self.settings.templates, prompt, response)
        votes = [
            Request(messages, replace(self.settings.sampling, seed=seed))
            for seed in run_of_seeds(seeds(0), self.settings.votes)
        ]
        texts, usage = await cast_all(self.settings.engine, votes, Usage())
        undecided = Judgement(verdicts=tuple(map(parse_verdict, texts)), critique=texts[0])
        return count_votes(texts) or undecided, usage


def judge_engine(roles: Roles) -> Engine:
    """The engine that the judge asks."""
    settings = getattr(roles.judge, "settings", None)
    assert isinstance(settings, JudgeSettings), f"{type(roles.judge).__name__} has no engine"
    return settings.engine


def sampling_of(config: SamplingConfig) -> Sampling:
    """A role's sampling out of its settings."""
    return Sampling(config.temperature, config.top_p, config.max_tokens)


def decision(verdicts: Sequence[bool | None]) -> bool | None:
    """What the votes come to: the majority of those that can be read, None on a tie or where none can."""
    num_yes, num_no = verdicts.count(True), verdicts.count(False)
    return None if num_yes == num_no else num_yes > num_no


def read_verdict(text: str) -> bool | None:
    """A stored judgement's verdict: what a judge's reply closes with, or a bare yes, no, true, false."""
    bare = _BARE.fullmatch(text)
    return bare[1].casefold() in ("yes", "true") if bare else parse_verdict(text)


def f1_share(said: bool | None, truth: bool) -> Share:
    """An example's share of the F1 of Yes, 2 TP / (2 TP + FP + FN). What cannot be read is no Yes."""
    if said and truth:
        return 2.0, 2.0
    return 0.0, float(bool(said) or truth)


async def _root(prompt: Prompt, judge: Judge, seed: int | None) -> Node:
    response = prompt.meta[RESPONSE]
    judgement: Judgement | None = None
    try:
        seeds = partial(derive, seed, prompt.id, response, "judge")
        judgement, usage = await judge.judge(prompt, response, seeds)
    except AttemptFailed as error:
        usage = error.usage
    return Node(
        id=0,
        parent=None,
        depth=0,
        response=response,
        judgement=judgement,
        usage=usage,
        judge_usage=usage,
    )
