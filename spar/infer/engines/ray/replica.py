"""A replica of the `ray` engine, on the worker's side: an engine inside a Ray actor.

Knows nothing of Ray. Errors are returned as `RemoteError`s, since an exception that crosses processes
arrives wrapped, or not at all if its constructor takes several arguments.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT
from spar.errors import EngineError, PromptRefused, PromptTooLong, SparError, UsageError
from spar.infer.engine import (
    Completion,
    Continuation,
    Deployment,
    Engine,
    Likelihood,
    Request,
)
from spar.infer.engine_wrappers import constrains, scorer, stats
from spar.plugins import ENGINES

_ERROR_TYPES = (PromptTooLong, PromptRefused, EngineError, UsageError, SparError)


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """What a replica opens."""

    engine: str
    """Name of the engine that the replica runs, as in `spar.plugins.ENGINES`."""
    deployment: Deployment
    config: DecodeConfig
    embedded: bool = False
    """Whether the model is the embedded one, whose folder differs between machines."""
    num_threads: int = 0
    """CPU threads to compute with; 0 for the default of the packages."""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """The state of a replica's engine."""

    capacity: int = 0
    description: str = ""
    mean_batch: float = 0.0
    prefix_cache: tuple[int, int] = (0, 0)
    """Prompt tokens looked up in its prefix cache so far, and hits."""
    structured_outputs: bool = False
    """Whether it reads `Sampling.structured_outputs`."""
    notes: tuple[str, ...] = ()
    """The engine's notes since the last state."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReplicaResponse(Generic[T]):
    """Completions or likelihoods, and the state after them."""

    results: tuple[T, ...]
    state: ReplicaState


@dataclass(frozen=True, slots=True)
class RemoteError:
    """A `SparError` as data."""

    kind: str
    message: str

    @classmethod
    def from_error(cls, error: SparError) -> RemoteError:
        """The error, as its nearest type that can be constructed from a message alone."""
        kind = next(kind for kind in _ERROR_TYPES if isinstance(error, kind))
        return cls(kind.__name__, str(error))

    def to_error(self) -> SparError:
        """The error again."""
        types: dict[str, type[SparError]] = {kind.__name__: kind for kind in _ERROR_TYPES}
        return types[self.kind](self.message)


class Replica:
    """Opens an engine and serves its requests."""

    def __init__(self, spec: ReplicaSpec) -> None:
        self._spec = spec
        self._engine: Engine | None = None
        self._notes: list[str] = []

    async def hostname(self) -> str:
        """Name of the machine it runs on."""
        return socket.gethostname()

    async def open(self) -> ReplicaState | RemoteError:
        """Load the model."""
        spec = self._spec
        if spec.num_threads:
            os.environ["OMP_NUM_THREADS"] = str(spec.num_threads)  # read when torch is imported
        model = str(CHECKPOINT) if spec.embedded else spec.deployment.model
        try:
            open_engine = ENGINES.spec(spec.engine).open
            deployment = replace(spec.deployment, model=model)
            self._engine = open_engine(deployment, spec.config, self._notes.append)
        except SparError as error:
            return RemoteError.from_error(error)
        return self._state(self._engine)

    async def generate(
        self, requests: Sequence[Request]
    ) -> ReplicaResponse[Completion] | RemoteError:
        """One completion per request, in order."""
        return await self._respond(lambda engine: engine.generate(requests))

    async def score(
        self, continuations: Sequence[Continuation]
    ) -> ReplicaResponse[Likelihood] | RemoteError:
        """One likelihood per continuation, in order."""
        return await self._respond(lambda engine: scorer(engine).score(continuations))

    async def _respond(
        self, work: Callable[[Engine], Awaitable[list[T]]]
    ) -> ReplicaResponse[T] | RemoteError:
        assert self._engine is not None
        try:
            results = await work(self._engine)
        except SparError as error:
            return RemoteError.from_error(error)
        return ReplicaResponse(tuple(results), self._state(self._engine))

    async def wait_forever(self) -> None:
        """Never return: a caller that awaits this is notified of the replica's death."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Free the model."""
        if self._engine is not None:
            await self._engine.aclose()

    def _state(self, engine: Engine) -> ReplicaState:
        notes, self._notes[:] = tuple(self._notes), []
        engine_stats = stats(engine)
        return ReplicaState(
            capacity=engine.capacity,
            description=engine.description,
            mean_batch=engine_stats.mean_batch if engine_stats else 0.0,
            prefix_cache=engine_stats.prefix_cache if engine_stats else (0, 0),
            structured_outputs=constrains(engine),
            notes=notes,
        )
