"""What a run does for lm-eval: a stage of searched replies, a stage of likelihoods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from spar.eval.lm_harness.asks import LikelihoodAsk, ReplyAsk
from spar.eval.lm_harness.likelihoods import LikelihoodFile
from spar.eval.lm_harness.roles import LikelihoodActor, ReplyActor
from spar.infer.engine_wrappers import scorer
from spar.infer.roles import Actor
from spar.infer.search import Roles
from spar.run.job import Job


def reply_job(name: str, asks: Sequence[ReplyAsk]) -> Job:
    """Search a reply to every ask, with drafts that end where the task says."""
    by_id = {ask.prompt.id: ask for ask in asks}

    def change(roles: Roles) -> Roles:
        own = _actor(roles)
        return replace(roles, actor=ReplyActor(own.engine, own.sampling, own.greedy_first, by_id))

    return Job(name, [ask.prompt for ask in asks], change=change)


@contextmanager
def likelihood_job(name: str, asks: Sequence[LikelihoodAsk], directory: Path) -> Iterator[Job]:
    """Score the texts of every ask, one tree a document; the file of likelihoods is closed at the end.

    Parameters
    ----------
    directory:
        The stage's run directory.
    """
    by_id = {ask.prompt.id: ask for ask in asks}
    opened: list[LikelihoodFile] = []

    def change(roles: Roles) -> Roles:
        scoring = scorer(_actor(roles).engine)  # refuses before anything is asked
        opened.append(LikelihoodFile(directory))
        return replace(roles, actor=LikelihoodActor(scoring, opened[0], by_id))

    settings = {"strategy": "greedy", "budget": 1}
    prompts = [ask.prompt for ask in asks]
    try:
        yield Job(name, prompts, settings, roles=("actor",), change=change)
    finally:
        for file in opened:
            file.close()


def _actor(roles: Roles) -> Actor:
    assert isinstance(roles.actor, Actor), "these stages make their actor from the run's own"
    return roles.actor
