"""The response cache of a run's engines: which models and settings may share replies."""

from __future__ import annotations

import json
from pathlib import Path

from spar.config import FREE, DecodeConfig
from spar.config.groups import EngineGroup, ServerGroup
from spar.files import file_stamp
from spar.infer.engine import Deployment, Engine
from spar.infer.response_cache import CachedEngine, ResponseCache, digest_of
from spar.manifest import config_digest
from spar.models.folders import local_model


def cached_engine(
    engine: Engine, deployment: Deployment, config: DecodeConfig, cache: ResponseCache
) -> CachedEngine:
    """The engine of a deployment, which answers from a cache what an engine of the same model and settings has stored."""
    return CachedEngine(engine, cache, namespace(deployment, config), model_stamp)


def namespace(deployment: Deployment, config: DecodeConfig) -> str:
    """A digest of what decides replies besides the requests: the model's files or its servers, the engine, its settings."""
    names = {*EngineGroup.model_fields, *ServerGroup.model_fields} - {"adapter"}
    parts = [
        *(deployment.engine, deployment.model),
        "" if deployment.urls else model_stamp(deployment.model),
        [*sorted(deployment.urls)],
        config_digest(config.model_dump(mode="json", include=names), free=FREE),
    ]
    return digest_of(json.dumps(parts))


def model_stamp(model: str) -> str:
    """A digest of the names, sizes and times of a model's files; "" for a hub name, or a model that only a server has."""
    place = Path(local_model(model, offline=True))
    files = (
        sorted(each for each in place.iterdir() if each.is_file()) if place.is_dir() else [place]
    )
    stamps = [(each.name, stamp) for each in files if (stamp := file_stamp(each)) is not None]
    return digest_of(json.dumps(stamps)) if stamps else ""
