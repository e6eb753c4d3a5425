"""A replica, the worker's side of the `ray` engine: an engine inside a Ray actor.

Knows nothing of Ray. What it cannot do it says in a `Refusal`, since an exception that crosses
processes arrives wrapped, or not at all where its constructor takes several arguments.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT
from spar.errors import EngineError, PromptRefused, PromptTooLong, SparError, UsageError
from spar.infer.engine import Completion, Deployment, Engine, Request
from spar.infer.engine_wrappers import stats
from spar.plugins import ENGINES

_KINDS = (PromptTooLong, PromptRefused, EngineError, UsageError, SparError)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replica opens."""

    opener: str
    """Name of the engine that the replica runs, as in `spar.plugins.ENGINES`."""
    deployment: Deployment
    config: DecodeConfig
    embedded: bool = False
    """Whether the model is the embedded one, whose folder each machine has in a place of its own."""
    threads: int = 0
    """CPU threads to compute with; 0 leaves it to the packages."""


@dataclass(frozen=True, slots=True)
class State:
    """How a replica's engine stands."""

    capacity: int = 0
    description: str = ""
    mean_batch: float = 0.0
    prefix_cache: tuple[int, int] = (0, 0)
    """Prompt tokens looked up in its prefix cache so far, and those found there."""
    notes: tuple[str, ...] = ()
    """What the engine told since the last time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Completions, and how things stand after them."""

    completions: tuple[Completion, ...]
    state: State


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of spar's, as data."""

    kind: str
    message: str

    @classmethod
    def of(cls, error: SparError) -> Refusal:
        """The error's nearest kind that a message alone can build again."""
        kind = next(kind for kind in _KINDS if isinstance(error, kind))
        return cls(kind.__name__, str(error))

    def error(self) -> SparError:
        """The error again."""
        kinds: dict[str, type[SparError]] = {kind.__name__: kind for kind in _KINDS}
        return kinds[self.kind](self.message)


class Replica:
    """Opens an engine and answers for it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._engine: Engine | None = None
        self._notes: list[str] = []

    async def place(self) -> str:
        """Name of the machine it runs on."""
        return socket.gethostname()

    async def open(self) -> State | Refusal:
        """Load the model."""
        plan = self._plan
        if plan.threads:
            os.environ["OMP_NUM_THREADS"] = str(plan.threads)  # read when torch is first imported
        model = str(CHECKPOINT) if plan.embedded else plan.deployment.model
        try:
            opener = ENGINES.spec(plan.opener).open
            deployment = replace(plan.deployment, model=model)
            self._engine = opener(deployment, plan.config, self._notes.append)
        except SparError as error:
            return Refusal.of(error)
        return self._state(self._engine)

    async def generate(self, requests: Sequence[Request]) -> Answer | Refusal:
        """One completion a request, in order."""
        assert self._engine is not None
        try:
            completions = await self._engine.generate(requests)
        except SparError as error:
            return Refusal.of(error)
        return Answer(tuple(completions), self._state(self._engine))

    async def stay(self) -> None:
        """Never return: whoever waits for this learns of the replica's death."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Free the model."""
        if self._engine is not None:
            await self._engine.aclose()

    def _state(self, engine: Engine) -> State:
        notes, self._notes[:] = tuple(self._notes), []
        engine_stats = stats(engine)
        return State(
            capacity=engine.capacity,
            description=engine.description,
            mean_batch=engine_stats.mean_batch if engine_stats else 0.0,
            prefix_cache=engine_stats.prefix_cache if engine_stats else (0, 0),
            notes=notes,
        )
