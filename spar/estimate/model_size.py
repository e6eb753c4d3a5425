"""The size of a model, read from its files without loading it: parameters, and the dtype they are stored in.

The header of a safetensors file names every tensor with its shape. Where only `config.json` is on this
machine, the shapes are derived from it for models with Llama's architecture: Llama, Mistral, Qwen, GLM-4, the embedded one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.models.folders import is_known, local_files
from spar.models.registry import KNOWN_MODELS

Tensors = Mapping[str, tuple[tuple[int, ...], float]]
"""Name to shape and bytes of a parameter."""

_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}
_HEADS = ("embed", "lm_head", "wte", "wpe")
"""Parts of the names of embedding and output matrices, which get no adapter and stay in 16 bits."""


@dataclass(frozen=True, slots=True)
class ModelSize:
    """The size of a model."""

    parameters: int
    """Of all weights."""
    largest: int
    """Parameters of the largest weight, mostly the embedding."""
    linear: int
    """Parameters of the linear layers, except the output's."""
    adapter_width: int
    """Sum of the inputs and outputs of these layers: adapters of rank r on all of them have r times as many
    parameters."""
    stored_width: float
    """Bytes of a parameter in its files."""


def model_size(model: str) -> ModelSize | None:
    """The size of a folder's or hub model; None where its files are not on this machine, or are not understood.

    A known model is estimated before it is fetched, too.
    """
    folder = local_files(model)
    if folder is None:
        return size_of(tensors_of(KNOWN_MODELS[model].config)) if is_known(model) else None
    try:
        tensors = _stored_tensors(folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return size_of(tensors or tensors_of(config))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def size_of(tensors: Tensors) -> ModelSize:
    """A model's size from its tensors."""
    counts = {name: math.prod(shape) for name, (shape, _) in tensors.items()}
    inner = [
        (name, shape)
        for name, (shape, _) in tensors.items()
        if len(shape) == 2 and not any(part in name for part in _HEADS)
    ]
    stored = sum(counts[name] * width for name, (_, width) in tensors.items())
    return ModelSize(
        parameters=sum(counts.values()),
        largest=max(counts.values()),
        linear=sum(counts[name] for name, _ in inner),
        adapter_width=sum(sum(shape) for _, shape in inner),
        stored_width=stored / sum(counts.values()),
    )


def tensors_of(config: Mapping[str, Any]) -> Tensors:
    """The tensors of a model with Llama's architecture, from its configuration.

    Raises
    ------
    KeyError
        The architecture is another.
    """
    if any(config.get(name) for name in ("num_local_experts", "num_experts", "n_routed_experts")):
        raise KeyError("a mixture of experts")
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    queries, keys = heads * head, (config.get("num_key_value_heads") or heads) * head
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens": (config["vocab_size"], hidden)}
    if not config.get("tie_word_embeddings", False):
        shapes["lm_head"] = (config["vocab_size"], hidden)
    shapes["norm"] = (hidden,)
    layer: dict[str, tuple[int, ...]] = {
        "q": (queries, hidden),
        "k": (keys, hidden),
        "v": (keys, hidden),
        "o": (hidden, queries),
        "gate": (inner, hidden),
        "up": (inner, hidden),
        "down": (hidden, inner),
        "norm1": (hidden,),
        "norm2": (hidden,),
    }
    if config.get("attention_bias"):
        layer["bias"] = (queries + 2 * keys,)
    for number in range(config["num_hidden_layers"]):
        shapes |= {f"{number}.{name}": shape for name, shape in layer.items()}
    width = _config_width(config)
    return {name: (shape, width) for name, shape in shapes.items()}


def _stored_tensors(folder: Path) -> Tensors:
    """The tensors in the folder's safetensors files; none where a file is missing."""
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        files = [folder / name for name in dict.fromkeys(names)]
        if not all(path.is_file() for path in files):  # an incomplete download
            return {}
    return dict(_headers(files))


def _headers(files: Iterable[Path]) -> Iterable[tuple[str, tuple[tuple[int, ...], float]]]:
    for path in files:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError(f"{path} is no safetensors file")
            header = json.loads(handle.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                yield name, (tuple(tensor["shape"]), _WIDTHS[tensor["dtype"]])


def _config_width(config: Mapping[str, Any]) -> float:
    name = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16")
    return {"float32": 4, "float64": 8}.get(name, 2)
