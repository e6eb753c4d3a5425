"""LoRA adapters written by hand in peft's format, since peft itself is not needed to apply them."""

from __future__ import annotations

import json
from pathlib import Path

ADAPTERS = ("zero", "strong")
"""Adapters of the shared vllm engine: one that changes nothing and one that changes every reply."""

_RANK = 3


def write_adapter(folder: Path, model: Path, kind: str) -> Path:
    """Write an adapter for a Llama model's query and down projections; `zero` or `strong`."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((model / "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    generator = torch.Generator().manual_seed(0)
    scale = 0.0 if kind == "zero" else 1.0
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for name, width in (("self_attn.q_proj", hidden), ("mlp.down_proj", inner)):
            stem = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{stem}.lora_A.weight"] = torch.randn(_RANK, width, generator=generator)
            tensors[f"{stem}.lora_B.weight"] = scale * torch.randn(
                hidden, _RANK, generator=generator
            )
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps(
            {
                "peft_type": "LORA",
                "r": _RANK,
                "lora_alpha": 2 * _RANK,
                "target_modules": ["q_proj", "down_proj"],
                "bias": "none",
                "base_model_name_or_path": str(model),
            }
        )
    )
    return folder
