"""Who answers lm-eval's requests in a search: drafts as the task wants them, and likelihoods.

A task's own settings hold for the first draft of a tree, so that greedy search gives what lm-eval's
models give; where a strategy wants more drafts, these are sampled as the run's settings say. Nothing
is taken off a reply, and an empty one is an answer: what it is worth is the task's business.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from spar.errors import PromptRefused
from spar.eval.lm_harness.likelihoods import LikelihoodFile, ScoredDocument, ScoredText
from spar.eval.lm_harness.requests import LikelihoodRequest, ReplyRequest
from spar.infer.engine import Continuation, Engine, Likelihood, Request, Sampling, Scorer
from spar.infer.roles import AttemptFailed, Generation, Seeds, ask
from spar.types import Message, Prompt, Usage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReplyActor:
    """Writes drafts that end where the task says."""

    engine: Engine
    sampling: Sampling
    """Of further drafts."""
    greedy_first: bool
    """Whether a tree's first draft is the task's own; else a greedy task's are all sampled."""
    asks: Mapping[str, ReplyRequest]
    """Prompt id to what the task wants."""

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """The draft at `index` among the tree's drafts."""
        wanted = self.asks[prompt.id]
        sampling = replace(self._sampling(wanted, index), seed=seeds(0))

        async def written(messages: tuple[Message, ...]) -> Generation:
            request = Request(messages, sampling, plain=wanted.plain, truncate=True)
            (reply,), usage = await ask(self.engine, [request])
            return Generation(reply.text, None, usage, sampling.seed)

        return await _without_system(prompt.messages, written, AttemptFailed)

    def _sampling(self, wanted: ReplyRequest, index: int) -> Sampling:
        own = Sampling(wanted.temperature, wanted.top_p, wanted.max_tokens, stop=wanted.until)
        if wanted.temperature > 0 or (self.greedy_first and index == 0):
            return own
        return replace(own, temperature=self.sampling.temperature, top_p=self.sampling.top_p)


@dataclass(frozen=True, slots=True)
class LikelihoodActor:
    """Answers with the likeliest of a document's texts, and writes down how likely each of them is."""

    scorer: Scorer
    file: LikelihoodFile
    asks: Mapping[str, LikelihoodRequest]
    """Prompt id to the texts."""

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """The likeliest text."""
        wanted, start = self.asks[prompt.id], time.monotonic()
        known = self.file.get(wanted)
        if known is not None:
            return Generation(known.likeliest.text, None, Usage(), None)
        found = await self._score(wanted)
        texts = [one.text for one in wanted.continuations]
        document = ScoredDocument(
            id=prompt.id,
            digest=wanted.digest,
            likelihoods=tuple(map(_scored_text, texts, found)),
        )
        self.file.add(document)
        usage = Usage(
            calls=len(found),
            completion_tokens=sum(one.tokens for one in found),
            seconds=time.monotonic() - start,
        )
        return Generation(document.likeliest.text, None, usage, None)

    async def _score(self, wanted: LikelihoodRequest) -> list[Likelihood]:
        try:
            return await self._tried(wanted.continuations)
        except PromptRefused as error:
            raise AttemptFailed(str(error), "", Usage()) from error

    async def _tried(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        contexts = {one.context for one in continuations}
        only = contexts.pop() if len(contexts) == 1 else ""

        async def scored(messages: tuple[Message, ...]) -> list[Likelihood]:
            asked = [replace(one, context=messages) for one in continuations]
            return await self.scorer.score(asked)

        if isinstance(only, str):
            return await self.scorer.score(continuations)
        return await _without_system(only, scored, PromptRefused)


def _scored_text(text: str, found: Likelihood) -> ScoredText:
    return ScoredText(text=text, logprob=found.logprob, greedy=found.greedy, tokens=found.tokens)


async def _without_system(
    messages: tuple[Message, ...],
    work: Callable[[tuple[Message, ...]], Awaitable[T]],
    refused: type[Exception],
) -> T:
    """Once more without the system's turn where a conversation that has one is refused, as lm-eval does."""
    try:
        return await work(messages)
    except refused:
        rest = tuple(message for message in messages if message.role != "system")
        if len(rest) == len(messages) or not rest:
            raise
        return await work(rest)
