"""Log-likelihoods from servers: found among the tokens of what they echo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from spar.embedded import CHECKPOINT
from spar.errors import PromptTooLong, ServerRefused, UsageError
from spar.infer.engine import Deployment, Likelihood
from spar.infer.engines.openai.engine import OpenAIEngine
from tests.answers import Script
from tests.infer.asking import echo, serving
from tests.infer.test_engine_contract import open_tiny
from tests.infer.test_likelihood import CHAT, PAIRS, asked


@pytest.mark.vllm
@pytest.mark.slow
async def test_a_vllm_server_agrees_with_hf(vllm_server: str) -> None:
    """But for the first token of a text without context, which a server does not score."""
    pairs = [pair for pair in PAIRS if pair[0]]
    local: Any = open_tiny(CHECKPOINT)
    served = OpenAIEngine(Deployment("nano", (vllm_server,)))
    wanted, found = await local.score(asked(pairs)), await served.score(asked(pairs))
    (alone,) = await served.score(asked([("", "alone here")]))
    (whole,) = await local.score(asked([("", "alone here")]))
    with pytest.raises(PromptTooLong):
        await served.score(asked([("word " * 3000, "end")]))
    await local.aclose()
    await served.aclose()
    assert [each.logprob for each in found] == pytest.approx([w.logprob for w in wanted], abs=2e-3)
    assert [(f.greedy, f.tokens) for f in found] == [(w.greedy, w.tokens) for w in wanted]
    assert alone.tokens == whole.tokens - 1


async def ask_script(script: Script, pairs: Sequence[tuple[Any, str]]) -> list[Likelihood]:
    """What a scripted server finds."""
    with serving(script) as (_, engine, _):
        try:
            return await engine.score(asked(pairs))
        finally:
            await engine.aclose()


@pytest.mark.parametrize("bos", [False, True])
async def test_a_servers_tokens_are_added_up(bos: bool) -> None:
    """A tenth of a nat for each character, by the script; those behind the context's own count."""
    pairs = [("one two", " abc de"), ("one two ", "ab"), ("one", " abcd"), ("one two", "")]
    found = await ask_script(Script(echo, bos=bos), pairs)
    assert [each.tokens for each in found] == [2, 1, 1, 0]
    assert [each.logprob for each in found] == pytest.approx([-0.7, -0.3, -0.5, 0.0])
    assert [each.greedy for each in found] == [False, True, False, True]


async def test_a_text_without_context_lacks_its_first_token_on_a_server() -> None:
    """Unless the server puts one before it."""
    (bare,) = await ask_script(Script(echo), [("", "abcd ab")])
    (begun,) = await ask_script(Script(echo, bos=True), [("", "abcd ab")])
    assert [bare.logprob, begun.logprob] == pytest.approx([-0.3, -0.7])
    assert [(each.greedy, each.tokens) for each in (bare, begun)] == [(True, 1), (False, 2)]


async def test_a_context_is_asked_for_once() -> None:
    """Four choices of one question are five requests."""
    with serving(Script(echo)) as (server, engine, _):
        await engine.score(asked([("Answer:", f" {letter}") for letter in "ABCD"]))
        await engine.aclose()
    assert sorted(seen.text for seen in server.seen) == sorted(
        ["Answer:", *(f"Answer: {letter}" for letter in "ABCD")]
    )


@pytest.mark.parametrize(
    "script",
    [
        Script(echo, lacks=("echo",)),
        Script(echo, lacks=("logprobs",)),
        Script(echo, ignores=("echo",)),
        Script(echo, ignores=("logprobs",)),
        Script(echo, usage=False),
        Script(echo, answer=lambda _: (400, {"error": {"message": "not for you"}})),
    ],
    ids=["refuses echo", "refuses logprobs", "no echo", "no logprobs", "no counts", "refuses"],
)
async def test_a_server_that_cannot_score_says_so(script: Script) -> None:
    """Once, in words that say what is missing and what can do it."""
    with pytest.raises(UsageError, match=r"of a prompt \(echo with.*use --engine hf or vllm"):
        await ask_script(script, [("one", " two")])


async def test_a_server_of_chats_alone_cannot_score() -> None:
    """Nor one that is asked about a conversation, whose template is its own."""
    with pytest.raises(ServerRefused, match="no /completions"):
        await ask_script(Script(echo, completions=False), [("one", " two")])
    with pytest.raises(UsageError, match=r"only the server knows the chat template"):
        await ask_script(Script(echo), [(CHAT, "two")])


async def test_a_text_that_a_server_cannot_hold_is_too_long() -> None:
    """It is not cut, since nobody here knows its tokens."""
    with pytest.raises(PromptTooLong):
        await ask_script(Script(echo, context=4), [("one two three four", " five")])
