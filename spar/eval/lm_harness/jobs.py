"""The jobs of an lm-eval task: one searches replies, one computes log-likelihoods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from spar.eval.lm_harness.asks import LikelihoodAsk, ReplyAsk
from spar.eval.lm_harness.likelihoods import LikelihoodFile
from spar.eval.lm_harness.roles import LikelihoodActor, ReplyActor
from spar.infer.engine_wrappers import scorer
from spar.infer.roles import Roles
from spar.run.job import Job


def reply_job(name: str, asks: Sequence[ReplyAsk]) -> Job:
    """Search a reply to every request, with the task's stop strings and lengths for drafts."""
    by_id = {ask.prompt.id: ask for ask in asks}

    def change(roles: Roles) -> Roles:
        actor = roles.model_actor()
        replies = ReplyActor(actor.engine, actor.sampling, actor.greedy_first, by_id)
        return replace(roles, actor=replies)

    return Job(name, [ask.prompt for ask in asks], change=change)


@contextmanager
def likelihood_job(name: str, asks: Sequence[LikelihoodAsk], directory: Path) -> Iterator[Job]:
    """Score the texts of every document, one tree each. Leaving the context closes the likelihoods' file.

    Parameters
    ----------
    directory:
        The job's run directory.
    """
    by_id = {ask.prompt.id: ask for ask in asks}
    opened: list[LikelihoodFile] = []

    def change(roles: Roles) -> Roles:
        scoring = scorer(roles.model_actor().engine)  # raises before any request is sent
        opened.append(LikelihoodFile(directory))
        return replace(roles, actor=LikelihoodActor(scoring, opened[0], by_id))

    settings = {"strategy": "greedy", "budget": 1}
    prompts = [ask.prompt for ask in asks]
    try:
        yield Job(name, prompts, settings, roles=("actor",), change=change)
    finally:
        for file in opened:
            file.close()
