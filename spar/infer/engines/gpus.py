"""All GPUs of a machine, not one of them in silence: data-parallel ranks of vLLM, or a note.

vLLM itself uses one GPU unless it is told otherwise. Its data-parallel ranks are whole replicas, each with a
scheduler and a prefix cache of its own, behind one client. The ranks of a dense model work independently, those of a
mixture of experts step together. A rank takes its share of the memory of its GPU, so that GPUs which
another process uses, or which are smaller than the others, cannot be given one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from spar.errors import UsageError
from spar.hardware import Gpu, has_gpu, visible_gpus

if TYPE_CHECKING:
    from spar.config import DecodeConfig
    from spar.infer.engine import NoteCallback

PARALLEL_SIZES = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
"""Arguments whose product is the number of GPUs."""
IDLE = 0.9
"""Share of its memory that must be free on a GPU for a rank: what vLLM takes by default."""


def num_gpus(engine_args: Mapping[str, object]) -> int:
    """GPUs that a vLLM engine with these arguments uses; raises as `parallel_size`."""
    return math.prod(parallel_size(engine_args, size) for size in PARALLEL_SIZES)


def parallel_size(engine_args: Mapping[str, object], name: str) -> int:
    """One of `PARALLEL_SIZES` in the arguments of a vLLM engine, 1 where it is not set; raises `UsageError` if it is no number."""
    value = engine_args.get(name) or 1
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and int(text)):
        raise UsageError(
            f"--engine-arg {name}={value}: not a number of GPUs; pass a whole number from 1, such as {name}=2"
        )
    return int(text)


def use_all_gpus_with_vllm(config: DecodeConfig, note: NoteCallback) -> DecodeConfig:
    """The settings with `data_parallel_size` set so that every GPU has a rank, if all of them are alike and idle.

    Notes what was set, or how to use the GPUs that stay idle.
    """
    gpus = _gpus(config)
    used = num_gpus(config.engine_args)
    if used >= len(gpus):
        return config
    reason = _obstacle(config, gpus)
    if reason:
        note(f"vLLM uses {used} of {len(gpus)} GPUs, since {reason}")
        return config
    note(f"vLLM runs a replica on each of {len(gpus)} GPUs (data_parallel_size={len(gpus)})")
    arguments = {**config.engine_args, "data_parallel_size": len(gpus)}
    return config.model_copy(update={"engine_args": arguments})


def note_idle_gpus_of_hf(config: DecodeConfig, note: NoteCallback) -> DecodeConfig:
    """The settings as they are; notes that transformers computes on one GPU, where there are more."""
    num = len(_gpus(config))
    if num > 1:
        note(f"hf uses 1 of {num} GPUs; --engine vllm, or --engine ray --replicas {num}, uses all")
    return config


def note_idle_gpus_of_ray(config: DecodeConfig, note: NoteCallback) -> DecodeConfig:
    """The settings as they are; notes that a cluster on this machine has GPUs without a replica."""
    num = 0 if config.ray_address else len(_gpus(config))
    each = num_gpus(config.engine_args)
    if config.replicas * each < num:
        note(
            f"each model uses {config.replicas * each} of {num} GPUs; --replicas {num // each} uses all"
        )
    return config


def _gpus(config: DecodeConfig) -> Sequence[Gpu]:
    return visible_gpus() if config.device != "cpu" and has_gpu() else ()


def _obstacle(config: DecodeConfig, gpus: Sequence[Gpu]) -> str:
    """Why not every GPU gets a rank; "" if every one does."""
    own = [size for size in PARALLEL_SIZES if size in config.engine_args]
    if own:
        return f"--engine-arg {own[0]} is set; --engine-arg data_parallel_size=N multiplies it"
    if len({gpu.total for gpu in gpus}) > 1:
        return "they differ in size; CUDA_VISIBLE_DEVICES selects those to use together"
    busy = [str(i) for i, gpu in enumerate(gpus) if gpu.free < IDLE * gpu.total]
    if busy:
        return (
            f"memory of GPU {', '.join(busy)} is in use; CUDA_VISIBLE_DEVICES selects those to use "
            "together"
        )
    return ""
