"""Sizes out of a model's files, bytes a number, and what nvidia-smi says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT
from spar.errors import UsageError
from spar.estimate.disk import checkpoint_bytes
from spar.estimate.memory import (
    Machine,
    MemoryNeed,
    Processes,
    Zero,
    inference_need,
    read_machine,
    training_need,
)
from spar.estimate.model_size import ModelSize, model_size, size_of, tensors_of
from spar.train.settings import DpoSettings, SftSettings
from tests.estimate.test_training import LLAMA3_8B, LLAMA3_70B

SIZE = ModelSize(parameters=1000, largest=100, linear=800, adapter_width=10, stored_width=2)
NAMED: dict[str, Any] = {"model": "m", "data": "d.jsonl", "out": "o"}
GIB = 1 << 30


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (LLAMA3_8B, 8_030_261_248),
        (LLAMA3_70B, 70_553_706_496),
        (LLAMA3_8B | {"vocab_size": 32768}, 7_248_023_552),  # Mistral 7B v0.3
        (
            {  # GLM-4 9B: biases on the inputs of attention, and heads of their own width
                "vocab_size": 151552,
                "hidden_size": 4096,
                "intermediate_size": 13696,
                "num_hidden_layers": 40,
                "num_attention_heads": 32,
                "num_key_value_heads": 2,
                "head_dim": 128,
                "attention_bias": True,
            },
            9_399_951_360,
        ),
    ],
)
def test_parameters_are_derived_from_the_configuration(
    shape: dict[str, Any], parameters: int
) -> None:
    """The published counts of four models."""
    assert size_of(tensors_of(shape)).parameters == parameters


def test_the_embedded_model_is_read_from_its_weights() -> None:
    """The header and the configuration say the same, and so does the file's size."""
    found = model_size(str(CHECKPOINT))
    config = json.loads((CHECKPOINT / "config.json").read_text())
    assert found is not None and found == size_of(tensors_of(config))
    stored = (CHECKPOINT / "model.safetensors").stat().st_size
    assert stored - 20_000 < found.parameters * found.stored_width < stored


def weights(folder: Path, name: str, tensors: dict[str, Any]) -> None:
    """A safetensors file without its numbers, which nobody reads."""
    header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    (folder / name).write_bytes(len(header).to_bytes(8, "little") + header)


def test_shards_are_summed_and_a_missing_one_is_not_guessed(tmp_path: Path) -> None:
    """Two files of a model; with one gone, the configuration says how large it is."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA3_8B | {"dtype": "float32"}))
    one = {"embed.weight": {"dtype": "F32", "shape": [10, 4]}}
    two = {
        "layer.weight": {"dtype": "BF16", "shape": [4, 5]},
        "norm": {"dtype": "BF16", "shape": [4]},
    }
    weights(tmp_path, "a.safetensors", one)
    weights(tmp_path, "b.safetensors", two)
    index = {"weight_map": {"embed.weight": "a.safetensors", "layer.weight": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    found = model_size(str(tmp_path))
    assert found == ModelSize(
        64, largest=40, linear=20, adapter_width=9, stored_width=(160 + 48) / 64
    )
    (tmp_path / "b.safetensors").unlink()
    found = model_size(str(tmp_path))
    assert found is not None and (found.parameters, found.stored_width) == (8_030_261_248, 4)


@pytest.mark.parametrize(
    "config",
    ["{}", "not JSON", json.dumps(LLAMA3_8B | {"num_local_experts": 8}), '{"hidden_size": "wide"}'],
)
def test_another_architecture_has_no_known_size(tmp_path: Path, config: str) -> None:
    """Neither a mixture of experts nor a damaged folder is guessed at."""
    (tmp_path / "config.json").write_text(config)
    assert model_size(str(tmp_path)) is None


@pytest.mark.parametrize(
    "content", [b"", b"abc", b"\xff" * 20, (4).to_bytes(8, "little") + b"[[[["]
)
def test_damaged_weights_have_no_known_size(tmp_path: Path, content: bytes) -> None:
    """A file that was cut is no reason to stop."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA3_8B))
    (tmp_path / "model.safetensors").write_bytes(content)
    assert model_size(str(tmp_path)) is None


def test_a_missing_model_has_no_size(tmp_path: Path) -> None:
    """A hub name without files in the cache."""
    assert model_size("nobody/nothing") is None


@pytest.mark.parametrize(
    ("deepspeed", "processes", "process", "machine"),
    [
        ("", 1, 18_000, 0),
        ("", 4, 22_000, 0),
        ("zero1", 4, 4_000 + 4_000, 0),
        ("zero2", 4, 2_000 + 4_500, 0),
        ("zero3", 4, 4_500 + 400, 0),
        ("zero2-offload", 4, 2_000, 16_000),
        ("zero3-offload", 4, 400, 18_000),
    ],
)
def test_bytes_of_a_thousand_parameters(
    deepspeed: str, processes: int, process: int, machine: int
) -> None:
    """Supervised training in bf16, by the table of the module's docstring; its largest layer has 100."""
    settings = SftSettings(**NAMED, deepspeed=deepspeed)
    found = training_need(settings, SIZE, Processes(processes), on_gpu=True)
    assert found == MemoryNeed(process, machine)


@pytest.mark.parametrize(
    ("deepspeed", "process", "machine"),
    [("", 4_000, 0), ("zero2", 2_000, 0), ("zero3", 500, 0), ("zero3-offload", 0, 2_000)],
)
def test_a_precomputed_reference_needs_no_memory(
    deepspeed: str, process: int, machine: int
) -> None:
    """What DPO needs more than supervised training, on four processes."""

    def need(settings: Any) -> MemoryNeed:
        return training_need(settings, SIZE, Processes(4), on_gpu=True)

    without = need(SftSettings(**NAMED, deepspeed=deepspeed))
    found = need(DpoSettings(**NAMED, deepspeed=deepspeed))
    assert (found.process - without.process, found.machine - without.machine) == (process, machine)
    before = need(DpoSettings(**NAMED, deepspeed=deepspeed, precompute_reference=True))
    assert before == without


def test_adapters_need_their_states_and_the_frozen_base() -> None:
    """Rank 4 over 10 sides is 40 numbers; they are the reference by being turned off."""
    lora = DpoSettings(**NAMED, method="lora", lora={"rank": 4})
    assert training_need(lora, SIZE, Processes(1), on_gpu=True) == MemoryNeed(2_000 + 40 * 18)
    qlora = DpoSettings(**NAMED, method="qlora", lora={"rank": 4})
    # 800 numbers of 4.127 bits, 200 of 16; adapters, gradients and moments in fp32
    assert training_need(qlora, SIZE, Processes(1), on_gpu=True) == MemoryNeed(412 + 400 + 40 * 16)
    assert checkpoint_bytes(qlora, SIZE) == checkpoint_bytes(lora, SIZE) == 40 * 12


def test_a_cpu_trains_in_fp32() -> None:
    """16 bytes, without the copies in bf16."""
    found = training_need(SftSettings(**NAMED), SIZE, Processes(1), on_gpu=False)
    assert found == MemoryNeed(16_000)


@pytest.mark.deepspeed
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_deepspeed_estimates_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own functions, for 8 B parameters over two machines of eight GPUs."""
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    pytest.importorskip("deepspeed")
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs as zero3
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs as zero2

    size = ModelSize(8_000_000_000, 500_000_000, 7_000_000_000, 1, 2)

    def ours(deepspeed: str) -> MemoryNeed:
        settings = SftSettings(**NAMED, deepspeed=deepspeed)
        return training_need(settings, size, Processes(16, machines=2), on_gpu=True)

    assert ours("zero2").process == zero2(size.parameters, 8, 2, cpu_offload=False)[1]
    assert ours("zero2-offload").process == zero2(size.parameters, 8, 2, cpu_offload=True)[1]
    whole = {"cpu_offload": False, "cpu_offload_params": False}
    assert ours("zero3").process == zero3(size.parameters, size.largest, 8, 2, **whole)[1]
    machine, process, _ = zero3(size.parameters, size.largest, 8, 2, additional_buffer_factor=1)
    assert ours("zero3-offload") == MemoryNeed(process, machine)


def test_a_custom_deepspeed_file_is_read(tmp_path: Path) -> None:
    """Stage and offloading of a file of the user's."""
    path = tmp_path / "own.json"
    zero = {
        "stage": 3,
        "offload_optimizer": {"device": "nvme"},
        "offload_param": {"device": "none"},
    }
    path.write_text(json.dumps({"zero_optimization": zero}))
    assert Zero.from_config(str(path)) == Zero(3, offloads_optimizer=True, offloads_weights=False)
    settings = SftSettings(**NAMED, deepspeed=str(path))
    found = training_need(settings, SIZE, Processes(2), on_gpu=True)
    assert found == MemoryNeed(1_000 + 400, 16_000)


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"zero_optimization": null}',
        '{"zero_optimization": {"stage": null, "offload_optimizer": null}}',
        '{"zero_optimization": {"stage": 0, "offload_param": {"device": null}}}',
    ],
)
def test_null_in_a_deepspeed_file_is_none(tmp_path: Path, content: str) -> None:
    """As DeepSpeed reads it."""
    path = tmp_path / "own.json"
    path.write_text(content)
    assert Zero.from_config(str(path)) == Zero()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"zero_optimization": {"stage": 2,}}', "is not JSON"),
        (b'{"zero_optimization": "\xff"}', "is not JSON"),
        (b"[1, 2]", "is a JSON list; expected an object"),
        (b'{"zero_optimization": true}', "zero_optimization is true; expected a JSON object"),
        (b'{"zero_optimization": {"stage": "auto"}}', "stage is 'auto' (accepted: 0, 1, 2, 3)"),
        (b'{"zero_optimization": {"stage": [3]}}', "stage is [3] (accepted: 0, 1, 2, 3)"),
        (b'{"zero_optimization": {"offload_param": "cpu"}}', 'offload_param is "cpu"; expected'),
    ],
)
def test_a_wrong_deepspeed_file_is_named_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    """With what is wrong in it, before anything trains."""
    path = tmp_path / "own.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        Zero.from_config(str(path))
    assert str(path) in str(caught.value) and message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "on_gpu", "weights"),
    [
        ({}, True, 2 * 10**10),
        ({}, False, 4 * 10**10),
        ({"dtype": "bf16"}, False, 2 * 10**10),
        ({"dtype": "fp32"}, True, 4 * 10**10),
        ({"engine_args": {"tensor_parallel_size": 4}}, True, 5 * 10**9),
        (
            {"engine_args": {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}},
            True,
            5 * 10**9,
        ),
    ],
)
def test_inference_needs_weights_and_a_quarter(
    given: dict[str, Any], on_gpu: bool, weights: int
) -> None:
    """Ten billion numbers in the dtype that the engine takes, shared out over the GPUs of a copy."""
    size = ModelSize(10**10, 1, 1, 1, 2)
    found = inference_need(DecodeConfig(**given), size, on_gpu=on_gpu)
    assert found == MemoryNeed(weights * 5 // 4)


def test_a_small_model_gets_a_gibibyte_of_cache() -> None:
    """A quarter of little would be too little."""
    assert inference_need(DecodeConfig(), SIZE, on_gpu=False) == MemoryNeed(4_000 + GIB)


def test_nvidia_smi_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program on the path is run; without it there is no GPU."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, GPU-a, 80000, 81559'; echo '1, GPU-b, 40000, 81559'\n")
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert read_machine().gpus == (80000 << 20, 40000 << 20)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    found = read_machine()
    assert found == Machine((), found.memory) and found.memory > 0
