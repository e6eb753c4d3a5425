"""One contract for every engine."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from spar.errors import EngineError, PromptTooLong, UsageError
from spar.infer.engine import (
    Completion,
    Continuation,
    Deployment,
    Engine,
    Request,
    Sampling,
    StructuredOutputs,
)
from spar.infer.engine_wrappers import constrains, scorer
from spar.infer.engines.fake import FakeEngine
from spar.infer.engines.openai.engine import OpenAIEngine
from spar.infer.streaming import TextDelta, stream
from spar.types import Message
from tests.infer.test_streaming import joined

CONTEXT = 256
"""Context length of most engines under test, in tokens; `vllm serve` has four times as many."""

ODD_TEXTS = [
    "🦊🏔️ é",
    "\u202eשלום עולם",
    "nul \x00 here",
    "\ud800 alone \udfff",
    "\u2028\x85\r",
    " ",
]


def babble(request: Request) -> str:
    """Fifty words derived from the conversation and the seed; long conversations are refused."""
    prompt = ascii([(message.role, message.content) for message in request.messages])
    if prompt.count(" ") >= CONTEXT and not request.truncate:
        raise PromptTooLong("the prompt has too many words")
    sampling = request.sampling
    dice = random.Random(f"{prompt}|{sampling.seed if sampling.temperature else 'greedy'}")
    return " ".join(f"w{dice.randrange(99)}" for _ in range(50))


ENGINES = [
    "fake",
    pytest.param("hf", marks=pytest.mark.model),
    "openai_engine",
    pytest.param("served_engine", marks=[pytest.mark.vllm, pytest.mark.slow]),
    pytest.param("vllm_engine", marks=[pytest.mark.vllm, pytest.mark.slow]),
    pytest.param("ray_engine", marks=[pytest.mark.ray, pytest.mark.slow]),
]
"""Every engine; those that take long to open are shared by the tests."""

CANNOT_SCORE = ("vllm_engine",)
"""Engines without log-likelihoods: vLLM, since this one has adapters."""


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """An engine of each kind, closed after the test."""
    if request.param == "fake":
        made: Engine = FakeEngine(babble, latency=0.001)
    elif request.param == "hf":
        made = open_tiny(request.getfixturevalue("tiny_model"))
    else:
        made = request.getfixturevalue(request.param)
    yield made
    await made.aclose()


@pytest.fixture
def served_engine(vllm_server: str) -> Engine:
    """The openai engine on a `vllm serve` of the embedded model."""
    return OpenAIEngine(Deployment("nano", urls=(vllm_server,)))


def open_tiny(folder: Path) -> Engine:
    """The hf engine on the tiny random model, in float32 on the CPU."""
    from spar.infer.engines.hf import HfEngine, HfSettings

    return HfEngine(str(folder), HfSettings(device="cpu", max_batch_size=8))


def ask(
    *texts: str, seed: int | None = 0, max_tokens: int = 12, temperature: float = 0.8
) -> list[Request]:
    """One request per text."""
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed)
    return [Request((Message(role="user", content=text),), sampling) for text in texts]


def test_every_engine_is_an_engine(engine: Engine) -> None:
    """It has the protocol's methods and a model name."""
    assert isinstance(engine, Engine)
    assert engine.model


async def test_no_requests_give_no_completions(engine: Engine) -> None:
    """An empty list gives an empty list."""
    assert await engine.generate([]) == []


async def test_completions_are_in_the_order_of_requests(engine: Engine) -> None:
    """Whatever their lengths."""
    requests = [
        request
        for i in range(12)
        for request in ask(f"say {i}", seed=i, max_tokens=1 + 37 * i % 20)
    ]
    together = await engine.generate(requests)
    alone = [(await engine.generate([request]))[0] for request in requests]
    assert together == alone
    assert len({reply.text for reply in together}) > 3


async def test_a_seeded_reply_does_not_depend_on_the_batch(engine: Engine) -> None:
    """Whatever other requests run, and whenever they arrive."""
    (mine,) = ask("tell me", seed=5, max_tokens=30)
    (alone,) = await engine.generate([mine])
    dice = random.Random(0)

    async def other_request(index: int) -> None:
        await asyncio.sleep(dice.random() * 0.03)
        await engine.generate(ask("a word " * index, "b", seed=index, max_tokens=1 + index))

    async def later() -> list[Completion]:
        await asyncio.sleep(0.01)
        return await engine.generate([mine])

    others = [asyncio.create_task(other_request(i)) for i in range(20)]
    assert await later() == [alone]
    await asyncio.gather(*others)


@pytest.mark.parametrize("stop", [(), ("w1", "e ")])
async def test_streamed_pieces_make_the_completion(engine: Engine, stop: tuple[str, ...]) -> None:
    """The pieces, joined, are the text; and the text is the one without a callback."""
    for index, text in enumerate(["tell me", *ODD_TEXTS]):
        (plain,) = ask(text, seed=index, max_tokens=30)
        request = replace(plain, sampling=replace(plain.sampling, stop=stop), plain=index % 2 == 1)
        (silent,) = await engine.generate([replace(request)])
        pieces: list[TextDelta] = []
        assert await stream(engine, request, pieces.append) == silent
        assert joined(pieces) == silent.text


async def test_different_seeds_differ(engine: Engine) -> None:
    """Votes on one prompt are sampled independently."""
    replies = await engine.generate([ask("tell me", seed=seed)[0] for seed in range(16)])
    assert len({reply.text for reply in replies}) >= 6


async def test_greedy_needs_no_seed(engine: Engine) -> None:
    """At temperature 0 every reply is the same, seeded or not."""
    requests = [ask("tell me", seed=seed, temperature=0.0)[0] for seed in (None, None, 0, 1)]
    assert len({reply.text for reply in await engine.generate(requests)}) == 1


async def test_max_tokens_is_respected(engine: Engine) -> None:
    """The finish reason says whether a reply reached the limit."""
    sizes = [1, 2, 3, 40, 60]
    requests = [ask("tell me", seed=s, max_tokens=n)[0] for n in sizes for s in range(6)]
    replies = await engine.generate(requests)
    for request, reply in zip(requests, replies, strict=True):
        limit = request.sampling.max_tokens
        assert 1 <= reply.completion_tokens <= limit
        assert reply.finish in ("stop", "length")
        assert reply.finish == "stop" or reply.completion_tokens == limit
    assert "length" in {reply.finish for reply in replies[:6]}
    assert "stop" in {reply.finish for reply in replies[-6:]}


async def test_a_shorter_limit_cuts_the_same_reply(engine: Engine) -> None:
    """The limit changes the length of a seeded reply, not its text."""
    whole = await engine.generate([ask("tell", seed=s, max_tokens=20)[0] for s in range(8)])
    cut = await engine.generate([ask("tell", seed=s, max_tokens=2)[0] for s in range(8)])
    for long, short in zip(whole, cut, strict=True):
        assert long.text.startswith(short.text.rstrip("\ufffd"))  # half a character may end it
    assert [reply.text for reply in whole] != [reply.text for reply in cut]


async def test_every_turn_is_read(engine: Engine) -> None:
    """System messages and earlier turns change the reply and the length of the prompt."""
    user = Message(role="user", content="tell me")
    system = Message(role="system", content="be brief")
    assistant = Message(role="assistant", content="what of")
    texts, lengths = set(), []
    for turns in [(user,), (system, user), (user, assistant, user)]:
        samplings = [Sampling(temperature=0.8, seed=seed, max_tokens=30) for seed in range(8)]
        replies = await engine.generate([Request(turns, sampling) for sampling in samplings])
        texts.add(tuple(reply.text for reply in replies))
        lengths.append(replies[0].prompt_tokens)
    assert len(texts) == 3
    assert lengths[0] < min(lengths[1:])


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
async def test_any_text_is_accepted(engine: Engine, text: str) -> None:
    """Any Python string can be a prompt, and so can its reply."""
    (reply,) = await engine.generate(ask(text))
    (again,) = await engine.generate(ask(reply.text))
    assert reply.completion_tokens >= 1
    assert again.completion_tokens >= 1


async def test_a_prompt_that_is_too_long_fails_alone(engine: Engine) -> None:
    """Only its own call raises the error."""
    results = await asyncio.gather(
        engine.generate(ask("one", "two")),
        engine.generate(ask("fine", "word " * 5 * CONTEXT)),
        engine.generate(ask("three")),
        return_exceptions=True,
    )
    assert isinstance(results[1], PromptTooLong)
    assert [len(r) for r in results if isinstance(r, list)] == [2, 1]
    assert len(await engine.generate(ask("later"))) == 1


async def test_a_stop_string_ends_the_reply(engine: Engine) -> None:
    """Before its first occurrence, whatever the token boundaries; the text before it is unchanged."""
    requests = [ask("tell me", seed=seed, max_tokens=30)[0] for seed in range(8)]
    texts = [reply.text for reply in await engine.generate(requests)]
    stops = [text[len(text) // 2 :][:6] for text in texts]
    cut = [
        replace(request, sampling=replace(request.sampling, stop=("absent", stop)))
        for request, stop in zip(requests, stops, strict=True)
    ]
    for text, stop, reply in zip(texts, stops, await engine.generate(cut), strict=True):
        assert reply.text == text[: text.find(stop)] if stop else reply.text == text
        assert reply.finish == "stop" or not stop
    assert len(set(stops)) > 3


async def test_stop_strings_that_do_not_occur_change_nothing(engine: Engine) -> None:
    """Nor does an empty one."""
    requests = [ask("tell me", seed=seed, max_tokens=20)[0] for seed in range(4)]
    stopped = [replace(r, sampling=replace(r.sampling, stop=("", "never so"))) for r in requests]
    assert await engine.generate(stopped) == await engine.generate(requests)


@pytest.mark.parametrize("text", ["Once upon", *ODD_TEXTS], ids=ascii)
async def test_a_plain_prompt_is_answered(engine: Engine, text: str) -> None:
    """Without the chat template, which adds tokens; the seed determines the text here too."""
    chat, other = ask(text, seed=3)[0], ask(text, seed=4)[0]
    replies = await engine.generate([replace(r, plain=True) for r in (chat, chat, other)])
    assert replies[0] == replies[1]
    assert all(reply.completion_tokens >= 1 for reply in replies)
    assert replies[0].prompt_tokens <= (await engine.generate([chat]))[0].prompt_tokens


@pytest.mark.parametrize("plain", [False, True])
async def test_a_long_prompt_is_truncated_on_request(engine: Engine, plain: bool) -> None:
    """By the in-process engines; a server refuses it. A prompt that fits is unchanged."""
    (long,) = ask("word " * 5 * CONTEXT, max_tokens=9)
    if isinstance(engine, OpenAIEngine):
        with pytest.raises(PromptTooLong):
            await engine.generate([replace(long, plain=plain, truncate=True)])
    else:
        (reply,) = await engine.generate([replace(long, plain=plain, truncate=True)])
        assert reply.completion_tokens >= 1
    (short,) = ask("word")
    fitting = [replace(short, plain=plain, truncate=truncate) for truncate in (False, True)]
    assert len(set(await engine.generate(fitting))) == 1


SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 4},
        "met": {"type": "string", "enum": ["Yes", "No"]},
    },
    "required": ["reason", "met"],
    "additionalProperties": False,
}


async def test_replies_match_what_they_must(engine: Engine, request: pytest.FixtureRequest) -> None:
    """A JSON schema or an expression, each request its own; other rows, and engines that constrain none, are as without."""
    free = [ask("tell me", seed=seed, max_tokens=40)[0] for seed in range(4)]
    matching = [
        replace(each, sampling=replace(each.sampling, structured_outputs=outputs))
        for each in free
        for outputs in (StructuredOutputs(SCHEMA), StructuredOutputs(regex="(ab|cd) [0-9]{2}"))
    ]
    replies = await engine.generate([*matching, *free])
    as_without = await engine.generate(free)
    assert replies[8:] == as_without
    if request.node.callspec.params["engine"] in ("fake", "openai_engine"):  # its server ignores it
        assert replies[:8:2] == replies[1:8:2] == as_without
        return
    if not constrains(engine):
        pytest.skip("xgrammar is not installed")
    alone = await asyncio.gather(*(engine.generate([each]) for each in matching))
    assert [reply for (reply,) in alone] == replies[:8]
    for reply in replies[:8:2]:
        parsed = json.loads(reply.text, strict=False)  # xgrammar permits tabs and the like
        assert (parsed.keys(), reply.finish) == ({"reason", "met"}, "stop")
        assert parsed["met"] in ("Yes", "No") and len(parsed["reason"]) <= 4
    for reply in replies[1:8:2]:
        assert re.fullmatch("(ab|cd) [0-9]{2}", reply.text) and reply.finish == "stop"
    (cut,) = await engine.generate(
        [replace(matching[0], sampling=replace(matching[0].sampling, max_tokens=3))]
    )
    assert replies[0].text.startswith(cut.text.rstrip("\ufffd")) and cut.finish == "length"


def test_a_reply_matches_a_schema_or_an_expression() -> None:
    """One of the two."""
    with pytest.raises(ValueError, match="one of the two"):
        StructuredOutputs()
    with pytest.raises(ValueError, match="one of the two"):
        StructuredOutputs(SCHEMA, "a")


async def test_likelihoods_are_in_order(engine: Engine, request: pytest.FixtureRequest) -> None:
    """Each is independent of the others; an engine that cannot score raises `UsageError`."""
    words = [Continuation("say one of", f" {word}") for word in ("a b", "c", "d e f", "c")]
    if request.node.callspec.params["engine"] in CANNOT_SCORE:
        with pytest.raises(UsageError, match=r"cannot compute log-likelihoods"):
            await scorer(engine).score(words)
        return
    capable = scorer(engine)
    together = await capable.score(words)
    alone = [(await capable.score([word]))[0] for word in words]
    assert [likelihood.tokens for likelihood in together] == [each.tokens for each in alone]
    assert [each.logprob for each in together] == pytest.approx([a.logprob for a in alone], 1e-4)
    assert together[0].tokens > together[1].tokens == together[3].tokens
    assert all(likelihood.logprob < 0 for likelihood in together)
    assert await capable.score([]) == []


async def test_cancelling_one_caller_does_not_affect_others(engine: Engine) -> None:
    """Their replies are the same as without the cancelled call."""
    requests = [ask(f"say {i}", seed=i, max_tokens=30)[0] for i in range(5)]
    alone = [await engine.generate([request]) for request in requests]
    cancelled = [
        asyncio.create_task(engine.generate(ask("cancelled", max_tokens=200))) for _ in range(3)
    ]
    stay = [asyncio.create_task(engine.generate([request])) for request in requests]
    await asyncio.sleep(0)
    for task in cancelled:
        task.cancel()
    assert await asyncio.gather(*stay) == alone
    results = await asyncio.gather(*cancelled, return_exceptions=True)
    assert {type(result) for result in results} == {asyncio.CancelledError}


async def test_closing_twice_is_harmless_and_final(engine: Engine) -> None:
    """A closed engine refuses requests."""
    await engine.generate(ask("one"))
    await engine.aclose()
    await engine.aclose()
    with pytest.raises(EngineError, match="closed"):
        await engine.generate(ask("two"))


async def test_a_closed_engine_refuses_to_score(engine: Engine) -> None:
    """As does one that cannot score."""
    await engine.aclose()
    with pytest.raises((EngineError, UsageError), match=r"closed|cannot compute"):
        await scorer(engine).score([Continuation("a", " b")])
