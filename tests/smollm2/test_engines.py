"""A real chat model says the same through every engine: transformers itself, hf, vLLM and `vllm serve`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from spar.config import load_decode
from spar.infer.engine import Completion, Continuation, Deployment, Engine
from tests.infer.fixture_vllm import EAGER, serve
from tests.smollm2.real_prompts import (
    CONVERSATIONS,
    DEFAULT_SYSTEM,
    Reply,
    reference_replies,
    requests,
)

pytestmark = pytest.mark.xdist_group("vllm")

NEAR = 0.01
"""Nats between two tokens in fp32 below which kernels that add in another order may swap them."""
NEAR_BF16 = 0.3
"""The same in bf16, whose logits of about 20 have steps of an eighth."""
VLLM = EAGER | {"max_model_len": 2048}


@pytest.fixture(scope="module")
def reference(smollm2: Path) -> dict[str, Reply]:
    """What transformers' own `generate` gives."""
    return reference_replies(smollm2)


@pytest.fixture(scope="module")
def hf(smollm2: Path) -> Iterator[Engine]:
    """The hf engine in fp32."""
    engine = open_hf(smollm2)
    yield engine
    asyncio.run(engine.aclose())


def open_hf(folder: Path, dtype: str = "fp32") -> Engine:
    """The hf engine on the CPU."""
    from spar.infer.engines.hf import HfEngine, HfSettings

    return HfEngine(str(folder), HfSettings(dtype, "cpu"))


def replies(engine: Engine) -> dict[str, Completion]:
    """Greedy replies to all conversations, in one batch."""
    made = asyncio.run(engine.generate(requests()))
    return dict(zip(CONVERSATIONS, made, strict=True))


def assert_equal_replies(
    found: dict[str, Completion], reference: dict[str, Reply], tie: float
) -> int:
    """Compare texts, up to near ties, and prompts; returns how many texts are the same."""
    same = 0
    for name, reply in found.items():
        expected = reference[name]
        assert reply.prompt_tokens == len(expected.prompt)
        if expected.assert_same_or_tied(reply.text, tie):
            same += 1
            assert reply.completion_tokens == len(expected.ids)
            ended = expected.ids[-1] == expected.tokenizer.eos_token_id
            assert reply.finish == ("stop" if ended else "length")
    return same


def test_prompts_have_the_templates_default_system_turn_once(
    smollm2: Path, reference: dict[str, Reply]
) -> None:
    """Where they bring none; no token begins the text twice, and the reply is opened."""
    from spar.infer.engines.chat import ChatEncoder, load_tokenizer

    tokenizer = load_tokenizer(str(smollm2))
    encoder = ChatEncoder(tokenizer)
    for name, messages in CONVERSATIONS.items():
        ids = encoder.render(messages).ids
        assert ids == reference[name].prompt
        text = tokenizer.decode(ids)
        assert text.count(DEFAULT_SYSTEM) == (name != "system")
        assert text.startswith("<|im_start|>system\n")
        assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")
        assert ids.count(tokenizer.bos_token_id) == len(messages) + 1 + (name != "system")


def test_hf_gives_the_replies_of_transformers(hf: Engine, reference: dict[str, Reply]) -> None:
    """Prompts of other lengths in one batch, some replies ended by the model and some by the limit."""
    found = replies(hf)
    assert assert_equal_replies(found, reference, NEAR) >= len(found) - 1
    assert {reply.finish for reply in found.values()} == {"stop", "length"}
    assert not any("<|im_end|>" in reply.text for reply in found.values())


def test_hf_in_bf16_is_close(smollm2: Path, reference: dict[str, Reply]) -> None:
    """A reply may part from that in fp32 where two tokens are nearly as likely."""
    engine = open_hf(smollm2, "bf16")
    found = replies(engine)
    asyncio.run(engine.aclose())
    assert assert_equal_replies(found, reference, NEAR_BF16) >= 2


def test_a_stop_token_among_the_stop_strings_ends_a_reply(
    hf: Engine, reference: dict[str, Reply]
) -> None:
    """By its spelling; a stop string of words ends it before the word."""
    text = reference["short"].text
    word, asked = text.split()[-1], [CONVERSATIONS["short"]]
    ended, cut = asyncio.run(
        hf.generate([*requests(asked, stop=("<|im_end|>",)), *requests(asked, stop=(word,))])
    )
    assert (ended.text, ended.finish) == (text, "stop")
    assert (cut.text, cut.finish) == (text.partition(word)[0], "stop")


def test_hf_likelihoods_are_those_of_a_forward_pass(
    smollm2: Path, hf: Engine, reference: dict[str, Reply]
) -> None:
    """Of replies in their conversations, and of a text without one; greedy replies are greedy."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)

    def total(prompt: tuple[int, ...], ids: tuple[int, ...]) -> float:
        with torch.inference_mode():
            logits_TV = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        logprobs_TV = logits_TV.log_softmax(dim=-1)
        return float(logprobs_TV[torch.arange(len(ids)), torch.tensor(ids)].sum())

    short, tokenizer = reference["short"], reference["short"].tokenizer
    other = " It is Lyon, I think."
    likelihoods = asyncio.run(
        hf.score(  # type: ignore[attr-defined]  # of this engine only
            [
                Continuation(CONVERSATIONS["short"], short.text),
                Continuation(CONVERSATIONS["short"], other),
                Continuation("The capital of France", " is Paris"),
            ]
        )
    )
    expected = [
        total(short.prompt, tuple(tokenizer.encode(short.text))),
        total(short.prompt, tuple(tokenizer.encode(other))),
        total(
            tuple(tokenizer.encode("The capital of France")), tuple(tokenizer.encode(" is Paris"))
        ),
    ]
    assert [each.logprob for each in likelihoods] == pytest.approx(expected, abs=2e-3)
    assert [each.greedy for each in likelihoods] == [True, False, True]


@pytest.fixture(scope="module")
def vllm_replies(forked_vllm: None, smollm2: Path) -> dict[str, Completion]:
    """What the vllm engine replies on a CPU, in fp32."""
    from spar.infer.engines.vllm.engine import VllmEngine

    engine = VllmEngine(
        Deployment(str(smollm2)), load_decode(None, {"dtype": "fp32", "engine_args": VLLM})
    )

    async def run() -> list[Completion]:
        try:
            return await engine.generate(requests())
        finally:
            await engine.aclose()

    return dict(zip(CONVERSATIONS, asyncio.run(run()), strict=True))


@pytest.mark.vllm
def test_vllm_gives_the_replies_of_transformers(
    vllm_replies: dict[str, Completion], reference: dict[str, Reply]
) -> None:
    """Up to near ties, since its kernels add in another order."""
    assert assert_equal_replies(vllm_replies, reference, NEAR) >= len(reference) - 1


@pytest.mark.vllm
def test_vllm_serve_gives_the_replies_of_vllm(
    smollm2: Path, vllm_replies: dict[str, Completion], tmp_path: Path
) -> None:
    """Behind the openai engine: the server renders the conversations as spar does."""
    from spar.infer.engines.openai.engine import OpenAIEngine, OpenAISettings

    options = ("--max-model-len", str(VLLM["max_model_len"]))
    with serve(smollm2, "smollm2", tmp_path / "log.txt", *options) as url:

        async def run() -> list[Completion]:
            engine = OpenAIEngine(Deployment("smollm2", (url,)), OpenAISettings(timeout=120))
            try:
                return await engine.generate(requests())
            finally:
                await engine.aclose()

        served = dict(zip(CONVERSATIONS, asyncio.run(run()), strict=True))
    assert served == vllm_replies
