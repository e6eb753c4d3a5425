"""The `fake` engine: a function from request to text. For tests, benchmarks and trying out plumbing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from spar.errors import EngineError
from spar.infer.engine import (
    Completion,
    Continuation,
    Deployment,
    Likelihood,
    NoteCallback,
    Request,
)
from spar.infer.engines.stops import find_stop

if TYPE_CHECKING:
    from spar.config import DecodeConfig

Reply = Callable[[Request], str]
"""What the engine says to a request; may raise to stand for a fault."""


class FakeEngine:
    """Answers with `reply(request)` after `latency` seconds; counts words as tokens."""

    def __init__(self, reply: Reply, *, latency: float = 0.0, model: str = "fake") -> None:
        self.model = model
        self.description = "scripted replies"
        self.capacity = 0
        self.requests: list[Request] = []
        """Every request so far, where `keep` is on."""
        self.keep = True
        self._reply, self._latency = reply, latency
        self._closed = False

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order."""
        if self._closed:
            raise EngineError("the engine is closed")
        if self.keep:
            self.requests.extend(requests)
        await asyncio.sleep(self._latency)
        return [self._complete(request) for request in requests]

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One likelihood a continuation, in order, as `scripted_likelihood` draws them."""
        if self._closed:
            raise EngineError("the engine is closed")
        await asyncio.sleep(self._latency)
        return [scripted_likelihood(continuation) for continuation in continuations]

    async def aclose(self) -> None:
        """Refuse what comes after; there is nothing to free."""
        self._closed = True

    def _complete(self, request: Request) -> Completion:
        words = self._reply(request).split(" ")
        limit = request.sampling.max_tokens
        prompt_tokens = sum(message.content.count(" ") + 1 for message in request.messages)
        text = " ".join(words[:limit])
        end = find_stop(text, request.sampling.stop)
        return Completion(
            text=text[:end],
            finish="stop" if len(words) <= limit or end < len(text) else "length",
            prompt_tokens=prompt_tokens,
            completion_tokens=min(len(words), limit),
        )


def scripted_reply(request: Request) -> str:
    """Drafts, verdicts and refinements in spar's format, drawn from the request's seed.

    A verdict is yes for about a third of the votes' common tendency: a hash of the judged prompt.
    """
    asked = request.messages[-1].content
    chance = hashlib.blake2b(f"{asked}|{request.sampling.seed}".encode("utf-8", "replace")).digest()
    if "[[start]]" in asked:
        return f"To mend: wording.\nFinal Refined Output:\n[[start]]\nanswer {chance.hex()[:8]}\n[[end]]"
    if "Final Judgement" in asked:
        leaning = hashlib.blake2b(asked.encode("utf-8", "replace")).digest()[0] % 3 == 0
        verdict = leaning != (chance[0] < 40)
        return f"- the wording: looked at.\nFinal Judgement: {'Yes' if verdict else 'No'}"
    return f"answer {chance.hex()[:8]}"


def scripted_likelihood(continuation: Continuation) -> Likelihood:
    """Up to three nats a word, drawn by a hash of context and text; greedy where it is under a third."""
    asked = f"{continuation.context}|{continuation.text}".encode("utf-8", "replace")
    nats = 3 * hashlib.blake2b(asked).digest()[0] / 256
    num_words = len(continuation.text.split())
    return Likelihood(-nats * num_words, nats < 1 / 3, num_words)


def open_fake(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> FakeEngine:
    """The fake engine with the scripted reply, for `--engine fake`."""
    engine = FakeEngine(scripted_reply)
    engine.keep = False
    return engine
