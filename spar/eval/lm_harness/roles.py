"""The actors that answer lm-eval's requests in a search: drafts as the task specifies them, and likelihoods.

A task's own settings hold for the first draft of a tree, so that greedy search gives what lm-eval's
models give; where a strategy needs more drafts, these are sampled as the run's settings say. Nothing
is taken off a reply, and an empty one is an answer: the task scores it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from spar.errors import PromptRefused
from spar.eval.lm_harness.likelihoods import LikelihoodFile, ScoredDocument, ScoredText
from spar.eval.lm_harness.requests import LikelihoodRequest, ReplyRequest
from spar.infer.engine import Engine, Likelihood, Request, Sampling, Scorer
from spar.infer.roles import AttemptFailed, Generation, Seeds, ask
from spar.types import Message, Prompt, Usage

A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReplyActor:
    """Writes drafts that end where the task says."""

    engine: Engine
    sampling: Sampling
    """Of further drafts."""
    greedy_first: bool
    """Whether a tree's first draft is the task's own; else a greedy task's are all sampled."""
    requests: Mapping[str, ReplyRequest]
    """Prompt id to the task's request."""

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """The draft at `index` among the tree's drafts."""
        task_request = self.requests[prompt.id]
        sampling = replace(self._sampling(task_request, index), seed=seeds(0))

        async def written(messages: tuple[Message, ...]) -> Generation:
            request = Request(messages, sampling, plain=task_request.plain, truncate=True)
            (reply,), usage = await ask(self.engine, [request])
            return Generation(reply.text, None, usage, sampling.seed)

        rest = _without_system(prompt.messages)
        return await _retried(written, prompt.messages, rest, AttemptFailed)

    def _sampling(self, task_request: ReplyRequest, index: int) -> Sampling:
        run = replace(self.sampling, max_tokens=task_request.max_tokens, stop=task_request.until)
        if task_request.temperature > 0 or (self.greedy_first and index == 0):
            return replace(
                run,
                temperature=task_request.temperature,
                top_p=task_request.top_p,
                top_k=0,
                min_p=0.0,
            )
        return run


@dataclass(frozen=True, slots=True)
class LikelihoodActor:
    """Answers with the likeliest of a document's texts, and records how likely each of them is."""

    scorer: Scorer
    file: LikelihoodFile
    requests: Mapping[str, LikelihoodRequest]
    """Prompt id to the texts."""
    chat_template_args: Mapping[str, Any] = field(default_factory=dict)
    """Variables of the chat template."""

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """The likeliest text."""
        task_request, start = self.requests[prompt.id], time.monotonic()
        stored = self.file.get(task_request)
        if stored is not None:
            return Generation(stored.likeliest.text, None, Usage(), None)
        likelihoods = await self._score(task_request)
        texts = [continuation.text for continuation in task_request.continuations]
        document = ScoredDocument(
            id=prompt.id,
            digest=task_request.digest,
            likelihoods=tuple(map(_scored_text, texts, likelihoods)),
        )
        self.file.add(document)
        usage = Usage(
            calls=len(likelihoods),
            completion_tokens=sum(likelihood.tokens for likelihood in likelihoods),
            seconds=time.monotonic() - start,
        )
        return Generation(document.likeliest.text, None, usage, None)

    async def _score(self, task_request: LikelihoodRequest) -> list[Likelihood]:
        # Each of several contexts is a conversation of its own, as in WinoGrande.
        continuations = [
            replace(each, chat_template_args=self.chat_template_args)
            for each in task_request.continuations
        ]
        rest = [
            each
            if isinstance(each.context, str)
            else replace(each, context=_without_system(each.context))
            for each in continuations
        ]
        try:
            return await _retried(self.scorer.score, continuations, rest, PromptRefused)
        except PromptRefused as error:
            raise AttemptFailed(str(error), "", Usage()) from error


def _scored_text(text: str, likelihood: Likelihood) -> ScoredText:
    return ScoredText(
        text=text, logprob=likelihood.logprob, greedy=likelihood.greedy, tokens=likelihood.tokens
    )


async def _retried(
    work: Callable[[A], Awaitable[T]], asked: A, rest: A, refused: type[Exception]
) -> T:
    """Once more without the system's turn (`rest`) where a conversation that has one is refused, as lm-eval does."""
    try:
        return await work(asked)
    except refused:
        if rest == asked:
            raise
        return await work(rest)


def _without_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns but the system's; all of them where nothing would be left."""
    return tuple(message for message in messages if message.role != "system") or messages
