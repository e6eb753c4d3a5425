"""Engines around engines: one that counts what passes, one that names a LoRA adapter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from spar.errors import EngineError
from spar.infer.engine import Completion, Engine, Request


@dataclass(slots=True)
class Around:
    """An engine around another that passes everything on; extended by those that do more."""

    engine: Engine

    @property
    def model(self) -> str:
        """The inner engine's."""
        return self.engine.model

    @property
    def capacity(self) -> int:
        """The inner engine's."""
        return self.engine.capacity

    @property
    def description(self) -> str:
        """The inner engine's."""
        return self.engine.description

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Pass on."""
        return await self.engine.generate(requests)

    async def aclose(self) -> None:
        """Close the inner engine."""
        await self.engine.aclose()


@dataclass(slots=True)
class Meter(Around):
    """Counts what passes through."""

    calls: int = 0
    """Requests answered."""
    completion_tokens: int = 0
    in_flight: int = 0
    """Requests that wait for an answer."""
    busy_seconds: float = 0.0
    """Wall-clock time during which at least one request was in flight, up to the last idle moment."""
    aborted: int = 0
    """Requests whose caller went away."""
    request_seconds: float = 0.0
    """Time that answered requests took, each counted alone."""
    _since: float = 0.0

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Pass on, and count."""
        start = time.monotonic()
        if not self.in_flight:
            self._since = start
        self.in_flight += len(requests)
        try:
            replies = await self.engine.generate(requests)
        except asyncio.CancelledError:
            self.aborted += len(requests)
            raise
        finally:
            self.in_flight -= len(requests)
            if not self.in_flight:
                self.busy_seconds += time.monotonic() - self._since
        self.calls += len(replies)
        self.request_seconds += len(replies) * (time.monotonic() - start)
        self.completion_tokens += sum(reply.completion_tokens for reply in replies)
        return replies

    def facts(self) -> dict[str, float]:
        """Its counts, for the summary; `prefix_queried` and `prefix_hit` are the engine's own."""
        facts: dict[str, float] = {
            "calls": self.calls,
            "aborted": self.aborted,
            "busy_seconds": round(self.busy_seconds, 3),
            "request_seconds": round(self.request_seconds, 3),
        }
        queried, hit = getattr(self.engine, "prefix_cache", (0, 0))
        return {**facts, "prefix_queried": queried, "prefix_hit": hit} if queried else facts


@dataclass(slots=True)
class Adapted(Around):
    """Names one LoRA adapter in every request."""

    adapter: str

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Name the adapter and pass on."""
        return await self.engine.generate([replace(r, adapter=self.adapter) for r in requests])


@dataclass(frozen=True, slots=True)
class Unopened:
    """Stands where a role has no engine, since nothing is asked of it."""

    role: str

    @property
    def model(self) -> str:
        """None."""
        return ""

    @property
    def capacity(self) -> int:
        """None."""
        return 0

    @property
    def description(self) -> str:
        """What it is not."""
        return f"no engine for the {self.role}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Refuse."""
        raise EngineError(f"the {self.role} was asked, but its model is not loaded")

    async def aclose(self) -> None:
        """There is nothing to close."""
