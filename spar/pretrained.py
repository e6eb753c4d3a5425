"""What engines and trainers load models with: any model that `--model` can name, resolved and checked.

A model is a Hugging Face folder, a hub name, a GGUF file, or a name that spar knows (`spar.models`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spar.errors import UsageError
from spar.models.folders import cached_model, is_known, local_model
from spar.models.gguf import is_gguf, read_header
from spar.models.loading import (
    has_weights,
    load_error,
    load_failures,
    load_model_files,
    load_tokenizer_files,
    quiet_hub,
)
from spar.models.registry import KNOWN_MODELS

_HUB_NAME = re.compile(r"(\w([\w.-]*\w)?/)?\w([\w.-]*\w)?(:[\w.-]+)?")
"""`NAME` or `OWNER/NAME`; vLLM takes the format of a GGUF model behind a colon."""


def check_model_folder(model: str) -> None:
    """Raise `UsageError` if `model` is a local path without a model, or a GGUF file that cannot be read."""
    if is_known(model):
        return
    path = Path(model)
    if model == "embedded" and not path.exists():
        raise UsageError(
            "--model embedded: the embedded model is used where no model is named; leave --model out, or set it to ''"
        )
    if is_gguf(model):
        if cached_model(model) is None:
            read_header(path)
        return
    if path.is_file() or (path.is_dir() and not (path / "config.json").is_file()):
        known = "; rename it to use the known model of that name" if model in KNOWN_MODELS else ""
        raise UsageError(
            f"--model {model}: not a model folder (it has no config.json); "
            f"pass a Hugging Face folder, a GGUF file or a hub name{known}"
        )
    if not path.exists() and not _may_be_remote(model):
        raise UsageError(
            f"--model {model}: no such folder; pass a Hugging Face folder, a GGUF file, a hub name (OWNER/NAME) or one of "
            "`spar models list`"
        )
    if path.is_dir() and not has_weights(path):
        raise UsageError(
            f"--model {model}: its weights are missing, it has a config.json without all of them; "
            "download or copy it again"
        )


def _may_be_remote(model: str) -> bool:
    """Whether a text can name a model elsewhere: on the hub, or at an address, from which vLLM loads too."""
    return _HUB_NAME.fullmatch(model) is not None or "://" in model


def prepare_model(model: str, note: Callable[[str], None], *, offline: bool = False) -> None:
    """Fetch a known model or convert a GGUF file, so that it loads at once later; check all others.

    Parameters
    ----------
    note:
        Takes lines for the user.
    offline:
        Whether nothing may be downloaded.

    Raises
    ------
    UsageError
        A folder has no model, a GGUF file cannot be read, or a known model may not be downloaded.
    RunStopped
        A known model cannot be downloaded.
    """
    check_model_folder(model)
    local_model(model, note, offline=offline)


def load_pretrained_tokenizer(model: str, **options: Any) -> Any:
    """`AutoTokenizer.from_pretrained`; raises `UsageError` where it fails."""
    return load_tokenizer_files(local_model(model), label=model, **options)


def load_pretrained_model(model: str, **options: Any) -> Any:
    """`AutoModelForCausalLM.from_pretrained`, checked; raises as `spar.models.loading.load_model_files`."""
    return load_model_files(local_model(model), label=model, **options)


def load_pretrained_config(model: str) -> Any:
    """`AutoConfig.from_pretrained`; raises `UsageError` where it fails."""
    from transformers import AutoConfig

    quiet_hub()
    try:
        return AutoConfig.from_pretrained(local_model(model))
    except load_failures() as error:
        raise load_error(model, error) from error
