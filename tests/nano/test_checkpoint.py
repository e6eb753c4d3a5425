"""The embedded model: its folder, its tokenizer, and other libraries that load it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar.embedded import CHECKPOINT
from spar.infer.roles import judge_messages, refine_messages
from spar.nano.tasks import prompts
from spar.templates import load
from spar.types import Judgement, Message, Node, Prompt

pytestmark = pytest.mark.model

GREETING = [{"role": "user", "content": "Write something short. Do not use any commas."}]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The shipped tokenizer."""
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(CHECKPOINT)


def conversation(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [message.model_dump() for message in messages]


def ids(tokenizer: Any, messages: list[dict[str, str]], *, generation: bool = True) -> list[int]:
    encoded = tokenizer.apply_chat_template(
        messages, add_generation_prompt=generation, tokenize=True, return_dict=True
    )
    tokens: list[int] = encoded["input_ids"]
    return tokens


def test_the_folder_is_a_small_hugging_face_folder() -> None:
    """At most 20 MB, with the files that transformers loads and a card written by the training run."""
    files = {path.name: path.stat().st_size for path in CHECKPOINT.iterdir()}
    assert sum(files.values()) <= 20_000_000
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
    } <= files.keys()
    facts = json.loads((CHECKPOINT / "training.json").read_text())
    assert facts["tokens"] > 1_000_000
    assert "seconds" in (CHECKPOINT / "README.md").read_text()


@given(
    text=st.text(max_size=80).filter(lambda text: text.isascii() or text.encode("utf-8", "ignore"))
)
@settings(max_examples=200, deadline=None)
def test_the_tokenizer_round_trips_any_text(text: str) -> None:
    """Every text with a UTF-8 form is decoded to itself."""
    transformers = pytest.importorskip("transformers")
    shipped = transformers.AutoTokenizer.from_pretrained(CHECKPOINT)
    text = text.encode("utf-8", "ignore").decode()
    assert shipped.decode(shipped.encode(text, add_special_tokens=False)) == text


def test_templates_take_few_tokens(tokenizer: Any) -> None:
    """A judge prompt has at most twelve tokens more than the instruction and response in it."""
    prompt = next(prompts("validation", limit=1))
    judge_ids = ids(
        tokenizer, conversation(judge_messages(load(), prompt, "The fox sees the owl."))
    )
    parts = [prompt.messages[0].content, "The fox sees the owl."]
    assert len(judge_ids) <= sum(len(tokenizer.encode(part)) for part in parts) + 12


def test_the_refine_conversation_extends_the_judges_token_for_token(tokenizer: Any) -> None:
    """The judge prompt's tokens are a prefix of the refine prompt's, so a prefix cache serves both."""
    prompt: Prompt = next(prompts("validation", limit=1))
    critique = "- no commas: 1 counted, not met.\nFinal Judgement: No"
    judgement = Judgement(verdicts=(False,), critique=critique)
    node = Node(id=0, parent=None, depth=0, response="A fox, an owl.", judgement=judgement)
    judge_ids = ids(tokenizer, conversation(judge_messages(load(), prompt, node.response)))
    critique_ids = tokenizer.encode(critique, add_special_tokens=False)
    refine_ids = ids(tokenizer, conversation(refine_messages(load(), prompt, node)))
    judged = [*judge_ids, *critique_ids]
    assert refine_ids[: len(judged)] == judged


def test_assistant_turns_are_marked_for_losses(tokenizer: Any) -> None:
    """The chat template marks exactly the assistant's text and its end of turn."""
    messages = [*GREETING, {"role": "assistant", "content": "The fox sees the owl."}]
    encoded = tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    marked = [i for i, m in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if m]
    assert tokenizer.decode(marked) == "The fox sees the owl.<|end|>"


def run_child(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter; returns its standard output."""
    command = [sys.executable, "-c", code]
    variables = {**os.environ, **environment}
    run = subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=280, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


@pytest.mark.slow
def test_transformers_own_generate_agrees_with_the_hf_engine() -> None:
    """`model.generate` and spar's engine write the same greedy text."""
    code = f"""
import asyncio, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from spar.infer.engine import Request, Sampling
from spar.infer.engines.hf import HfEngine
from spar.nano.tasks import prompts
folder = {str(CHECKPOINT)!r}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
tasks = list(prompts("validation", limit=12))
async def ours():
    engine = HfEngine(folder)
    replies = await engine.generate([Request(p.messages, Sampling(max_tokens=64)) for p in tasks])
    await engine.aclose()
    return [reply.text for reply in replies]
def theirs(prompt):
    messages = [m.model_dump() for m in prompt.messages]
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=64, do_sample=False)
    return tokenizer.decode(ids[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
mine = asyncio.run(ours())
print("equal", sum(a == theirs(p) for a, p in zip(mine, tasks)))
"""
    assert "equal 12" in run_child(code)


@pytest.mark.slow
def test_trl_trains_it_unchanged(tmp_path: Path) -> None:
    """TRL's SFTTrainer takes a step with the assistant-only loss, and the loss is finite."""
    pytest.importorskip("trl")
    code = f"""
import math
from datasets import Dataset
from trl import SFTConfig, SFTTrainer
turns = [{{"role": "user", "content": "Write something short."}},
         {{"role": "assistant", "content": "The fox sees the owl."}}]
config = SFTConfig(output_dir={str(tmp_path)!r}, max_steps=2, per_device_train_batch_size=2,
    assistant_only_loss=True, use_cpu=True, bf16=False, report_to="none", logging_steps=1)
trainer = SFTTrainer({str(CHECKPOINT)!r}, args=config, train_dataset=Dataset.from_list([{{"messages": turns}}] * 4))
print("finite", math.isfinite(trainer.train().training_loss))
"""
    assert "finite True" in run_child(code, HF_HUB_OFFLINE="1")


@pytest.mark.slow
@pytest.mark.evalharness
def test_lm_eval_loads_it_unchanged() -> None:
    """lm-eval's own Hugging Face model generates with it through its chat template."""
    pytest.importorskip("lm_eval")
    code = f"""
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
model = HFLM(pretrained={str(CHECKPOINT)!r}, device="cpu", dtype="float32", batch_size=1)
context = model.apply_chat_template({GREETING!r})
request = Instance("generate_until", {{}}, (context, {{"until": ["<|end|>"], "max_gen_toks": 40}}), 0)
print("text", repr(model.generate_until([request])[0]))
"""
    output = run_child(code, HF_HUB_OFFLINE="1")
    assert len(output.split("text", 1)[1].strip()) > 10


@pytest.mark.slow
@pytest.mark.vllm
def test_vllm_loads_it_unchanged() -> None:
    """vLLM and the hf engine write the same greedy text on nearly every prompt."""
    pytest.importorskip("vllm")
    code = f"""
import asyncio
from spar.infer.engine import Request, Sampling
from spar.infer.engines.hf import HfEngine
from spar.nano.tasks import prompts
folder = {str(CHECKPOINT)!r}
tasks = list(prompts("validation", limit=20))
async def ours():
    engine = HfEngine(folder)
    replies = await engine.generate([Request(p.messages, Sampling(max_tokens=48)) for p in tasks])
    await engine.aclose()
    return [reply.text for reply in replies]
if __name__ == "__main__":
    mine = asyncio.run(ours())
    from tests.vllm_fork import fork_processes
    fork_processes()
    from vllm import LLM, SamplingParams
    llm = LLM(folder, dtype="float32", max_model_len=512, enforce_eager=True)
    outputs = llm.chat([[m.model_dump() for m in p.messages] for p in tasks],
        SamplingParams(temperature=0, max_tokens=48), use_tqdm=False)
    print("equal", sum(a == o.outputs[0].text for a, o in zip(mine, outputs)))
"""
    script = Path(os.environ.get("PYTEST_TMP", "/tmp")) / f"spar_vllm_{os.getpid()}.py"
    script.write_text(code)  # vLLM starts its core in a child that imports the main module
    try:
        runner = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
        output = run_child(
            runner, VLLM_CPU_KVCACHE_SPACE="1", HF_HUB_OFFLINE="1", VLLM_LOGGING_LEVEL="ERROR"
        )
    finally:
        script.unlink()
    assert int(output.split("equal")[1]) >= 18
