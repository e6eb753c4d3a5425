"""A real chat model in a search: what a training sees of it, and what becomes of a judge that cannot judge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from spar.infer.engine import Request, Sampling
from spar.infer.engines.chat import ChatEncoder, load_tokenizer
from spar.store import read_summary, read_trees
from spar.templates import load
from spar.thinking import Answer
from spar.train.encode import IGNORED, Encoder
from spar.types import Message
from tests.cli.test_decode import rows, spar
from tests.fixture_smollm2 import NAME
from tests.smollm2.real_prompts import talk

TEMPLATES = load()
ASKED = talk("List two planets, numbered, after a blank line.")
RESPONSE = "Here they are:\n\n1. Mars\n2. Venus"
CRITIQUE = (
    "1. A list of two planets is asked for: Mars and Venus, met.\n2. A blank line: met.\n\n"
    "3. Numbers:  met, 1 and 2.\n\nFinal Judgement: Yes"
)


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> Any:
    """The real model's tokenizer."""
    return load_tokenizer(str(smollm2))


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[object, str], list[int]]:
    """Conversation and text of each reply that is generated from now on, to its tokens."""
    tokens_of: dict[tuple[object, str], list[int]] = {}
    read = ChatEncoder.read_completion

    def noting(self: ChatEncoder, request: Request, tokens: Sequence[int], **how: bool) -> Answer:
        answer = read(self, request, tokens, **how)
        tokens_of[request.messages, answer.text] = list(tokens)
        return answer

    monkeypatch.setattr(ChatEncoder, "read_completion", noting)
    return tokens_of


async def test_refine_conversations_are_trained_on_as_they_were_sampled(
    smollm2: Path, tokenizer: Any, sampled: dict[tuple[object, str], list[int]]
) -> None:
    """Judge prompt, critique, request and refinement: token for token what the model read and wrote.

    At its temperature a model may spell a word in tokens that no tokenizer makes of its text; of those the text is
    the same.
    """
    from spar.infer.engines.hf import HfEngine, HfSettings

    engine = HfEngine(str(smollm2), HfSettings("fp32", "cpu"))
    judge = TEMPLATES.judge_conversation(ASKED, RESPONSE)
    samplings = [Sampling(temperature=0.7, max_tokens=24, seed=seed) for seed in range(4)]
    critiques = [
        each.text for each in await engine.generate([Request(judge, s) for s in samplings])
    ]
    asked = [TEMPLATES.refine_conversation(ASKED, RESPONSE, critique) for critique in critiques]
    requests = [Request(messages, s) for messages, s in zip(asked, samplings, strict=True)]
    refinements = [each.text for each in await engine.generate(requests)]
    await engine.aclose()
    chat, encoder = ChatEncoder(tokenizer), Encoder(tokenizer)
    same = 0
    for critique, messages, text in zip(critiques, asked, refinements, strict=True):
        read, prefix = chat.render(messages).ids, chat.render(judge).ids
        encoded = encoder.encode((*messages, Message(role="assistant", content=text)), "last")
        assert encoded.ids[: len(read)] == list(read)
        assert encoded.labels[: len(read)] == [IGNORED] * len(read)
        assert read[: len(prefix)] == prefix
        wrote = sampled[messages, text]
        trained = [label for label in encoded.labels if label != IGNORED]
        assert tokenizer.decode(trained) == tokenizer.decode(wrote) + "<|im_end|>"
        judged = (*prefix, *sampled[judge, critique])
        same += trained == [*wrote, tokenizer.eos_token_id] and read[: len(judged)] == judged
    assert same >= 3


@pytest.mark.parametrize("space", ["", "\n", "\n\n", "\n\n\n", "  "])
def test_the_seam_of_critique_and_refinement(tokenizer: Any, space: str) -> None:
    """With a critique as models write them, the judge's conversation is a prefix of the refiner's, and both of what is
    trained; white space at the start of a refinement changes nothing before it."""
    chat, encoder = ChatEncoder(tokenizer), Encoder(tokenizer)
    judge = TEMPLATES.judge_conversation(ASKED, RESPONSE)
    refine = TEMPLATES.refine_conversation(ASKED, RESPONSE, CRITIQUE)
    judged = (*chat.render(judge).ids, *tokenizer.encode(CRITIQUE))
    read = chat.render(refine).ids
    assert read[: len(judged)] == judged
    reply = f"{space}Final Refined Output:\n[[start]]\n\n1. Mars\n\n2. Venus\n[[end]]"
    encoded = encoder.encode((*refine, Message(role="assistant", content=reply)), "last")
    assert encoded.ids[: len(read)] == list(read)
    trained = [label for label in encoded.labels if label != IGNORED]
    assert trained == [*tokenizer.encode(reply), tokenizer.eos_token_id]
    assert encoded.ids == [*read, *trained, *tokenizer.encode("\n")]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("\n\n1. Mars", ["ĊĊ", "1", ".", "ĠMars"]),
        ("at 10:45", ["at", "Ġ", "1", "0", ":", "4", "5"]),
    ],
)
def test_digits_are_split_as_the_model_was_trained(
    tokenizer: Any, text: str, tokens: list[str]
) -> None:
    """Whether its tokenizer comes from the hub or from a GGUF file."""
    assert tokenizer.tokenize(text) == tokens


def test_a_search_with_a_judge_that_cannot_judge(smollm2: Path, tmp_path: Path) -> None:
    """A small model's own votes seldom have a verdict: each such judgement is a fault, with its reason and its cost,
    and the run ends in order."""
    prompt = {"id": "p", "prompt": "Name three birds in a bulleted list, all in lower case."}
    settings = {
        "--model": NAME,
        "--engine": "hf",
        "--strategy": "bfs",
        "--budget": 3,
        "--votes": 2,
        "--max-new-tokens": 16,
        "--vote-max-new-tokens": 16,
        "--refine-max-new-tokens": 16,
    }
    flags = [str(part) for pair in settings.items() for part in pair]
    out = tmp_path / "run"
    spar("decode", rows(tmp_path / "p.jsonl", prompt), *flags, "--out", out, check=0, timeout=280)
    (tree,) = read_trees(out)
    summary = read_summary(out)
    assert (summary["nodes"], summary["faults"]) == (len(tree.nodes), len(tree.faults))
    assert tree.nodes
    assert tree.faults
    assert len(tree.nodes) <= 3
    for fault in tree.faults:
        assert fault.stage in ("judge", "refine")
        assert "decided nothing in 3 rounds of 2" in fault.reason or "lacks" in fault.reason
        assert fault.usage.calls > 0
    spent = json.loads(tree.to_json())
    calls = sum(item["usage"]["calls"] for item in (*spent["nodes"], *spent["faults"]))
    assert calls <= summary["calls"]
