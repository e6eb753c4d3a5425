"""A real chat model trains the same in one process and under ZeRO-3, and stays the chat model that it was.

Two optimizer steps each: the first loss is the model's own, the second shows what the first step did.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from spar.infer.engine import Completion
from spar.record.training import read_metrics
from spar.train.encode import IGNORED, Encoder
from spar.train.settings import DpoSettings, SftSettings
from spar.types import Message
from tests.requires import requires
from tests.smollm2.real_prompts import CONVERSATIONS, DEFAULT_SYSTEM, requests, talk
from tests.train.training import dpo_settings, quiet, run, sft_settings, write_rows

pytestmark = [
    pytest.mark.deepspeed,
    pytest.mark.timeout(900),
    requires("trl", "deepspeed"),
    *quiet(),
]

STEPS = {
    "batch": 2,
    "epochs": 1,
    "learning_rate": 1e-5,
    "warmup_ratio": 0,
    "save_dtype": "auto",
    "checkpoint_steps": 0,
}
"""Two steps over four examples, without a checkpoint of the optimizer's 1.6 GB."""
QUESTIONS = {
    "What is the capital of Italy?": ("The capital of Italy is Rome.", "It is milan"),
    "Write a sentence about the sea.": ("The sea was calm at dawn.", "sea, sea, sea"),
    "Name a tree that keeps its leaves in winter.": (
        "The holly does, and so does the yew.",
        "Oak.",
    ),
    "Say hello in French.": ("Bonjour!", "hello in french hello in french"),
}
"""Prompts, each with a good and a bad reply."""


def pairs(folder: Path) -> Path:
    """The questions as pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"prompt": [{"role": "user", "content": prompt}], "chosen": good, "rejected": bad}
        for prompt, (good, bad) in QUESTIONS.items()
    ]
    return write_rows(folder / "pairs.jsonl", rows)


def conversations(folder: Path) -> Path:
    """The questions as conversations with the good reply."""
    folder.mkdir(parents=True, exist_ok=True)
    turns = [talk(prompt, good) for prompt, (good, _) in QUESTIONS.items()]
    rows = [{"messages": [turn.model_dump() for turn in each]} for each in turns]
    return write_rows(folder / "sft.jsonl", rows)


def settings(kind: str, model: Path, folder: Path, **changes: Any) -> DpoSettings | SftSettings:
    """Settings of a training of two steps."""
    if kind == "dpo":
        return dpo_settings(model, folder, data=pairs(folder), **STEPS, **changes)
    return sft_settings(model, folder, data=conversations(folder), **STEPS, **changes)


def losses(of: DpoSettings | SftSettings) -> dict[str, list[float]]:
    """The losses and the norms of the gradient, step by step."""
    rows = read_metrics(Path(of.out))
    names = ("loss", "grad_norm")
    return {name: [float(row.values[name] or 0) for row in rows] for name in names}


@pytest.fixture(scope="module", params=["dpo", "sft"])
def shared(
    request: pytest.FixtureRequest, smollm2: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, DpoSettings | SftSettings]:
    """A trainer, and its training in two processes under ZeRO-3."""
    folder = tmp_path_factory.mktemp(request.param)
    made = settings(request.param, smollm2, folder, deepspeed="zero3")
    run(request.param, made)
    return request.param, made


def test_one_process_and_zero3_have_the_same_losses(
    shared: tuple[str, DpoSettings | SftSettings], smollm2: Path, tmp_path: Path
) -> None:
    """In both steps, and the same gradients; the first step is a step down."""
    kind, parted = shared
    alone = settings(kind, smollm2, tmp_path)
    run(kind, alone, num_processes=1)
    expected, found = losses(alone), losses(parted)
    assert len(expected["loss"]) == 2
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-3)
    assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-2)
    assert min(expected["grad_norm"]) > 0


def test_the_trained_folder_is_the_chat_model_that_it_was(
    shared: tuple[str, DpoSettings | SftSettings], smollm2: Path
) -> None:
    """Tokenizer, chat template and end tokens are the same; it answers, and ends its replies."""
    from transformers import AutoTokenizer

    from spar.infer.engines.hf import HfEngine, HfSettings

    folder = Path(shared[1].out) / "model"
    before, after = (AutoTokenizer.from_pretrained(path) for path in (smollm2, folder))
    assert after.chat_template == before.chat_template
    assert after.backend_tokenizer.to_str() == before.backend_tokenizer.to_str()
    for name in ("config.json", "generation_config.json"):
        old, new = (json.loads((path / name).read_text()) for path in (smollm2, folder))
        kept = ("bos_token_id", "eos_token_id", "pad_token_id", "dtype", "use_cache")
        assert {key: new.get(key) for key in kept} == {key: old.get(key) for key in kept}

    async def reply() -> Completion:
        engine = HfEngine(str(folder), HfSettings("fp32", "cpu"))
        try:
            return (await engine.generate(requests([CONVERSATIONS["short"]])))[0]
        finally:
            await engine.aclose()

    answer = asyncio.run(reply())
    assert "Paris" in answer.text
    assert answer.finish == "stop"


@pytest.mark.parametrize("train_on", ["last", "all"])
def test_labels_are_the_assistants_turns_and_their_end_tokens(smollm2: Path, train_on: Any) -> None:
    """Nothing of the default system turn, of the user's turns, or of what opens a turn carries loss."""
    from spar.train.weights import load_tokenizer

    tokenizer = load_tokenizer(str(smollm2))
    asked, first, again, second = "Name a colour.", "Blue, like the sky.", "And one more.", "Red."
    encoded = Encoder(tokenizer).encode(talk(asked, first, again, second), train_on)
    end = "<|im_end|>"
    system = f"<|im_start|>system\n{DEFAULT_SYSTEM}{end}\n"
    question = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    parts = [
        (system + question.format(asked), False),
        (first + end, train_on == "all"),
        ("\n" + question.format(again), False),
        (second + end, True),
        ("\n", False),
    ]
    ids: list[int] = []
    labels: list[int] = []
    for text, trained in parts:
        tokens = tokenizer.encode(text, add_special_tokens=False)
        ids += tokens
        labels += tokens if trained else [IGNORED] * len(tokens)
    assert encoded.ids == ids
    assert encoded.labels == labels


def test_a_system_turn_of_ones_own_replaces_the_default(smollm2: Path) -> None:
    """In training as in a search."""
    from spar.train.weights import load_tokenizer

    encoder = Encoder(tokenizer := load_tokenizer(str(smollm2)))
    conversation = (
        *CONVERSATIONS["system"],
        Message(role="assistant", content="Redbeard, and this is my ship."),
    )
    text = tokenizer.decode(encoder.encode(conversation, "last").ids)
    assert "Redbeard" in text
    assert DEFAULT_SYSTEM not in text
