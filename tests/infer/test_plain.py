"""Plain prompts and left truncation: what the model reads where the chat template stays out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from spar.errors import PromptTooLong, ServerRefused
from spar.infer.engine import Engine, Request, Sampling
from spar.infer.engines.chat import ChatEncoder
from spar.types import Message
from tests.answers import Script
from tests.infer.openai_helpers import ask, echo, serving
from tests.infer.test_engine_contract import open_tiny


def plain(text: str, *, truncate: bool = False, **sampling: Any) -> Request:
    """A plain prompt."""
    message = Message(role="user", content=text)
    return Request((message,), Sampling(**sampling), plain=True, truncate=truncate)


def test_a_plain_prompt_is_one_message() -> None:
    """A conversation has no text of its own."""
    message = Message(role="user", content="a")
    with pytest.raises(ValueError, match="one message, not 2"):
        Request((message, message), plain=True)


@pytest.fixture
def encoder() -> ChatEncoder:
    """A tokenizer of words that begins a text with <s>."""
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate("<s> </s> <unk> a b c d e".split())}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return ChatEncoder(
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    )


def test_a_text_gets_its_first_token_once(encoder: ChatEncoder) -> None:
    """As lm-eval has it: not where the text begins with it, nor where none is wanted."""
    assert encoder.encode("a b") == (0, 3, 4)
    assert encoder.encode("<s> a b") == (0, 3, 4)
    assert encoder.encode("a b", specials=False) == (3, 4)
    assert encoder.encode("a \ud800") == (0, 3, 2)


def test_special_tokens_in_a_plain_prompt_are_tokens(encoder: ChatEncoder) -> None:
    """A rendered conversation can be handed over as text."""
    assert encoder.encode_request(plain("a </s> b"), 99).ids == (0, 3, 1, 4)


def test_an_empty_prompt_is_the_first_token(encoder: ChatEncoder) -> None:
    """There is always something to go on from."""
    assert encoder.encode_request(plain(""), 99).ids == (0,)


@pytest.mark.parametrize(
    ("max_tokens", "ids"), [(2, (0, 3, 4, 5, 6, 7)), (4, (0, 3, 4, 5, 6, 7)), (7, (5, 6, 7))]
)
def test_what_does_not_fit_is_cut_from_the_left(
    encoder: ChatEncoder, max_tokens: int, ids: tuple[int, ...]
) -> None:
    """To what leaves room for the whole reply; what fits is left alone."""
    request = plain("a b c d e", truncate=True, max_tokens=max_tokens)
    assert encoder.encode_request(request, 10).ids == ids


def test_a_reply_that_fills_the_context_is_refused(encoder: ChatEncoder) -> None:
    """Nothing of the prompt would be left; without truncation its reply is cut short instead."""
    with pytest.raises(PromptTooLong, match="max_tokens 10 leaves no room"):
        encoder.encode_request(plain("a b", truncate=True, max_tokens=10), 10)
    assert len(encoder.encode_request(plain("a b", max_tokens=10), 10).ids) == 3


@pytest.mark.model
async def test_hf_reads_the_last_tokens_of_a_long_prompt(tiny_model: Path) -> None:
    """The reply has its whole length, and is the one to those tokens alone."""
    engine: Engine = open_tiny(tiny_model)
    long = plain("fox " * 400, truncate=True, max_tokens=56)
    (reply,) = await engine.generate([long])
    assert reply.prompt_tokens == 200
    with pytest.raises(PromptTooLong):
        await engine.generate([plain("fox " * 400, max_tokens=56)])
    await engine.aclose()


async def test_a_server_gets_a_plain_prompt_as_it_is() -> None:
    """In a field of its own, special tokens whole, lone surrogates aside."""
    with serving(Script(echo)) as (server, engine, _):
        (reply,) = await ask(engine, [plain("<|end|> \ud800", seed=4)])
    assert server.seen[0].body["prompt"] == "<|end|> \ufffd"
    assert "messages" not in server.seen[0].body
    assert (reply.text, reply.finish, reply.prompt_tokens) == ("<|end|> \ufffd 4", "stop", 2)


async def test_a_plain_reply_keeps_all_that_was_written() -> None:
    """Thinking tags are text where no chat template is."""
    with serving(Script(lambda _: "<think>x</think>y")) as (_, engine, _):
        (reply,) = await ask(engine, [plain("go")])
    assert reply.text == "<think>x</think>y"


async def test_plain_samples_and_alternatives_come_as_in_a_chat() -> None:
    """Several samples in one request; log-probabilities in the older form are read."""
    requests = [plain("go", seed=s, temperature=0.7, top_logprobs=2) for s in (7, 8)]
    with serving(Script(echo)) as (server, engine, _):
        replies = await ask(engine, requests)
    assert [reply.text for reply in replies] == ["go 7", "go 8"]
    assert [body.body["n"] for body in server.seen] == [2]
    assert dict(replies[0].logprobs[0].top) == {" go": -0.1, "x": -2.5}


async def test_a_server_of_chats_alone_says_so() -> None:
    """One line, with what can be done."""
    said = pytest.raises(ServerRefused, match=r"no /completions for 'tiny'.*--engine hf or vllm")
    with serving(Script(echo, completions=False)) as (_, engine, _), said:
        await ask(engine, [plain("go")])


PROMPTS = ["Question: how many foxes?\nAnswer:", "The queen", "a b c " * 60, "say <|user|>", "x "]


@pytest.fixture
def quiet_model(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model that only its tokenizer's own token ends, since lm-eval shows the others."""
    folder = tmp_path / "quiet"
    shutil.copytree(tiny_model, folder)
    (folder / "generation_config.json").unlink()
    return folder


@pytest.mark.model
@pytest.mark.evalharness
async def test_greedy_plain_replies_are_lm_evals(quiet_model: Path) -> None:
    """With stop strings, and with prompts that are cut."""
    from tests.infer.harness import open_harness, until

    engine: Engine = open_tiny(quiet_model)
    (free,) = await engine.generate([plain(PROMPTS[1], max_tokens=40)])
    stops = [free.text[8:12], "\n\n"]
    requests = [plain(p, truncate=True, max_tokens=40, stop=tuple(stops)) for p in PROMPTS]
    ours = [reply.text for reply in await engine.generate(requests)]
    await engine.aclose()
    assert ours == until(open_harness(quiet_model), PROMPTS, stops, 40)
    assert ours[1] == free.text[: free.text.find(stops[0])]
