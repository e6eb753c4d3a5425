"""One process, two, and two under DeepSpeed are one training: they end in the same weights.

Two processes meet over gloo, on a CPU. They take micro-batches of one example, so that the average over
a micro-batch which TRL makes of the SFT term is the same for all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from spar.train.dpo import train as train_dpo
from spar.train.launch import launch
from spar.train.settings import DpoSettings, LaunchSettings
from spar.train.sft import train as train_sft
from tests.requires import requires

from .training import distance, dpo_settings, quiet, run, sft_settings, written

pytestmark = [pytest.mark.deepspeed, pytest.mark.slow, pytest.mark.model, requires("trl"), *quiet()]

ROUNDING = 2e-6
"""Sums over two processes are made in another order; the weights have moved by a thousandfold of this."""


@pytest.fixture(scope="module")
def alone(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models that one process has trained, by trainer."""
    dpo = dpo_settings(tiny_model, tmp_path_factory.mktemp("dpo"))
    sft = sft_settings(tiny_model, tmp_path_factory.mktemp("sft"))
    train_dpo(dpo)
    train_sft(sft)
    return {"dpo": Path(dpo.out) / "model", "sft": Path(sft.out) / "model"}


@pytest.fixture(scope="module")
def shared_out(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> DpoSettings:
    """A preference training under ZeRO-3, started by torch's launcher, that has kept its checkpoints."""
    pytest.importorskip("deepspeed")
    settings = dpo_settings(
        tiny_model,
        tmp_path_factory.mktemp("zero3"),
        deepspeed="zero3",
        checkpoint_steps=3,
        keep_checkpoints=True,
    )
    log = Path(settings.out).with_name("log.txt")
    launch("dpo", written(settings), LaunchSettings(processes=2), log)
    return settings


@pytest.mark.parametrize("way", ["", "zero2"])
def test_pairs_end_in_the_same_weights(
    tiny_model: Path, tmp_path: Path, alone: dict[str, Path], way: str
) -> None:
    """Preference training in two processes, each with all of the model or with a share of the optimizer."""
    if way:
        pytest.importorskip("deepspeed")
    found = run("dpo", dpo_settings(tiny_model, tmp_path, deepspeed=way))
    assert distance(found, alone["dpo"]) < ROUNDING
    assert distance(found, tiny_model) > 1000 * ROUNDING


def test_a_precomputed_reference_is_the_same(
    tiny_model: Path, tmp_path: Path, alone: dict[str, Path]
) -> None:
    """Both processes find what the main one has written; nothing of it is left."""
    settings = dpo_settings(tiny_model, tmp_path, precompute_reference=True)
    assert distance(run("dpo", settings), alone["dpo"]) < ROUNDING
    assert not (Path(settings.out) / "pairs").exists()


def test_zero3_ends_in_the_same_weights_and_resumes(
    shared_out: DpoSettings, tmp_path: Path, alone: dict[str, Path]
) -> None:
    """Model and reference in shares; a checkpoint holds each process's, and from one the end is the same."""
    out = Path(shared_out.out)
    first = (out / "model").rename(tmp_path / "first")
    assert distance(first, alone["dpo"]) < ROUNDING
    (out / "report.json").unlink()
    (out / "checkpoint-6" / "complete.json").unlink()
    again = run("dpo", shared_out)
    assert "resuming from checkpoint-3" in out.with_name("log.txt").read_text()
    assert distance(first, again) == 0


def test_conversations_end_in_the_same_weights(
    tiny_model: Path, tmp_path: Path, alone: dict[str, Path]
) -> None:
    """Supervised training under ZeRO-3, whose replies differ in length between the processes."""
    pytest.importorskip("deepspeed")
    found = run("sft", sft_settings(tiny_model, tmp_path, deepspeed="zero3"))
    assert distance(found, alone["sft"]) < ROUNDING
