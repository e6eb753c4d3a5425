"""Supervised training of the tiny model: labels, resumption after a kill, a loss that is no number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from spar.errors import RunStopped, UsageError
from spar.record.training import read_metrics
from spar.train import sft as module
from spar.train.common import readable_error, run_main
from spar.train.launch import launch
from spar.train.owned import mark_owned
from spar.train.progress import last_checkpoint
from spar.train.settings import LaunchSettings, SftSettings
from spar.train.sft import main, train
from spar.train.weights import to_fp32
from tests.requires import requires

from .training import (
    distance,
    one_thread,
    quiet,
    sft_settings,
    trainer_process,
    write_rows,
    written,
)

pytestmark = [pytest.mark.model, requires("trl"), *quiet()]


def wait_for(what: Any, process: subprocess.Popen[bytes]) -> None:
    """Wait until `what()` holds; the process must live until then."""
    end = time.monotonic() + 120
    while not what():
        assert process.poll() is None, "it ended first"
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.parametrize(("train_on", "replies"), [("last", 1), ("all", 2)])
def test_trl_trains_on_the_assistants_tokens_only(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train_on: str, replies: int
) -> None:
    """What reaches the trainer are the replies with their ends, and nothing else carries a label."""
    seen: list[Any] = []
    monkeypatch.setattr(module, "fit", lambda trainer, *_: seen.append(trainer))
    train(sft_settings(tiny_model, tmp_path, train_on=train_on))
    batch = seen[0].data_collator([seen[0].train_dataset[3]])
    labels = batch["labels"][0]
    text = seen[0].processing_class.decode(labels[labels != -100])
    assert text == "The dog.<|end|>" * (replies - 1) + "runs runs runs runs <|end|>"


def test_the_loss_falls_and_is_that_of_the_trained_turns(tiny_model: Path, tmp_path: Path) -> None:
    """A few epochs lower it; the two ways to choose turns are two losses."""
    losses = {}
    for train_on in ("last", "all"):
        settings = sft_settings(tiny_model, tmp_path / train_on, train_on=train_on, epochs=4)
        train(settings)
        rows = read_metrics(Path(settings.out))
        losses[train_on] = [row.values["loss"] or 0 for row in rows]
        assert losses[train_on][-1] < losses[train_on][0] - 0.5
    assert losses["last"][0] != pytest.approx(losses["all"][0], abs=1e-3)


def test_a_batch_weighs_every_token_alike(tiny_model: Path, tmp_path: Path) -> None:
    """Examples taken one or four at a time are the same training."""
    one = sft_settings(tiny_model, tmp_path / "one", micro_batch=1)
    four = sft_settings(tiny_model, tmp_path / "four", micro_batch=4)
    for settings in (one, four):
        train(settings)
    assert distance(Path(one.out) / "model", Path(four.out) / "model") < 1e-5


@pytest.mark.slow
def test_a_killed_training_ends_like_an_uninterrupted_one(tiny_model: Path, tmp_path: Path) -> None:
    """Killed between two checkpoints and, as it looks, in the middle of a third: the same weights and metrics."""
    common: dict[str, Any] = {"epochs": 14, "checkpoint_steps": 5}
    undisturbed = sft_settings(tiny_model, tmp_path / "whole", **common)
    train(undisturbed)
    settings = sft_settings(tiny_model, tmp_path / "cut", **common)
    out = Path(settings.out)
    command = trainer_process("sft", written(settings))
    process = subprocess.Popen(command, env=one_thread(), stdout=subprocess.DEVNULL)
    wait_for(lambda: (last := last_checkpoint(out)) and last.name == "checkpoint-10", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "report.json").exists()
    torn = out / "checkpoint-999"
    mark_owned(torn)
    (torn / "model.safetensors").write_bytes(b"half of it")
    again = subprocess.run(command, env=one_thread(), capture_output=True, text=True, check=True)
    assert "resuming from checkpoint-1" in again.stdout
    assert distance(out / "model", Path(undisturbed.out) / "model") == 0
    steps = [(row.step, row.values["loss"]) for row in read_metrics(out)]
    assert steps == [(r.step, r.values["loss"]) for r in read_metrics(Path(undisturbed.out))]
    assert len(steps) == 42


@pytest.mark.slow
@pytest.mark.parametrize("ends", [{"epochs": 1.5}, {"max_steps": 2}])
def test_a_training_that_was_over_is_resumed_without_another_step(
    ends: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    """Killed behind its last checkpoint, in the middle of an epoch: transformers would take a step more."""
    settings = sft_settings(tiny_model, tmp_path, checkpoint_steps=1, keep_checkpoints=True, **ends)
    train(settings)
    out = Path(settings.out)
    steps = [row.step for row in read_metrics(out)]
    (out / "model").rename(tmp_path / "first")
    (out / "report.json").unlink()
    train(settings)
    assert [row.step for row in read_metrics(out)] == steps
    assert json.loads((out / "report.json").read_text())["steps"] == len(steps)
    assert distance(out / "model", tmp_path / "first") == 0


def test_adapters_of_a_quantised_model_are_trained_in_fp32() -> None:
    """TRL makes them bf16, where a step of 2e-6 leaves most weights as they were; what is frozen stays as it is."""
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).bfloat16()
    model[0].requires_grad_(False)
    to_fp32(model)
    assert [weight.dtype for weight in model.parameters()] == [
        *(torch.bfloat16, torch.bfloat16),
        *(torch.float32, torch.float32),
    ]
    assert model[1].weight.requires_grad


def test_a_loss_that_is_not_finite_stops_training(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first real step ruins the weights; the checkpoint before it stays."""
    settings = sft_settings(tiny_model, tmp_path, learning_rate=1e30, checkpoint_steps=1)
    assert main([str(written(settings))]) == 1
    out = Path(settings.out)
    stderr = capsys.readouterr().err
    assert "at step 3 is nan" in stderr and "lower learning_rate" in stderr
    assert str(last_checkpoint(out)) in stderr
    assert last_checkpoint(out) == out / "checkpoint-1"
    assert json.loads((out / "failure.json").read_text())["kind"] == "stopped"
    last = read_metrics(out)[-1]
    assert last.step == 3 and None in (last.values["loss"], last.values["grad_norm"])
    assert not (out / "model").exists()


def test_readable_errors() -> None:
    """Full disks and memories get a one-line error with the next step; other errors keep their traceback."""
    for error in (
        OSError(28, "No space left on device"),
        RuntimeError(
            "[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing"
        ),
        ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ):
        readable = readable_error(error)
        assert isinstance(readable, RunStopped) and "the disk is full" in str(readable)
    readable = readable_error(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert isinstance(readable, RunStopped) and "lower micro_batch" in str(readable)
    assert readable_error(RuntimeError("something else")) is None


@pytest.mark.parametrize("first", ["0", "1"])
def test_the_process_that_fails_first_says_why(
    first: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher ends the others, so it need not be the main one; the main one's reason stands if both have one."""
    settings = written(sft_settings(tiny_model, tmp_path / "run"))
    out = tmp_path / "run" / "out"
    out.mkdir()

    def fail(_: SftSettings) -> None:
        raise UsageError(f"found by {os.environ['RANK']}")

    for rank in (first, "0" if first == "1" else "1"):
        monkeypatch.setenv("RANK", rank)
        assert run_main(SftSettings, fail, [str(settings)]) == UsageError.exit_code
        read = json.loads((out / "failure.json").read_text(encoding="utf-8"))["message"]
        assert read == ("found by 1" if rank == first == "1" else "found by 0")


@pytest.mark.slow
def test_the_launcher_raises_the_trainers_error(tiny_model: Path, tmp_path: Path) -> None:
    """A mistake that one of two processes found is raised here, in its words; its output is in the log."""
    bad = write_rows(tmp_path / "bad.jsonl", [{"messages": [{"role": "user", "content": "a"}]}])
    settings = sft_settings(tiny_model, tmp_path / "run", data=bad)
    log = tmp_path / "log.txt"
    with pytest.raises(UsageError, match=r"bad\.jsonl:1: messages are by user"):
        launch("sft", written(settings), LaunchSettings(processes=2), log)
    assert "error:" in log.read_text()


def test_the_launcher_shows_the_log_where_a_trainer_died(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word from it, the end of its output is what there is."""
    settings = sft_settings(tiny_model, tmp_path)
    words = "import sys; print('last words'); sys.exit(7)"
    monkeypatch.setattr("spar.train.launch.command", lambda *_: trainer_of(words))
    log = tmp_path / "log.txt"
    with pytest.raises(RunStopped, match=r"exit code 7; the end of (?s:.*)last words"):
        launch("sft", written(settings), log=log)
    with pytest.raises(RunStopped, match="its output says why"):
        launch("sft", written(settings))


def trainer_of(code: str) -> list[str]:
    """A process that runs `code` in a trainer's place."""
    return [trainer_process("sft", Path("x"))[0], "-c", code]


@pytest.mark.slow
def test_no_process_outlives_a_killed_launcher(tiny_model: Path, tmp_path: Path) -> None:
    """Kill it without a chance to clean up, and its two trainers end by themselves."""
    settings: SftSettings = sft_settings(tiny_model, tmp_path, epochs=10_000, checkpoint_steps=0)
    start = trainer_process("launch", Path("sft"))
    command = [*start, str(written(settings)), "--processes", "2"]
    launcher = subprocess.Popen(command, env=one_thread(), stdout=subprocess.DEVNULL)
    wait_for(lambda: len(read_metrics(Path(settings.out))) > 2, launcher)
    below = descendants(launcher.pid)
    assert len(below) >= 3
    launcher.kill()
    launcher.wait()
    end = time.monotonic() + 60
    while any(alive(pid) for pid in below):
        assert time.monotonic() < end, "a trainer outlived its launcher"
        time.sleep(0.1)


def descendants(pid: int) -> list[int]:
    """Every process below this one."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_mixture_of_experts_has_the_documented_loss(tiny_model: Path, tmp_path: Path) -> None:
    """Without TRL's term for its router, and its settings are those that it had."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "moe_intermediate_size": 16}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 1}
    ids = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    config = AutoConfig.for_model("qwen3_moe", **sizes, **heads, **experts, **ids)
    model = tmp_path / "experts"
    AutoModelForCausalLM.from_config(config).save_pretrained(model)
    tokenizer.save_pretrained(model)
    settings = sft_settings(model, tmp_path, epochs=1)
    train(settings)
    assert not any("aux" in name for row in read_metrics(Path(settings.out)) for name in row.values)
    before, after = (
        json.loads((folder / "config.json").read_text())
        for folder in (model, Path(settings.out) / "model")
    )
    for name in ("output_router_logits", "router_aux_loss_coef"):
        assert after[name] == before[name]
