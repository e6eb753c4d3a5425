"""From spar's settings to the arguments of vLLM's engine. What `--engine-arg` names has the last word.

spar sets no more than it must: the dtype of the other engines, the model's own memory share, and sampling
defaults of its own in place of the model's.
"""

from __future__ import annotations

import difflib
import json
import os
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spar.errors import UsageError
from spar.infer.engine import Deployment

if TYPE_CHECKING:
    from spar.config import DecodeConfig

NGRAM_SPECULATION = {
    "method": "ngram",
    "num_speculative_tokens": 6,
    "prompt_lookup_max": 4,
    "prompt_lookup_min": 2,
}
"""Proposes what followed the last two to four tokens where they stood before, six tokens at a time."""

_GPU_SHARE = 0.9
_CPU_CACHE_SHARE = 0.1
_LEAST_CPU_CACHE = 1 << 30
_CPU_BLOCK = 32
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def engine_arguments(
    deployment: Deployment, config: DecodeConfig, *, on_cpu: bool
) -> dict[str, Any]:
    """Arguments of vLLM's `AsyncEngineArgs`.

    Parameters
    ----------
    on_cpu:
        Whether the installed vLLM is a CPU build.

    Raises
    ------
    UsageError
        A folder of `--adapter` holds no adapter that vLLM can apply.
    """
    dtypes = {"auto": "float32" if on_cpu else "bfloat16", "fp32": "float32", "bf16": "bfloat16"}
    ours: dict[str, Any] = {
        "model": deployment.model,
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
        ours["max_num_seqs"] = config.max_batch_size
    if speculates(config) and not on_cpu:
        ours["speculative_config"] = dict(NGRAM_SPECULATION)
    return ours | config.engine_args


def speculates(config: DecodeConfig) -> bool:
    """Whether n-gram speculation is asked for; whoever opens the engine settles `auto` before."""
    return config.speculative_decoding == "on"


def speculation_warning(config: DecodeConfig, *, on_cpu: bool) -> str:
    """What the person should know about speculation on a CPU build; "" where nothing."""
    # Measured on vLLM 0.32: its rejection sampler on CPUs turns down almost every proposed token, and
    # then draws from the others, so that sampled texts come out wrong. Greedy ones are right.
    if not on_cpu:
        return ""
    if "speculative_config" in config.engine_args:
        return (
            "vLLM's CPU build samples wrongly with speculation; only greedy replies can be trusted"
        )
    if speculates(config):
        return "speculation stays off: vLLM's CPU build samples wrongly with it"
    return ""


def check_arguments(given: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise `UsageError` for an engine argument that vLLM does not know."""
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageError(
                f"--engine-arg {name}: vLLM's engine has no such argument{hint} "
                "(they are the fields of vllm.AsyncEngineArgs)"
            )


def _memory(share: float, given: Mapping[str, Any], *, on_cpu: bool) -> dict[str, Any]:
    if not on_cpu:
        return {"gpu_memory_utilization": round(_GPU_SHARE * share, 4)}
    # Blocks are the grain of the prefix cache; 32 is the smallest that the CPU kernels take, and their
    # default of 128 tokens is longer than many a prompt.
    ours: dict[str, Any] = {"block_size": _CPU_BLOCK}
    if "gpu_memory_utilization" not in given and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        # vLLM's default would be all but the whole machine.
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        ours["kv_cache_memory_bytes"] = int(
            share * max(_LEAST_CPU_CACHE, _CPU_CACHE_SHARE * memory)
        )
    return ours


def _adapters(folders: Collection[str], *, on_cpu: bool) -> dict[str, Any]:
    if not folders:
        return {}
    rank = max(adapter_rank(folder) for folder in folders)
    # The CPU kernels give a row without an adapter the last slot's (vllm-project/vllm#48421): a slot
    # more than there are adapters keeps that one empty.
    slots = len(folders) + on_cpu
    return {"enable_lora": True, "max_loras": slots, "max_lora_rank": _rounded(rank)}


def adapter_rank(folder: str) -> int:
    """The rank of a LoRA adapter.

    Raises
    ------
    UsageError
        The folder holds no LoRA adapter as peft writes it.
    """
    path = Path(folder) / "adapter_config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"--adapter {folder}: not an adapter folder (it has no {path.name}); "
            "give a folder that peft wrote"
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


def _rounded(rank: int) -> int:
    fitting = [size for size in _RANKS if size >= rank]
    if not fitting:
        raise UsageError(f"--adapter: rank {rank} is more than vLLM's most, {_RANKS[-1]}")
    return fitting[0]
