"""Engines around engines: one that counts what passes, one that names a LoRA adapter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from spar.errors import EngineError
from spar.infer.engine import Completion, Continuation, Engine, Likelihood, Request, scorer

T = TypeVar("T")


@dataclass(slots=True)
class EngineWrapper:
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

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """Pass on; `UsageError` where the inner engine cannot."""
        return await scorer(self.engine).score(continuations)

    async def aclose(self) -> None:
        """Close the inner engine."""
        await self.engine.aclose()


@dataclass(slots=True)
class InstrumentedEngine(EngineWrapper):
    """Counts what passes through."""

    calls: int = 0
    """Requests answered, scored texts among them."""
    completion_tokens: int = 0
    """Tokens generated or scored."""
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
        replies = await self._timed(self.engine.generate(requests), len(requests))
        self.completion_tokens += sum(reply.completion_tokens for reply in replies)
        return replies

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """Pass on, and count."""
        scoring = scorer(self.engine).score(continuations)
        found = await self._timed(scoring, len(continuations))
        self.completion_tokens += sum(likelihood.tokens for likelihood in found)
        return found

    async def _timed(self, work: Awaitable[list[T]], num: int) -> list[T]:
        start = time.monotonic()
        if not self.in_flight:
            self._since = start
        self.in_flight += num
        try:
            answers = await work
        except asyncio.CancelledError:
            self.aborted += num
            raise
        finally:
            self.in_flight -= num
            if not self.in_flight:
                self.busy_seconds += time.monotonic() - self._since
        self.calls += len(answers)
        self.request_seconds += len(answers) * (time.monotonic() - start)
        return answers

    def counts(self) -> dict[str, float]:
        """Its counts, for the summary; `prefix_queried` and `prefix_hit` are the engine's own."""
        counts: dict[str, float] = {
            "calls": self.calls,
            "aborted": self.aborted,
            "busy_seconds": round(self.busy_seconds, 3),
            "request_seconds": round(self.request_seconds, 3),
        }
        queried, hit = getattr(self.engine, "prefix_cache", (0, 0))
        return {**counts, "prefix_queried": queried, "prefix_hit": hit} if queried else counts


@dataclass(slots=True)
class AdapterEngine(EngineWrapper):
    """Names one LoRA adapter in every request."""

    adapter: str

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Name the adapter and pass on."""
        return await self.engine.generate([replace(r, adapter=self.adapter) for r in requests])


@dataclass(frozen=True, slots=True)
class MissingEngine:
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
