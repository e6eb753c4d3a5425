"""The response cache of a run's engines: where it is, and which models and settings may share replies."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from spar.config import FREE, DecodeConfig
from spar.config.groups import EngineGroup, ServerGroup
from spar.files import expand_home, file_stamp
from spar.hardware import has_gpu
from spar.infer.engine import Deployment, NoteCallback
from spar.infer.engine_wrappers import InstrumentedEngine
from spar.infer.response_cache import CachedEngine, ResponseCache, check_file, digest_of
from spar.manifest import config_digest
from spar.models.folders import local_files
from spar.plugins import ENGINES


def check_cache(config: DecodeConfig) -> None:
    """Raise `UsageError` where the settings name a response cache that cannot be one."""
    if config.response_cache:
        check_file(_path(config))


def open_cache(config: DecodeConfig, note: NoteCallback) -> ResponseCache:
    """The response cache that the settings name."""
    return ResponseCache(_path(config), note)


def cached_engine(
    engine: InstrumentedEngine, deployment: Deployment, config: DecodeConfig, cache: ResponseCache
) -> CachedEngine:
    """The engine of a deployment, which answers from a cache what an engine of the same model and settings has stored."""
    return CachedEngine(engine, cache, namespace(deployment, config, engine.stamps), engine.stamps)


def namespace(deployment: Deployment, config: DecodeConfig, stamps: Mapping[str, str] = {}) -> str:
    """A digest of what decides replies besides the requests: the model's files or its servers, the engine, its settings.

    Parameters
    ----------
    stamps:
        Of the model's files when it was loaded (`model_stamps`).
    """
    names = {*EngineGroup.model_fields, *ServerGroup.model_fields} - {"adapter"}
    on_cpu = config.device == "cpu" or (config.device == "auto" and not has_gpu())
    where = "cpu" if on_cpu else "gpu"  # another number format, or another rounding
    parts = [
        *(deployment.engine, ENGINES.parameters(deployment.engine), _module(deployment.engine)),
        *(deployment.model, stamps.get(deployment.model, "")),
        *([*sorted(deployment.urls)], "" if deployment.urls else where),
        config.header,
        config_digest(config.model_dump(mode="json", include=names), free=FREE),
    ]
    return digest_of(json.dumps(parts, sort_keys=True, default=repr))


def model_stamps(deployment: Deployment) -> dict[str, str]:
    """The model and the adapters of a deployment to what changes with their files; none for what only a server has."""
    if deployment.urls:
        return {}
    return {name: _stamp(local_files(name)) for name in (deployment.model, *deployment.adapters)}


def stamps_once_opened(deployment: Deployment, before: Mapping[str, str]) -> dict[str, str]:
    """The stamps of what an engine has opened: a hub's model was downloaded meanwhile, or replaced by a later revision.

    A folder of one's own was read as it was before: what has changed since is not what was loaded.
    """
    after = model_stamps(deployment)
    return {name: before[name] if Path(name).exists() else after[name] for name in after}


def _stamp(place: Path | None) -> str:
    """A digest of the names, sizes and times of a model's files; "" where they are not on this machine."""
    if place is None:
        return ""
    files = sorted(each for each in place.iterdir() if each.is_file())
    stamps = [(each.name, stamp) for each in files if (stamp := file_stamp(each)) is not None]
    return digest_of(json.dumps(stamps))


def _module(engine: str) -> tuple[int, int, int] | None:
    """What changes with the code of an engine of one's own."""
    module = sys.modules.get(engine.partition(":")[0]) if ":" in engine else None
    file = getattr(module, "__file__", None)
    return file_stamp(Path(file)) if file else None


def _path(config: DecodeConfig) -> Path:
    path = expand_home(Path(config.response_cache), "give another --response-cache")
    return path.absolute()
