"""The openai engine against `vllm serve` with the embedded model, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from spar.errors import PromptTooLong
from spar.infer.engine import Deployment, Engine, Request, Sampling
from spar.infer.engines.openai.engine import OpenAIEngine, OpenAISettings
from spar.types import Message

pytestmark = pytest.mark.vllm

LONG = "Write one sentence that has the word garden in it twice and does not end with a bell. " * 2
"""A prompt longer than one block of the prefix cache."""


@pytest.fixture
async def engine(vllm_server: str) -> AsyncIterator[Engine]:
    """An engine connected to the shared server."""
    made = OpenAIEngine(
        Deployment("nano", (vllm_server,)), OpenAISettings(timeout=120, retry_for=60)
    )
    yield made
    await made.aclose()


def ask(text: str, **sampling: float | None) -> Request:
    """A request for a short sampled reply."""
    settings = Sampling(**{"temperature": 0.8, "max_tokens": 24, "seed": 0} | sampling)  # type: ignore[arg-type]
    return Request((Message(role="user", content=text),), settings)


async def test_votes_in_one_request_equal_votes_in_single_requests(engine: Engine) -> None:
    """The server uses consecutive seeds for the samples of a request; in float32 the texts are equal."""
    votes = [ask("Write a line about a fox.", seed=70 + i) for i in range(5)]
    together = [reply.text for reply in await engine.generate(votes)]
    alone = [(await engine.generate([vote]))[0].text for vote in votes]
    assert together == alone
    assert len(set(together)) > 1


async def test_a_seeded_reply_does_not_depend_on_the_batch(engine: Engine) -> None:
    """The same seed gives the same text, other seeds other texts."""
    mine = ask("Write a line about a queen.", seed=5)
    (alone,) = await engine.generate([mine])
    others_running = [engine.generate([ask(f"Write {i}.", seed=3 * i)]) for i in range(12)]
    (again,), *_ = await asyncio.gather(engine.generate([mine]), *others_running)
    assert again.text == alone.text
    others = await engine.generate([ask("Write a line about a queen.", seed=s) for s in range(9)])
    assert len({reply.text for reply in others}) > 3


async def test_a_context_that_is_too_long_fails_alone(engine: Engine) -> None:
    """Only its own call raises the error."""
    results = await asyncio.gather(
        engine.generate([ask("Write a line.")]),
        engine.generate([ask("word " * 3000)]),
        return_exceptions=True,
    )
    assert isinstance(results[1], PromptTooLong)
    assert isinstance(results[0], list)


async def test_the_servers_prefix_cache_is_reported(engine: Engine) -> None:
    """A repeated prompt is cached except for its last block."""
    (first,) = await engine.generate([ask(LONG, seed=1)])
    (again,) = await engine.generate([ask(LONG, seed=2)])
    assert first.prompt_tokens == again.prompt_tokens > 32
    assert again.cached_tokens == (again.prompt_tokens - 1) // 32 * 32


async def test_logprobs_are_the_top_tokens(engine: Engine) -> None:
    """One entry per token, best first."""
    (reply,) = await engine.generate([ask("Write a line.", max_tokens=4, top_logprobs=3)])
    assert 3 <= len(reply.logprobs) <= 4
    for entry in reply.logprobs:
        values = list(entry.top.values())
        assert 1 <= len(values) <= 4
        assert values == sorted(values, reverse=True)


async def test_greedy_and_limits(engine: Engine) -> None:
    """Greedy replies need no seed; a reply cut by the limit says so."""
    greedy = [ask("Write a line.", temperature=0.0, seed=seed) for seed in (None, 0, 1)]
    assert len({reply.text for reply in await engine.generate(greedy)}) == 1
    (short,) = await engine.generate([ask("Write a line.", max_tokens=2)])
    assert (short.finish, short.completion_tokens) == ("length", 2)
