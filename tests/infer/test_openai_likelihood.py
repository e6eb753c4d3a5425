"""Log-likelihoods from servers, computed from the prompt logprobs that they echo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from spar.embedded import CHECKPOINT
from spar.errors import PromptTooLong, ServerRefused, UsageError
from spar.infer.engine import Deployment, Likelihood
from spar.infer.engines.openai.engine import OpenAIEngine
from tests.answers import Script
from tests.infer.openai_helpers import echo, serving
from tests.infer.test_engine_contract import open_tiny
from tests.infer.test_likelihood import CHAT, PAIRS, continuations_of


@pytest.mark.vllm
@pytest.mark.slow
async def test_a_vllm_server_agrees_with_hf(vllm_server: str) -> None:
    """Except for the first token of a text without context, which a server does not score."""
    pairs = [pair for pair in PAIRS if pair[0]]
    local: Any = open_tiny(CHECKPOINT)
    served = OpenAIEngine(Deployment("nano", (vllm_server,)))
    expected, scored = (
        await local.score(continuations_of(pairs)),
        await served.score(continuations_of(pairs)),
    )
    (alone,) = await served.score(continuations_of([("", "alone here")]))
    (whole,) = await local.score(continuations_of([("", "alone here")]))
    with pytest.raises(PromptTooLong):
        await served.score(continuations_of([("word " * 3000, "end")]))
    await local.aclose()
    await served.aclose()
    assert [each.logprob for each in scored] == pytest.approx(
        [e.logprob for e in expected], abs=2e-3
    )
    assert [(s.greedy, s.tokens) for s in scored] == [(e.greedy, e.tokens) for e in expected]
    assert alone.tokens == whole.tokens - 1


async def score_with(script: Script, pairs: Sequence[tuple[Any, str]]) -> list[Likelihood]:
    """Likelihoods from a scripted server."""
    with serving(script) as (_, engine, _):
        try:
            return await engine.score(continuations_of(pairs))
        finally:
            await engine.aclose()


@pytest.mark.parametrize("bos", [False, True])
async def test_tokens_after_the_context_are_added_up(bos: bool) -> None:
    """The script assigns a tenth of a nat per character."""
    pairs = [("one two", " abc de"), ("one two ", "ab"), ("one", " abcd"), ("one two", "")]
    likelihoods = await score_with(Script(echo, bos=bos), pairs)
    assert [each.tokens for each in likelihoods] == [2, 1, 1, 0]
    assert [each.logprob for each in likelihoods] == pytest.approx([-0.7, -0.3, -0.5, 0.0])
    assert [each.greedy for each in likelihoods] == [False, True, False, True]


async def test_the_first_token_of_a_text_without_context_is_not_scored() -> None:
    """Unless the server adds a beginning-of-text token."""
    (bare,) = await score_with(Script(echo), [("", "abcd ab")])
    (with_bos,) = await score_with(Script(echo, bos=True), [("", "abcd ab")])
    assert [bare.logprob, with_bos.logprob] == pytest.approx([-0.3, -0.7])
    assert [(each.greedy, each.tokens) for each in (bare, with_bos)] == [(True, 1), (False, 2)]


async def test_a_shared_context_is_sent_once() -> None:
    """Four choices of one question take five requests."""
    with serving(Script(echo)) as (server, engine, _):
        await engine.score(continuations_of([("Answer:", f" {letter}") for letter in "ABCD"]))
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
async def test_a_server_that_cannot_score_is_a_usage_error(script: Script) -> None:
    """The message says what is missing and which engines can do it."""
    with pytest.raises(UsageError, match=r"of a prompt \(echo with.*use --engine hf or vllm"):
        await score_with(script, [("one", " two")])


async def test_a_server_without_completions_cannot_score() -> None:
    """Nor can any server score text in a conversation, since its template is unknown."""
    with pytest.raises(ServerRefused, match="no /completions"):
        await score_with(Script(echo, completions=False), [("one", " two")])
    with pytest.raises(UsageError, match=r"only the server knows the chat template"):
        await score_with(Script(echo), [(CHAT, "two")])


async def test_a_text_longer_than_the_context_is_refused() -> None:
    """It is not truncated, since its tokens are unknown."""
    with pytest.raises(PromptTooLong):
        await score_with(Script(echo, context=4), [("one two three four", " five")])
