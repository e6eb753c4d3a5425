"""The jobs of an lm-eval task: one searches replies, one computes log-likelihoods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from spar.eval.lm_harness.likelihoods import LikelihoodFile
from spar.eval.lm_harness.requests import LikelihoodRequest, ReplyRequest
from spar.eval.lm_harness.roles import LikelihoodActor, ReplyActor
from spar.infer.answers import Select, select_best
from spar.infer.engine_wrappers import scorer
from spar.infer.engines.chat import template_arguments
from spar.infer.roles import Roles
from spar.run.job import Job


def reply_job(
    name: str,
    requests: Sequence[ReplyRequest],
    select: Select = select_best,
) -> Job:
    """Search a reply to every request, with the task's stop strings and lengths for drafts.

    Parameters
    ----------
    select:
        Which node of a tree answers.
    """
    by_id = {request.prompt.id: request for request in requests}

    def change(roles: Roles) -> Roles:
        actor = roles.model_actor()
        replies = ReplyActor(actor.engine, actor.sampling, actor.greedy_first, by_id)
        return replace(roles, actor=replies)

    return Job(name, [request.prompt for request in requests], change=change, select=select)


@contextmanager
def likelihood_job(
    name: str, requests: Sequence[LikelihoodRequest], directory: Path
) -> Iterator[Job]:
    """Score the texts of every document, one tree each. Leaving the context closes the likelihoods' file.

    Parameters
    ----------
    directory:
        The job's run directory.
    """
    by_id = {request.prompt.id: request for request in requests}
    opened: list[LikelihoodFile] = []

    def change(roles: Roles) -> Roles:
        actor = roles.model_actor()
        scoring = scorer(actor.engine)  # raises before any request is sent
        opened.append(LikelihoodFile(directory))
        arguments = template_arguments(actor.sampling)
        return replace(roles, actor=LikelihoodActor(scoring, opened[0], by_id, arguments))

    settings = {"strategy": "greedy", "budget": 1}
    prompts = [request.prompt for request in requests]
    try:
        yield Job(name, prompts, settings, roles=("actor",), change=change)
    finally:
        for file in opened:
            file.close()
