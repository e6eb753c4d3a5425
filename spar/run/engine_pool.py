"""The models that are loaded, shared by every run of a command."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from spar.config import DecodeConfig
from spar.config.groups import EngineGroup, ServerGroup
from spar.infer.engine import Deployment, NoteCallback
from spar.infer.engine_wrappers import InstrumentedEngine
from spar.infer.response_cache import ResponseCache
from spar.run.cached_engine import open_cache
from spar.run.engines import Engines, close_all


@dataclass(slots=True)
class EnginePool:
    """Open engines, reused by several runs one after the other."""

    engines: dict[Deployment, InstrumentedEngine] = field(default_factory=dict)
    opened_with: dict[Deployment, Mapping[str, Any]] = field(default_factory=dict)
    """As `Engines.opened_with`."""
    notes: set[str] = field(default_factory=set)
    """Notes on the choice of engine and models so far; they are the same for most runs."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The settings of engines and servers that the models were opened with, where `suit` was asked."""
    caches: dict[str, ResponseCache] = field(default_factory=dict)
    """Open response caches by their path."""
    opening: threading.Lock = field(default_factory=threading.Lock)
    """Held while a model is loaded."""

    def lend(self, engines: Engines) -> None:
        """Let a run's engines be those of this pool, and its response cache the one that other runs have open."""
        engines.opened, engines.opening = self.engines, self.opening
        engines.opened_with = self.opened_with
        path = engines.config.response_cache
        if path and path not in self.caches:
            self.caches[path] = open_cache(engines.config, self.once(engines.note))
        engines.cache = self.caches.get(path)

    def once(self, note: NoteCallback) -> NoteCallback:
        """`note`, except for lines that were passed to it before."""

        def note_once(line: str) -> None:
            if line not in self.notes:
                self.notes.add(line)
                note(line)

        return note_once

    async def make_room(self, needed: Collection[Deployment], note: NoteCallback) -> None:
        """Free the models in this process that are not needed, if another one has to be loaded."""
        local = [deployment for deployment in needed if not deployment.urls]
        if all(any(opened.serves(deployment) for opened in self.engines) for deployment in local):
            return
        idle = [
            opened
            for opened in self.engines
            if not opened.urls and not any(opened.serves(deployment) for deployment in local)
        ]
        await close_all({deployment: self.engines.pop(deployment) for deployment in idle}, note)

    async def suit(self, config: DecodeConfig, note: NoteCallback) -> None:
        """Free all models if those settings would open them in another way, such as in another number format."""
        fields = {*EngineGroup.model_fields, *ServerGroup.model_fields}
        settings = config.model_dump(include=fields) | {"seeded": config.seed is not None}
        if settings != self.settings:
            await self.aclose(note)
        self.settings = settings

    async def aclose(self, note: NoteCallback) -> None:
        """Free all models, and close the response caches."""
        for cache in self.caches.values():
            cache.close()
        self.caches.clear()
        await close_all(self.engines, note)
