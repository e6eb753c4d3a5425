"""The engines of a run: one for each model and its servers, opened when first needed, answering from a response cache."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

from spar.config import DecodeConfig
from spar.config.groups import EngineGroup, ServerGroup
from spar.errors import EngineError, UsageError
from spar.infer.decode import DEFAULT_ROOM
from spar.infer.engine import Deployment, Engine, NoteCallback
from spar.infer.engine_wrappers import (
    AdapterEngine,
    InstrumentedEngine,
    MissingEngine,
    checked,
    stats,
)
from spar.infer.response_cache import FROM_CACHE, CachedEngine, ResponseCache
from spar.plugins import ENGINES
from spar.run.cached_engine import cached_engine, model_stamps, open_cache, stamps_once_opened
from spar.run.resolve import deployments, engine_label, pick_engine
from spar.run.sampling import chat_template_args
from spar.types import ROLES, Role

TREES_PER_SLOT = 3
"""Trees in flight for each request that an engine can work on at once. Two leave an engine of 256
slots idle for 4 % of a run of 541 prompts, three for none (reports/schedule_ratio.md)."""


_OF_DEPLOYMENTS = {"engine", "adapter", "base_url", "actor_url", "judge_url", "refiner_url"}
_KEPT = {*EngineGroup.model_fields, *ServerGroup.model_fields} - _OF_DEPLOYMENTS - {"extra_body"}
"""Settings that an engine keeps once it is open, and that do not tell one deployment from another."""


@dataclass(slots=True)
class Engines:
    """The engines of a run, opened when they are first needed."""

    config: DecodeConfig
    note: NoteCallback = lambda _: None
    shares: Mapping[str, float] = field(default_factory=dict)
    """Model to the share of the memory that it may take, where it may not have all."""
    roles: Collection[Role] = ROLES
    """Roles that have an engine; the others must not be called."""
    opened: dict[Deployment, InstrumentedEngine] = field(default_factory=dict)
    """May be shared by several of these, whose runs then share loaded models."""
    opened_with: dict[Deployment, Mapping[str, Any]] = field(default_factory=dict)
    """The settings that each has kept since it was opened; shared with what is open."""
    ready: float = 0.0
    """When the last of them was loaded, by the monotonic clock; 0 before that."""
    closed: bool = False
    wrap: Callable[[Engine], Engine] = lambda engine: engine
    """Put around the engine that a role gets."""
    opening: threading.Lock = field(default_factory=threading.Lock)
    """Held while a model is loaded, so that runs side by side load it once."""
    cache: ResponseCache | None = None
    """The response cache of the settings, which its owner closes; None opens one where the settings have it."""
    counted: dict[Deployment, InstrumentedEngine] = field(default_factory=dict)
    """Counts what this run alone asks of each that is open."""
    cached: dict[Deployment, CachedEngine] = field(default_factory=dict)
    """What answers in place of an engine, with a response cache."""
    _own_cache: ResponseCache | None = None
    _needed: dict[Role, Deployment] | None = None

    def get(self, role: Role) -> Engine:
        """The engine of a role."""
        if role not in self.roles:
            return MissingEngine(role)
        needed = self.needed[role]
        with self.opening:
            opened = self._serving(needed)
            loaded = self._open(needed) if opened is None else self.opened[opened]
        counted = self._counted(opened or needed, loaded)
        engine = self._cached(opened or needed, counted) if self.config.response_cache else counted
        adapter = self.config.adapter.get(role, "")
        return self.wrap(AdapterEngine(engine, adapter) if adapter else engine)

    @property
    def opening_note(self) -> str:
        """What is said while they are opened."""
        remote = all(deployment.urls for deployment in self.needed.values())
        return "connecting to the server ..." if self.needed and remote else "loading the model ..."

    def check_kept(self) -> None:
        """Raise `UsageError` where one is open with other settings than these, such as another number format or key."""
        current = _kept(self.config)
        for deployment in self.engines:
            before = self.opened_with.get(deployment, current)
            changed = sorted(name for name in current if current[name] != before[name])
            if changed:
                raise UsageError(
                    f"{', '.join(changed)}: {engine_label(deployment)} is open with another value, which it keeps; open another "
                    "session for this one"
                )

    async def aclose(self) -> None:
        """Close them all, also where one fails at it."""
        self.finish()
        await close_all(self.opened, self.note)

    def finish(self) -> None:
        """Close the response cache, and open no further engine: one that another thread is still loading is closed there."""
        self.closed = True
        if self._own_cache is not None:
            self._own_cache.close()

    @property
    def needed(self) -> dict[Role, Deployment]:
        """Role to what must be open for it."""
        if self._needed is None:
            served = deployments(self.config)
            arguments = {role: chat_template_args(self.config, role) for role in self.roles}
            self._needed = {
                role: replace(
                    served[role],
                    share=self.shares.get(served[role].model, 1.0),
                    chat_template_args=tuple(
                        arguments[other] for other in self.roles if served[other] == served[role]
                    ),
                )
                for role in self.roles
            }
        return self._needed

    @property
    def engines(self) -> dict[Deployment, InstrumentedEngine]:
        """What is open for these roles."""
        serving = (self._serving(needed) for needed in self.needed.values())
        return {deployment: self.opened[deployment] for deployment in serving if deployment}

    def _serving(self, needed: Deployment) -> Deployment | None:
        return next((opened for opened in tuple(self.opened) if opened.serves(needed)), None)

    def _open(self, needed: Deployment) -> InstrumentedEngine:
        name = pick_engine(self.config)[0] if needed.engine == "auto" else needed.engine
        spec = ENGINES.spec(name)
        stamps = model_stamps(needed) if spec.loads_models else {}
        opened = checked(spec.open(needed, self.config, self.note))
        if spec.loads_models:
            stamps = stamps_once_opened(needed, stamps)
        engine = self.opened[needed] = InstrumentedEngine(opened, stamps=stamps)
        self.opened_with[needed] = _kept(self.config)
        if self.closed:  # the run was cancelled while this model was loading, in another thread
            self.opened.pop(needed, None)
            asyncio.run(engine.aclose())
            raise EngineError("the engines are closed")
        return engine

    def _counted(self, deployment: Deployment, loaded: InstrumentedEngine) -> InstrumentedEngine:
        if deployment not in self.counted:
            self.counted[deployment] = InstrumentedEngine(loaded, stamps=loaded.stamps)
        return self.counted[deployment]

    def _cached(self, deployment: Deployment, engine: InstrumentedEngine) -> CachedEngine:
        if self.cache is None:
            self.cache = self._own_cache = open_cache(self.config, self.note)
        if deployment not in self.cached:
            self.cached[deployment] = cached_engine(engine, deployment, self.config, self.cache)
        return self.cached[deployment]

    @property
    def generated_tokens(self) -> int:
        """Tokens generated so far, as far as the engines count them before a reply has ended."""
        return sum(engine.generated_tokens for engine in self.engines.values())

    def room(self) -> int:
        """Trees to have in flight: the configured number, or enough to keep every engine busy."""
        if self.config.concurrency:
            return self.config.concurrency
        capacities = [engine.capacity for engine in self.engines.values()]
        busy = capacities and all(capacities)  # without an engine, or without a limit, the default
        return TREES_PER_SLOT * sum(capacities) if busy else DEFAULT_ROOM

    def describe(self) -> list[str]:
        """One line an engine: what it holds and how full its batches were."""
        lines = []
        for deployment, engine in self.engines.items():
            engine_stats = stats(engine)
            batch = engine_stats.mean_batch if engine_stats else 0.0
            rows = f", mean batch {batch:.1f} rows" if batch else ""
            lines.append(f"{engine_label(deployment)}: {engine.description}{rows}")
        lines += [
            f"{engine_label(deployment)}: {cached.hits:,} of {cached.requests:,} replies are from {self.config.response_cache}"
            for deployment, cached in self.cached.items()
        ]
        return lines

    def counts(self) -> dict[str, dict[str, float]]:
        """Engine to the counts of this run; those of a prefix cache are of all runs that share the engine."""
        counts = {
            engine_label(deployment): self._counted(deployment, loaded).counts()
            for deployment, loaded in self.engines.items()
        }
        for deployment, cached in self.cached.items():
            counts[engine_label(deployment)][FROM_CACHE] = cached.hits
        return counts


def _kept(config: DecodeConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in sorted(_KEPT)}


async def close_all(
    opened: MutableMapping[Deployment, InstrumentedEngine], note: NoteCallback
) -> None:
    """Close every engine and take it out, also where one fails at it."""
    engines = [opened.pop(deployment) for deployment in tuple(opened)]
    closing = [engine.aclose() for engine in engines]
    for result in await asyncio.gather(*closing, return_exceptions=True):
        if isinstance(result, Exception):
            note(f"an engine did not close: {result}")
