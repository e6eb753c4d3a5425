"""How much memory a training or an engine needs, in bytes, and how much this machine has. Mostly pure.

Counted are weights, gradients and optimizer states, which depend on the model's size alone. Not counted are
activations, which depend on the length of the examples, and the buffers of launchers and engines.

A parameter that is trained with AdamW takes, by the memory page of DeepSpeed's documentation and its own
`estimate_zero2_model_states_mem_needs` and `estimate_zero3_model_states_mem_needs` (0.19), on each of n
processes, w being 2 bytes in bf16 and 4 in fp32:

    without DeepSpeed   4 weight + 4 gradient + 8 moments, + 2 for bf16 copies, + 4 for DDP's buckets if n > 1
    zero1               2 w + 16 / n        the 16: fp32 weight 4, fp32 gradient 4, moments 8
    zero2               w + (w + 16) / n
    zero3               (w + 16) / n, + 4 for each parameter of the largest layer, which is gathered
    optimizer offloaded the same without the 16 and the gradients; in the machine's memory 16
    weights too         4 for each parameter of the largest layer; in the machine's memory w + 16
"""

from __future__ import annotations

from dataclasses import dataclass

from spar.config import DecodeConfig
from spar.estimate.model_size import ModelSize
from spar.hardware import available_memory, visible_gpus
from spar.infer.engines.gpus import parallel_size
from spar.run.placement import CACHE_SHARE, LEAST_CACHE
from spar.train.deepspeed_files import zero_settings
from spar.train.settings import DpoSettings, TrainerSettings

STATES = 16
"""Bytes of fp32 weight, gradient and both moments of AdamW."""
FOUR_BITS = (4 + 0.127) / 8
"""Bytes of a parameter in 4 bits with doubly quantized constants (QLoRA, section 3)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The free memory of a machine."""

    gpus: tuple[int, ...]
    """Free bytes of each GPU."""
    memory: int
    """Free bytes of main memory."""

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
    def per_machine(self) -> float:
        """Processes of one machine."""
        return self.total / self.machines


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes of memory that something needs."""

    process: int
    """For each process, on its GPU where it has one."""
    machine: int = 0
    """For each machine, in main memory, in addition."""


@dataclass(frozen=True, slots=True)
class Zero:
    """What a DeepSpeed configuration partitions and offloads."""

    stage: int = 0
    offloads_optimizer: bool = False
    """Whether optimizer states are in main memory."""
    offloads_weights: bool = False
    """Whether weights are too."""

    @classmethod
    def from_config(cls, deepspeed: str) -> Zero:
        """The configuration of a preset or file; stage 0 for "".

        Raises
        ------
        UsageError
            As `spar.train.deepspeed_files.zero_settings`.
        """
        if not deepspeed:
            return cls()
        zero = zero_settings(deepspeed)

        def offloads(name: str) -> bool:
            return (zero[name].get("device") or "none") != "none"

        return cls(zero["stage"], offloads("offload_optimizer"), offloads("offload_param"))


def training_need(
    settings: TrainerSettings, size: ModelSize, processes: Processes, *, on_gpu: bool
) -> MemoryNeed:
    """What training needs; see the module's docstring."""
    auto = "bf16" if on_gpu else "fp32"
    width = {"bf16": 2, "fp32": 4}[auto if settings.precision == "auto" else settings.precision]
    zero, n = Zero.from_config(settings.deepspeed), processes.total
    if settings.method == "full":
        states = _states(zero, size.parameters, width, processes)
        frozen = _reference(settings, zero, size, width, processes)
    else:
        states = _adapters(settings, zero, size, width, processes)
        frozen = _frozen_base(settings, zero, size, width, n)
    gathered = 4 * size.largest if zero.stage == 3 else 0
    return MemoryNeed(states.process + frozen.process + gathered, states.machine + frozen.machine)


def inference_need(config: DecodeConfig, size: ModelSize, *, on_gpu: bool) -> MemoryNeed:
    """What a model needs on each GPU for inference: its weights and a KV cache, divided among the GPUs of one
    copy; without a GPU, of main memory."""
    fp32 = config.dtype == "fp32" or (config.dtype == "auto" and not on_gpu)
    weights = size.parameters * (4 if fp32 else 2)
    cache = max(LEAST_CACHE, int(weights * CACHE_SHARE))
    return MemoryNeed((weights + cache) // (gpus_per_copy(config) if on_gpu else 1))


def gpus_per_copy(config: DecodeConfig) -> int:
    """GPUs that hold one copy of a model."""
    arguments = config.engine_args
    return parallel_size(arguments, "tensor_parallel_size") * parallel_size(
        arguments, "pipeline_parallel_size"
    )


def num_copies(config: DecodeConfig) -> int:
    """Copies of a model that run at the same time."""
    return config.replicas * parallel_size(config.engine_args, "data_parallel_size")


def read_machine() -> Machine:
    """The free memory of this machine, without initializing CUDA, which would take GPU memory."""
    return Machine(tuple(gpu.free for gpu in visible_gpus()), available_memory())


def _states(zero: Zero, trained: int, width: int, processes: Processes) -> MemoryNeed:
    n = processes.total
    if not zero.stage:
        each = STATES + (2 if width == 2 else 0) + (4 if n > 1 else 0)
        return MemoryNeed(trained * each)
    weights = width / n if zero.stage == 3 else width
    if zero.offloads_optimizer:
        on_device = 0 if zero.offloads_weights else weights
        offloaded = STATES + (width if zero.offloads_weights else 0)
        machine = int(trained * offloaded / processes.machines)
        return MemoryNeed(int(trained * on_device), machine)
    gradients = {1: width, 2: width / n}.get(zero.stage, 0)
    return MemoryNeed(int(trained * (weights + gradients + STATES / n)))


def _reference(
    settings: TrainerSettings, zero: Zero, size: ModelSize, width: int, processes: Processes
) -> MemoryNeed:
    """DPO's reference model, which stays beside the trained one. TRL loads it in the same dtype, and
    partitions it under ZeRO-3 only."""
    if not isinstance(settings, DpoSettings) or settings.precompute_reference:
        return MemoryNeed(0)
    if not zero.stage:
        return MemoryNeed(size.parameters * 4)
    if zero.offloads_weights:
        return MemoryNeed(0, size.parameters * width // processes.machines)
    return MemoryNeed(size.parameters * width // (processes.total if zero.stage == 3 else 1))


def _adapters(
    settings: TrainerSettings, zero: Zero, size: ModelSize, width: int, processes: Processes
) -> MemoryNeed:
    trained = adapter_parameters(settings, size)
    if settings.method == "qlora":
        return MemoryNeed(trained * STATES)  # they are in fp32, whatever TRL loads them in
    return _states(zero, trained, width, processes)


def adapter_parameters(settings: TrainerSettings, size: ModelSize) -> int:
    """Parameters of the adapters, at most: `lora.targets` may name fewer layers."""
    return settings.lora.rank * size.adapter_width


def _frozen_base(
    settings: TrainerSettings, zero: Zero, size: ModelSize, width: int, n: int
) -> MemoryNeed:
    """The base model below the adapters, in 4 bits but for embedding and output, or whole."""
    if settings.method == "qlora":
        return MemoryNeed(int(size.linear * FOUR_BITS) + (size.parameters - size.linear) * width)
    return MemoryNeed(size.parameters * width // (n if zero.stage == 3 else 1))
