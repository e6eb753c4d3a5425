"""Judging responses that were not written in the search: each becomes the judged root of a tree.

A job whose prompts carry a response in their meta starts its searches at `judged_roots`. With the
strategy `greedy`, which adds nothing to a root, each tree is one judged node; any other strategy searches
below the root.

Benchmarks of judges count one round of votes (`Roles.with_one_round`): where a search would vote again
after a tie or an unparsed vote, they record it. So every vote is on record, with the seeds of a search's
first round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from spar.config import EvalConfig
from spar.infer.decode import RootsProvider
from spar.infer.reporting import judge_reporting
from spar.infer.roles import AttemptFailed, Judge, Roles
from spar.infer.seeds import derive
from spar.plugins import JUDGES
from spar.record.evaluation import Share
from spar.templates.verdicts import parse_verdict
from spar.types import Judgement, Node, Prompt, Role

RESPONSE = "response"
"""Field of a prompt's meta that holds the response to judge."""
GREEDY: Mapping[str, Any] = {"strategy": "greedy", "budget": 1, "greedy_first": True}
"""Settings of a job that writes one greedy draft, or adds nothing to given roots."""
_BARE = re.compile(r"\W*(yes|true|no|false)\W*", re.IGNORECASE)


def with_response(prompt: Prompt, response: str) -> Prompt:
    """The prompt with a response to judge in its meta."""
    return prompt.model_copy(update={"meta": {**prompt.meta, RESPONSE: response}})


def judging_settings(config: EvalConfig) -> dict[str, Any]:
    """Settings of a job that only judges: one greedy judgement, or `--judge-votes` sampled ones."""
    if config.judge_votes:
        return {**GREEDY, "votes": config.judge_votes}
    return {**GREEDY, "votes": 1, "vote": config.grade}


def judging_limits(config: EvalConfig) -> dict[Role, str]:
    """For `Job.limits`: the setting that limits the replies of such a job."""
    return {"judge": "vote.max_tokens" if config.judge_votes else "grade.max_tokens"}


def judge_roles(config: EvalConfig) -> tuple[Role, ...]:
    """Roles that a job must load in order to judge: none if the judge calls no model."""
    return ("judge",) if JUDGES.spec(config.judge).uses_model else ()


def judged_roots(seed: int | None) -> Callable[[Roles], RootsProvider]:
    """For `Job.roots`: the only root of each prompt is its own response, judged.

    A root that the judge cannot decide on is unjudged.

    Parameters
    ----------
    seed:
        The run's seed.
    """

    def from_roles(roles: Roles) -> RootsProvider:
        async def roots(prompt: Prompt) -> Sequence[Node]:
            return (await _root(prompt, roles.judge, seed),)

        return roots

    return from_roles


def majority(verdicts: Sequence[bool | None]) -> bool | None:
    """The majority of the parsed votes, None on a tie or if none was parsed."""
    num_yes, num_no = verdicts.count(True), verdicts.count(False)
    return None if num_yes == num_no else num_yes > num_no


def read_verdict(text: str) -> bool | None:
    """The verdict of a stored judgement: that of a judge's reply, or a bare yes, no, true or false."""
    bare = _BARE.fullmatch(text)
    return bare[1].casefold() in ("yes", "true") if bare else parse_verdict(text)


def f1_share(verdict: bool | None, label: bool) -> Share:
    """An example's share of the F1 of Yes, 2 TP / (2 TP + FP + FN). An unparsed verdict counts as No."""
    if verdict and label:
        return 2.0, 2.0
    return 0.0, float(bool(verdict) or label)


async def _root(prompt: Prompt, judge: Judge, seed: int | None) -> Node:
    response = prompt.meta[RESPONSE]
    judgement: Judgement | None = None
    try:
        seeds = partial(derive, seed, prompt.id, response, "judge")
        judgement, usage = await judge_reporting(judge, prompt, response, seeds, None)
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
