"""GGUF files, converted once into folders that every engine and trainer can load.

    spar decode --model SmolLM2-135M-Instruct.Q4_1.gguf

transformers reads the file: the weights are dequantised, and tokenizer, chat template and special tokens are the file's.
A copy below a billion parameters is stored in float32, in which dequantised weights are exact, a larger one in bfloat16.
The copy lies in the cache under the file's SHA-256, so a changed file is converted again, and a moved one is not.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar import hardware
from spar.errors import UsageError, first_line
from spar.models.cache import (
    CONVERSION,
    CachedModel,
    ModelSource,
    file_sizes,
    gguf_digest,
    is_unwritable,
    models_root,
    read_cached,
    require_space,
    write_record,
    writing_to,
)
from spar.models.loading import load_failures, load_model_files, load_tokenizer_files
from spar.models.splitting import set_splitting

SUFFIX = ".gguf"
RECORD = "spar.json"
"""The record in the folder of a converted file."""
_MAGIC = b"GGUF"
_EXACT_PARAMETERS = 1_000_000_000
"""Parameters from which a copy is stored in bfloat16."""
_BYTES = {"fp32": 4, "bf16": 2}
"""Bytes of a weight in a copy."""
_PACKAGES = ("torch", "transformers", "accelerate", "gguf")


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says of itself."""

    architecture: str
    """Such as llama."""
    quantization: str
    """How most weights are stored, such as Q4_1; "" where the file does not say."""
    parameters: int
    splitting: str
    """How its tokenizer splits text before it merges bytes (`spar.models.splitting`); "" for other tokenizers."""


def is_gguf(model: str) -> bool:
    """Whether a model is named by a GGUF file: by its suffix, or by what the file begins with."""
    path = Path(model)
    if path.suffix.lower() == SUFFIX:
        return not path.is_dir()
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        return handle.read(len(_MAGIC)) == _MAGIC


def cached_gguf(path: Path) -> CachedModel | None:
    """The converted copy of a file, None where there is none."""
    return _cached_copy(path, gguf_digest(path)) if path.is_file() else None


def converted_gguf(
    path: Path, note: Callable[[str], None], *, digest: str | None = None
) -> CachedModel:
    """The converted copy of a file, made if there is none.

    Parameters
    ----------
    note:
        Takes a line about the copy.
    digest:
        The SHA-256 of the file, None to compute it.

    Raises
    ------
    MissingExtra
        A package that reads GGUF files is not installed.
    UsageError
        The file cannot be read, or its model is not one that transformers reads.
    """
    _require_file(path)
    digest = digest or gguf_digest(path)
    if cached := _cached_copy(path, digest):
        note(f"{path.name}: using the converted copy in {cached.folder}")
        return cached
    header = read_header(path)
    folder = _folder(digest)
    waiting = f"{path.name}: waiting for another process that converts it"
    with writing_to(f"gguf/{folder.name}", lambda: note(waiting)):
        if cached := _cached_copy(path, digest):
            return cached
        start = time.monotonic()
        dtype = "fp32" if header.parameters < _EXACT_PARAMETERS else "bf16"
        require_space(header.parameters * _BYTES[dtype], f"the copy of {path.name}")
        source = ModelSource(
            kind="file", location=path.name, sha256=digest, quantization=header.quantization
        )
        record = CachedModel(source=source, folder=str(folder), conversion=CONVERSION)
        record, splits_alike = _write_copy(path, record, dtype, header.splitting)
    if not splits_alike:
        note(
            f"{path.name}: its tokenizer splits text as {header.splitting!r}, which transformers does not know; numbers "
            "and white space may become other tokens than the model was trained on"
        )
    seconds = time.monotonic() - start
    quantization = f" ({header.quantization})" * bool(header.quantization)
    note(f"converted {path.name}{quantization} to {dtype} in {folder}, {seconds:.0f} s")
    return record


def read_header(path: Path) -> GgufHeader:
    """What a file says of itself; raises as `converted_gguf`."""
    _require_file(path)
    require_packages(f"the GGUF file {path.name}")
    try:
        with path.open("rb") as handle:
            if handle.read(len(_MAGIC)) != _MAGIC:
                raise _refusal(path, "it is not a GGUF file")
    except OSError as error:
        raise _refusal(path, error.strerror or "it cannot be read") from error
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        architecture = str(_value(reader, "general.architecture", ""))
        parts = int(_value(reader, "split.count", 0))
        quantization = _quantization(_value(reader, "general.file_type", None))
        parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
        merges_bytes = _value(reader, "tokenizer.ggml.model", "") == "gpt2"
        splitting = str(_value(reader, "tokenizer.ggml.pre", "default")) if merges_bytes else ""
    except (ValueError, LookupError, OverflowError, TypeError, AttributeError) as error:
        raise _refusal(path, "it is damaged or was downloaded in part") from error
    if parts > 1:
        raise _refusal(path, f"it is one of {parts} parts; join them with llama-gguf-split --merge")
    _check_architecture(path, architecture)
    return GgufHeader(architecture, quantization, parameters, splitting)


def require_packages(purpose: str) -> None:
    """Raise `MissingExtra` if a package that reads GGUF files is not installed."""
    hardware.require_packages(_PACKAGES, "hf", purpose)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise _refusal(path, "there is no such file")


def _check_architecture(path: Path, architecture: str) -> None:
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    known = {name.replace("_", "").replace("-", "") for name in GGUF_SUPPORTED_ARCHITECTURES}
    if architecture.replace("_", "").replace("-", "") not in known:
        raise _refusal(
            path,
            f"its architecture is {architecture!r}, which transformers does not read from GGUF files",
        )


def _refusal(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"--model {path}: {reason}; pass a whole GGUF file of a chat model, a Hugging Face folder or hub name"
    )


def _value(reader: Any, name: str, default: Any) -> Any:
    """A scalar or text of the file's metadata."""
    field = reader.get_field(name)
    return default if field is None else field.contents()


def _quantization(file_type: Any) -> str:
    from gguf import LlamaFileType

    try:
        return LlamaFileType(int(file_type)).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    except (ValueError, TypeError):
        return ""


def _folder(digest: str) -> Path:
    return models_root() / "gguf" / digest[:16]


def _cached_copy(path: Path, digest: str) -> CachedModel | None:
    """The record of a copy, under the file's present name."""
    record = read_cached(_folder(digest) / RECORD)
    if record is None:
        return None
    source = record.source.model_copy(update={"location": path.name})
    return record.model_copy(update={"source": source})


def _write_copy(
    path: Path, record: CachedModel, dtype: str, splitting: str
) -> tuple[CachedModel, bool]:
    """Write the copy beside its place, and move it there once it is whole.

    Returns
    -------
    tuple
        The record with the files of the copy, and what `_save` returns.
    """
    folder = Path(record.folder)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    try:
        part.mkdir(parents=True)
        # Neither transformers' progress bar nor what DeepSpeed says when it is imported can be turned off.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            splits_alike = _save(path, part, dtype, splitting)
        record = record.model_copy(update={"files": file_sizes(part)})
        write_record(part / RECORD, record)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
        return record, splits_alike
    except load_failures() as error:
        if is_unwritable(error):
            raise
        raise _refusal(path, f"it cannot be converted ({first_line(error)})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _save(path: Path, folder: Path, dtype: str, splitting: str) -> bool:
    """Save a file's model and tokenizer as transformers does; returns whether the tokenizer splits text as in training.

    A model that was loaded from a GGUF file counts as quantised, and is not saved: its weights are moved into a new model.
    """
    import torch

    where: dict[str, Any] = {"gguf_file": path.name, "label": str(path)}
    tokenizer = load_tokenizer_files(str(path.parent), **where)
    splits_alike = not splitting or set_splitting(tokenizer, splitting)
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    loaded = load_model_files(str(path.parent), dtype=dtypes[dtype], **where)
    config, generation = loaded.config, loaded.generation_config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = generation
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # A file of weights is private to its writer, the others are not.
    for weights in folder.glob("*.safetensors"):
        weights.chmod((folder / "config.json").stat().st_mode)
    return splits_alike
