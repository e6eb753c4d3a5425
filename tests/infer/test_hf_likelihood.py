"""Log-likelihoods of the hf engine: values, shared forward passes, and failures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from spar.errors import EngineError, PromptTooLong
from spar.infer.engine import Continuation
from tests.infer.test_engine_contract import open_tiny
from tests.infer.test_likelihood import CHAT, LONG, PAIRS, continuations_of

pytestmark = pytest.mark.model


@pytest.fixture
def hf_engine(tiny_model: Path) -> Any:
    """The hf engine on the tiny model."""
    return open_tiny(tiny_model)


async def test_logprobs_of_tokens_are_summed(hf_engine: Any, tiny_model: Path) -> None:
    """As the model gives them one by one; the most likely tokens are greedy."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    ids = tokenizer.encode("The fox runs")
    start = len(tokenizer.encode("The fox"))
    total, greedy = 0.0, ""
    with torch.inference_mode():
        for i in range(start, len(ids)):
            logits_V = model(torch.tensor([ids[:i]])).logits[0, -1]
            total += float(logits_V.log_softmax(dim=-1)[ids[i]])
        greedy = tokenizer.decode(model(torch.tensor([ids])).logits[0, -1].argmax())
    likelihoods = await hf_engine.score(
        continuations_of([("The fox", " runs"), ("The fox runs", greedy)])
    )
    await hf_engine.aclose()
    assert likelihoods[0].logprob == pytest.approx(total, abs=1e-4)
    assert [(each.greedy, each.tokens) for each in likelihoods] == [
        (False, len(ids) - start),
        (True, 1),
    ]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Collects the number of pairs in each row of each batch."""
    from spar.infer.engines import scoring

    seen: list[list[int]] = []
    original = scoring._score_rows

    def reading(model: Any, rows: Sequence[Any]) -> None:
        seen.append([len(row.pairs) for row in rows])
        original(model, rows)

    monkeypatch.setattr(scoring, "_score_rows", reading)
    return seen


async def test_pairs_that_differ_in_their_last_token_share_a_row(
    hf_engine: Any, batches: list[list[int]]
) -> None:
    """Four choices of one question are one row of one batch."""
    await hf_engine.score(continuations_of([("Answer:", f" {letter}") for letter in "ABCD"] * 2))
    await hf_engine.aclose()
    assert batches == [[8]]


async def test_callers_share_batches(hf_engine: Any, batches: list[list[int]]) -> None:
    """Calls that arrive during a batch are scored together; each gets its own results."""
    texts = [f" {i} foxes" for i in range(40)]
    calls = [hf_engine.score([Continuation("There were", text)]) for text in texts]
    apart = [found for (found,) in await asyncio.gather(*calls)]
    num_batches = len(batches)
    together = await hf_engine.score([Continuation("There were", text) for text in texts])
    await hf_engine.aclose()
    assert num_batches < 20
    assert [a.tokens for a in apart] == [t.tokens for t in together]
    assert [a.logprob for a in apart] == pytest.approx([t.logprob for t in together], abs=1e-3)


async def test_a_failure_reaches_only_its_callers(
    hf_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that is too long, or a model that fails; the next call succeeds."""
    from spar.infer.engines import scoring

    pair = continuations_of([("The fox", " runs")])
    results = await asyncio.gather(
        hf_engine.score(pair),
        hf_engine.score(continuations_of([("a", LONG)])),
        return_exceptions=True,
    )
    assert isinstance(results[1], PromptTooLong)
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "_score_rows", lambda model, rows: [][0])
        with pytest.raises(EngineError, match="the model failed: IndexError"):
            await hf_engine.score(pair)
    assert await hf_engine.score(pair) == results[0]
    await hf_engine.aclose()


async def test_batches_are_limited(hf_engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By tokens and by logits; the results are the same."""
    from spar.infer.engines import scoring

    whole = await hf_engine.score(continuations_of(PAIRS))
    for limit in ("_BATCH_TOKENS", "_BATCH_LOGITS"):
        monkeypatch.setattr(scoring, limit, 1)
        found = await hf_engine.score(continuations_of(PAIRS))
        for expected, actual in zip(whole, found, strict=True):
            assert expected.logprob == pytest.approx(actual.logprob, abs=1e-3)
    await hf_engine.aclose()


async def test_a_conversation_is_scored_after_the_template(hf_engine: Any) -> None:
    """As its rendered text; special tokens spelled in a message are split."""
    template = hf_engine._scorer._encoder.render_text(CHAT)
    found = await hf_engine.score(continuations_of([(CHAT, "fox"), (template, "fox")]))
    await hf_engine.aclose()
    assert found[0] == found[1]
    assert template.count("<|end|>") == 1


async def test_scoring_ends_when_the_engine_is_closed(
    hf_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two batches; cancelling the call ends it too."""
    from spar.infer.engines import scoring

    monkeypatch.setattr(scoring, "_BATCH_TOKENS", 1)
    many = continuations_of([(f"number {i}", " a b c") for i in range(3000)])
    cancelled = asyncio.create_task(hf_engine.score(many))
    await asyncio.sleep(0.05)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    refused = asyncio.create_task(hf_engine.score(many))
    await asyncio.sleep(0.05)
    await hf_engine.aclose()
    with pytest.raises(EngineError, match="closed"):
        await refused


@pytest.mark.evalharness
async def test_hf_agrees_with_lm_eval(hf_engine: Any, tiny_model: Path) -> None:
    """On single continuations of every kind, and on long texts in windows."""
    from tests.infer.harness import likelihoods, open_harness, rolling

    harness = open_harness(tiny_model)
    texts = ["A story of a fox. " * 50, "a", "word " * 255, "word " * 256]
    found = await hf_engine.score(continuations_of(PAIRS))
    windows = await hf_engine.score([Continuation("", text) for text in texts])
    await hf_engine.aclose()
    expected = likelihoods(harness, PAIRS)
    assert [each.logprob for each in found] == pytest.approx(
        [logprob for logprob, _ in expected], abs=1e-4
    )
    assert [each.greedy for each in found] == [greedy for _, greedy in expected]
    assert [w.logprob for w in windows] == pytest.approx(
        rolling(harness, texts), rel=1e-6, abs=1e-3
    )
