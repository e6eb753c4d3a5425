"""Loads models and tokenizers of transformers from a folder or the hub, and refuses damaged ones.

transformers fills a weight that is missing, or has another shape than the configuration says, with random numbers,
and loads weights that are not numbers: the model would run, as noise. A folder may also hold anything else in place of
its configuration, so whatever transformers raises on the way is an error of one line here.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import PickleError
from typing import Any

from spar.errors import UsageError

_MAX_LAYERS_UNCHECKED = 10_000
"""Layers above which a model without safetensors files is not built, since it would take hours."""
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
"""The number of a layer in the name of a weight."""


def has_weights(folder: Path) -> bool:
    """Whether a local folder has files of weights; an index without its files does not count."""
    index = _read(folder / "model.safetensors.index.json")
    weight_map = index.get("weight_map") if isinstance(index, Mapping) else None
    if isinstance(weight_map, Mapping):
        return all((folder / str(name)).is_file() for name in weight_map.values())
    patterns = ("*.safetensors", "*model*.bin", "*.pt", "*.pth", "*.gguf")
    return any(True for pattern in patterns for _ in folder.glob(pattern))


def quiet_hub() -> None:
    """Keep the hub client's lines about single requests off the screen: what fails in the end is an error here.

    Called after the import of a library that uses the client, since that import sets the level.
    """
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def load_tokenizer_files(model: str, *, label: str = "", **options: Any) -> Any:
    """`AutoTokenizer.from_pretrained`; raises `UsageError` where it fails. `label` is as of `load_model_files`."""
    from transformers import AutoTokenizer

    quiet_hub()
    try:
        return AutoTokenizer.from_pretrained(model, **options)
    except load_failures() as error:
        raise load_error(label or model, error) from error


def load_model_files(model: str, *, label: str = "", **options: Any) -> Any:
    """`AutoModelForCausalLM.from_pretrained`, checked.

    Parameters
    ----------
    label:
        What errors call the model, if not `model`.

    Raises
    ------
    UsageError
        It cannot be loaded; a weight is missing, has another shape than the configuration says, or is not finite; or
        the configuration leaves layers of the weights out.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # what its report says is an error here
    quiet_hub()
    try:
        _check_layers(model)
        loaded, report = AutoModelForCausalLM.from_pretrained(
            model, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    except load_failures() as error:
        if "out of memory" in str(error).lower():
            raise
        raise load_error(label or model, error) from error
    problem = _misfit(loaded, report) or _not_finite(loaded)
    if problem:
        raise UsageError(
            f"the model {(label or model)!r} is damaged, and would run as noise: {problem}; download or copy it again"
        )
    return loaded


def load_failures() -> tuple[type[Exception], ...]:
    """What transformers raises where a model's files are wrong: whatever its code makes of odd values."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    return (
        *(OSError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError),
        *(AssertionError, RuntimeError, ImportError, PickleError),
        *(SafetensorError, StrictDataclassError),
    )


def load_error(model: str, error: Exception) -> UsageError:
    """The error for a model that transformers cannot load, in one line."""
    if isinstance(error, PickleError):
        reason = "its weights are a pickle that holds other things than weights"
    elif isinstance(error, RecursionError):
        reason = "one of its JSON files is nested too deeply"
    else:
        lines = [line.strip() for line in str(error).strip().split("\n") if line.strip()]
        # The first line of a failed validation only says which one; the next says why.
        reason = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    if not isinstance(error, OSError | ValueError):
        reason = f"{type(error).__name__}: {reason}"
    return UsageError(
        f"the model {model!r} cannot be loaded: {reason.removesuffix('.')}; "
        "pass a Hugging Face folder, a GGUF file, a hub name or one of `spar models list`"
    )


def _check_layers(model: str) -> None:
    """Refuse a local model with more layers than its weights can have, before it is built."""
    folder = Path(model)
    config = _read(folder / "config.json")
    layers = config.get("num_hidden_layers") if isinstance(config, Mapping) else None
    if not isinstance(layers, int):
        return
    names = set(_stored_names(folder))
    most = len(names) if names else _MAX_LAYERS_UNCHECKED
    if not 0 < layers <= most:
        held = f"has {most:,} weights" if names else f"may have {most:,} at most"
        raise ValueError(f"its config.json says {layers:,} layers, and the model {held}")


def _stored_names(folder: Path) -> Iterator[str]:
    """Names of the weights in a folder's safetensors files; damaged files have none."""
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = _parse(handle.read(length)) if length < path.stat().st_size else None
        if isinstance(header, Mapping):
            yield from (name for name in header if name != "__metadata__")


def _read(path: Path) -> Any:
    """The JSON in a file; None where it is not there or not JSON."""
    try:
        return _parse(path.read_bytes())
    except OSError:
        return None


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _misfit(model: Any, report: Mapping[str, Any]) -> str:
    """How a model's weights and configuration differ; "" where they fit.

    Buffers may be missing, since they are computed, and tied weights, which transformers does not report.
    """
    parameters = {name for name, _ in model.named_parameters()}
    missing = sorted(set(report["missing_keys"]) & parameters)
    if missing:
        return f"{len(missing)} of {len(parameters)} weights are missing, such as {missing[0]}"
    for name, stored, expected in sorted(report["mismatched_keys"], key=str):
        return f"{name} has the shape {list(stored)}, and by config.json {list(expected)}"
    patterns = {_NUMBER.sub("N", name) for name in parameters}
    unused = [name for name in report["unexpected_keys"] if _NUMBER.sub("N", name) in patterns]
    layers = {tuple(_NUMBER.findall(name)) for name in unused}
    # One more layer than the model uses is usual: it predicts further tokens while the model is trained.
    if len(layers) > 1:
        return f"config.json leaves out {len(layers)} of its layers, such as {sorted(unused)[0]}"
    return ""


def _not_finite(model: Any) -> str:
    """Which weight is not finite; "" where all are. ZeRO-3 has a part of each weight in every process."""
    for name, parameter in model.named_parameters():
        weight = getattr(parameter, "ds_tensor", parameter).detach()
        if weight.device.type != "meta" and not is_finite(weight):
            return f"the weight {name} has values that are not finite"
    return ""


def is_finite(tensor: Any) -> bool:
    """Whether a tensor has neither NaN nor infinity; only its extremes are checked, which is faster."""
    import torch

    if not tensor.is_floating_point() or not tensor.numel():
        return True
    if tensor.element_size() == 1:  # torch has no extremes of FP8
        tensor = tensor.to(torch.bfloat16)
    least, largest = torch.aminmax(tensor)
    return bool(torch.isfinite(least) & torch.isfinite(largest))
