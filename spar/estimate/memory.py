"""How much memory a training or an engine needs, in bytes, and how much this machine has. Mostly pure.

Weights, gradients and what the optimizer keeps: what a model's size alone decides. Activations, which hang on
the length of the examples, and the buffers of launchers and engines are not counted.

A number that is trained with AdamW takes, by the memory page of DeepSpeed's documentation and its own
`estimate_zero2_model_states_mem_needs` and `estimate_zero3_model_states_mem_needs` (0.19), on each of n
processes, w being 2 bytes in bf16 and 4 in fp32:

    without DeepSpeed   4 weight + 4 gradient + 8 moments, + 2 for bf16 copies, + 4 for DDP's buckets if n > 1
    zero1               2 w + 16 / n        the 16: fp32 weight 4, fp32 gradient 4, moments 8
    zero2               w + (w + 16) / n
    zero3               (w + 16) / n, + 4 for each number of the largest layer, which is gathered
    optimizer offloaded the same without its 16 and gradients, which are in the machine's memory: 16
    weights too         4 for each number of the largest layer; in the machine's memory w + 16
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from spar.config import DecodeConfig
from spar.estimate.model_size import ModelSize
from spar.hardware import available_memory
from spar.run.placement import CACHE_SHARE, LEAST_CACHE
from spar.train.common import deepspeed_file
from spar.train.settings import DpoSettings, TrainerSettings

QUERY = ("--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits")
STATES = 16
"""Bytes of fp32 weight, gradient and both moments of AdamW."""
ADAPTER_IN_16_BITS = 8
"""Bytes of a QLoRA adapter's number: TRL holds it, its gradient and its moments in bf16."""
FOUR_BITS = (4 + 0.127) / 8
"""Bytes of a number in 4 bits with doubly quantized constants (QLoRA, section 3)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has free."""

    gpus: tuple[int, ...]
    """Bytes of each GPU."""
    memory: int
    """Bytes of the machine's own memory."""

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU."""
        return bool(self.gpus)


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a training."""

    total: int
    machines: int = 1

    @property
    def each(self) -> float:
        """Processes of one machine."""
        return self.total / self.machines


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that something takes."""

    process: int
    """Each process, on its GPU where it has one."""
    machine: int = 0
    """Each machine, in its own memory, besides."""


@dataclass(frozen=True, slots=True)
class Zero:
    """What a DeepSpeed configuration shares out and puts aside."""

    stage: int = 0
    optimizer_aside: bool = False
    """Whether the optimizer's state is in the machine's memory."""
    weights_aside: bool = False
    """Whether the weights are too."""

    @classmethod
    def of(cls, deepspeed: str) -> Zero:
        """The one of a preset or file, stage 0 where none is named.

        Raises
        ------
        UsageError
            There is no such preset or file.
        """
        if not deepspeed:
            return cls()
        content = json.loads(deepspeed_file(deepspeed).read_text(encoding="utf-8"))
        zero: dict[str, Any] = content.get("zero_optimization", {})

        def aside(name: str) -> bool:
            return bool(zero.get(name, {}).get("device", "none") != "none")

        return cls(int(zero.get("stage", 0)), aside("offload_optimizer"), aside("offload_param"))


def training_need(
    settings: TrainerSettings, size: ModelSize, processes: Processes, *, on_gpu: bool
) -> Need:
    """What training takes; see the module's docstring."""
    wanted = "bf16" if on_gpu else "fp32"
    width = {"bf16": 2, "fp32": 4}[wanted if settings.precision == "auto" else settings.precision]
    zero, n = Zero.of(settings.deepspeed), processes.total
    if settings.method == "full":
        states = _states(zero, size.parameters, width, processes)
        own = _reference(settings, zero, size, width, processes)
    else:
        states = _adapters(settings, zero, size, width, processes)
        own = _frozen(settings, zero, size, width, n)
    gathered = 4 * size.largest if zero.stage == 3 else 0
    return Need(states.process + own.process + gathered, states.machine + own.machine)


def answering_need(config: DecodeConfig, size: ModelSize, *, on_gpu: bool) -> Need:
    """What a model takes of each GPU to answer: its weights and room for keys and values, shared out
    over the GPUs that hold one copy. Without a GPU it is the machine's memory."""
    fp32 = config.dtype == "fp32" or (config.dtype == "auto" and not on_gpu)
    weights = size.parameters * (4 if fp32 else 2)
    room = max(LEAST_CACHE, int(weights * CACHE_SHARE))
    return Need((weights + room) // (gpus_of_copy(config) if on_gpu else 1))


def gpus_of_copy(config: DecodeConfig) -> int:
    """GPUs over which one copy of a model is spread."""
    arguments = config.engine_args
    shards = (arguments.get(f"{way}_parallel_size", 1) for way in ("tensor", "pipeline"))
    tensor, pipeline = (int(number or 1) for number in shards)
    return max(1, tensor * pipeline)


def copies(config: DecodeConfig) -> int:
    """Copies of a model that answer at the same time."""
    return config.replicas * int(config.engine_args.get("data_parallel_size") or 1)


def read_machine() -> Machine:
    """What is free here, without waking a GPU: a process that does would hold memory on it."""
    return Machine(_free_gpus(), available_memory())


def _states(zero: Zero, trained: int, width: int, processes: Processes) -> Need:
    n = processes.total
    if not zero.stage:
        each = STATES + (2 if width == 2 else 0) + (4 if n > 1 else 0)
        return Need(trained * each)
    weights = width / n if zero.stage == 3 else width
    if zero.optimizer_aside:
        kept = 0 if zero.weights_aside else weights
        aside = STATES + (width if zero.weights_aside else 0)
        return Need(int(trained * kept), int(trained * aside / processes.machines))
    gradients = {1: width, 2: width / n}.get(zero.stage, 0)
    return Need(int(trained * (weights + gradients + STATES / n)))


def _reference(
    settings: TrainerSettings, zero: Zero, size: ModelSize, width: int, processes: Processes
) -> Need:
    """The model that DPO starts from, which stays beside the one that is trained. TRL loads it in the
    dtype of that one, and shares it out under ZeRO-3 only."""
    if not isinstance(settings, DpoSettings) or settings.precompute_reference:
        return Need(0)
    if not zero.stage:
        return Need(size.parameters * 4)
    if zero.weights_aside:
        return Need(0, size.parameters * width // processes.machines)
    return Need(size.parameters * width // (processes.total if zero.stage == 3 else 1))


def _adapters(
    settings: TrainerSettings, zero: Zero, size: ModelSize, width: int, processes: Processes
) -> Need:
    trained = adapter_numbers(settings, size)
    if settings.method == "qlora":
        return Need(trained * ADAPTER_IN_16_BITS)
    return _states(zero, trained, width, processes)


def adapter_numbers(settings: TrainerSettings, size: ModelSize) -> int:
    """Numbers in the adapters, at most: `lora.targets` may name fewer layers."""
    return settings.lora.rank * size.sides


def _frozen(settings: TrainerSettings, zero: Zero, size: ModelSize, width: int, n: int) -> Need:
    """The base below the adapters, in 4 bits but for its ends, or whole; it is its own reference."""
    if settings.method == "qlora":
        return Need(int(size.linear * FOUR_BITS) + (size.parameters - size.linear) * width)
    return Need(size.parameters * width // (n if zero.stage == 3 else 1))


def _free_gpus() -> tuple[int, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    told = subprocess.run([program, *QUERY], capture_output=True, text=True, check=False)
    return free_gpus(told.stdout, os.environ.get("CUDA_VISIBLE_DEVICES"))


def free_gpus(told: str, visible: str | None) -> tuple[int, ...]:
    """Free bytes of each GPU out of what nvidia-smi printed: index, id and MiB a line.

    Parameters
    ----------
    visible:
        `CUDA_VISIBLE_DEVICES`: indices or ids of those that count; None is all.
    """
    rows = [tuple(cell.strip() for cell in row) for row in csv.reader(told.splitlines())]
    free = {(row[0], row[1]): int(row[2]) << 20 for row in rows if _is_gpu(row)}
    if visible is None:
        return tuple(free.values())
    names = [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    return tuple(
        room
        for name in names
        for (index, uuid), room in free.items()
        if name == index or (len(name) > len("GPU-") and uuid.startswith(name))
    )


def _is_gpu(row: tuple[str, ...]) -> bool:
    return len(row) == 3 and row[2].isdigit()
