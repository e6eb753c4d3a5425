"""The `fake` engine: replies come from a Python function. For tests, benchmarks and trying things out."""

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
"""Returns the text of the reply to a request; may raise to simulate an error."""


class FakeEngine:
    """Replies with `reply(request)` after `latency` seconds; each word counts as a token."""

    def __init__(self, reply: Reply, *, latency: float = 0.0, model: str = "fake") -> None:
        self.model = model
        self.description = "scripted replies"
        self.capacity = 0
        self.requests: list[Request] = []
        """Every request so far, if `record` is on."""
        self.record = True
        self._reply, self._latency = reply, latency
        self._closed = False

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order."""
        if self._closed:
            raise EngineError("the engine is closed")
        if self.record:
            self.requests.extend(requests)
        if any(request.on_text for request in requests):
            return await self._stream(requests)
        await asyncio.sleep(self._latency)
        return [self._complete(request) for request in requests]

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One likelihood per continuation, in order, from `scripted_likelihood`."""
        if self._closed:
            raise EngineError("the engine is closed")
        await asyncio.sleep(self._latency)
        return [scripted_likelihood(continuation) for continuation in continuations]

    async def aclose(self) -> None:
        """Refuse further requests."""
        self._closed = True

    async def _stream(self, requests: Sequence[Request]) -> list[Completion]:
        """Complete, a word at a time over the latency."""
        completions = [self._complete(request) for request in requests]
        texts = [completion.text.split(" ") for completion in completions]
        num_steps = max(map(len, texts))
        for step in range(1, num_steps + 1):
            await asyncio.sleep(self._latency / num_steps)
            for request, words in zip(requests, texts, strict=True):
                if request.on_text is not None:
                    request.on_text(" ".join(words[:step]))
        return completions

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


_REQUIRED = ("on the topic", "one line", "in plain words")


def scripted_reply(request: Request) -> str:
    """Drafts, verdicts, lists of requirements and refinements in spar's format, derived from the request's seed.

    About a third of the responses pass, and of the requirements of one: votes mostly agree, by a hash of the prompt.
    """
    prompt = request.messages[-1].content
    digest = hashlib.blake2b(
        f"{prompt}|{request.sampling.seed}".encode("utf-8", "replace")
    ).digest()
    if "[[start]]" in prompt:
        return f"To mend: wording.\nFinal Refined Output:\n[[start]]\nanswer {digest.hex()[:8]}\n[[end]]"
    if prompt.endswith("### Requirements"):
        return "\n".join(f"{number}. It is {what}." for number, what in enumerate(_REQUIRED, 1))
    leaning = hashlib.blake2b(prompt.encode("utf-8", "replace")).digest()
    verdicts = [
        "Yes" if (most % 3 == 0) != (own < 40) else "No"
        for most, own in zip(leaning, digest, strict=True)
    ]
    if "Final Judgement" in prompt:
        return f"- the wording: looked at.\nFinal Judgement: {verdicts[0]}"
    if prompt.endswith("### Verification"):  # a checklist's
        num = prompt.rpartition("### Requirements\n")[2].count("\n") - 1
        return "\n".join(
            f"{n}. looked at: {verdict}" for n, verdict in enumerate(verdicts[:num], 1)
        )
    return f"answer {digest.hex()[:8]}"


def scripted_likelihood(continuation: Continuation) -> Likelihood:
    """Up to three nats per word, by a hash of context and text; greedy if it is below a third."""
    key = f"{continuation.context}|{continuation.text}".encode("utf-8", "replace")
    nats = 3 * hashlib.blake2b(key).digest()[0] / 256
    num_words = len(continuation.text.split())
    return Likelihood(-nats * num_words, nats < 1 / 3, num_words)


def open_fake(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> FakeEngine:
    """The fake engine with `scripted_reply`, for `--engine fake`."""
    engine = FakeEngine(scripted_reply)
    engine.record = False
    return engine
