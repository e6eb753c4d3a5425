"""Engines that wrap another engine, and what callers need of a wrapped one: its scorer and statistics."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from spar.errors import EngineError, UsageError
from spar.infer.engine import (
    Completion,
    Continuation,
    Engine,
    Likelihood,
    Request,
    Scorer,
    Stats,
    StructuredEngine,
    TokenCounter,
)
from spar.infer.plugin_results import completed_by, require_engine

T = TypeVar("T")


@dataclass(slots=True)
class EngineWrapper:
    """Passes everything on to another engine. The base class of the wrappers below."""

    engine: Engine
    """The wrapped engine."""

    @property
    def model(self) -> str:
        """That of the wrapped engine."""
        return self.engine.model

    @property
    def capacity(self) -> int:
        """That of the wrapped engine."""
        return self.engine.capacity

    @property
    def description(self) -> str:
        """That of the wrapped engine."""
        return self.engine.description

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Pass on."""
        return await self.engine.generate(requests)

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """Pass on; raises `UsageError` where the wrapped engine cannot score."""
        return await scorer(self.engine).score(continuations)

    async def aclose(self) -> None:
        """Close the wrapped engine."""
        await self.engine.aclose()


def unwrap(engine: Engine) -> Engine:
    """The innermost engine, inside any number of wrappers."""
    while isinstance(engine, EngineWrapper):
        engine = engine.engine
    return engine


def scorer(engine: Engine) -> Scorer:
    """The engine itself, if it and the engine it wraps can score text.

    Raises
    ------
    UsageError
        It cannot.
    """
    if not isinstance(unwrap(engine), Scorer) or not isinstance(engine, Scorer):
        raise UsageError(
            f"{engine.model or 'the model'} ({engine.description}): this engine cannot compute "
            "log-likelihoods; use --engine hf or vllm"
        )
    return engine


def constrains(engine: Engine) -> bool:
    """Whether an engine, wrapped or not, reads `Sampling.structured_outputs`."""
    innermost = unwrap(engine)
    return isinstance(innermost, StructuredEngine) and innermost.structured_outputs


def stats(engine: Engine) -> Stats | None:
    """The statistics of an engine, wrapped or not; None if it reports none."""
    innermost = unwrap(engine)
    return innermost if isinstance(innermost, Stats) else None


@dataclass(slots=True)
class InstrumentedEngine(EngineWrapper):
    """Counts requests, tokens and time."""

    calls: int = 0
    """Completed requests, including scored continuations."""
    completion_tokens: int = 0
    """Tokens generated or scored."""
    in_flight: int = 0
    """Requests that have not completed yet."""
    busy_seconds: float = 0.0
    """Wall-clock time during which at least one request was in flight, up to the last idle moment."""
    aborted: int = 0
    """Cancelled requests."""
    request_seconds: float = 0.0
    """Sum of the latencies of completed requests."""
    stamps: Mapping[str, str] = field(default_factory=dict)
    """The model and its adapters to what changed with their files, when they were loaded."""
    _since: float = 0.0

    @property
    def generated_tokens(self) -> int:
        """Tokens generated or scored so far; those of unfinished replies too where the engine counts them."""
        innermost = unwrap(self.engine)
        counted = innermost.generated_tokens if isinstance(innermost, TokenCounter) else 0
        return max(self.completion_tokens, counted)

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Pass on and count."""
        replies = await self._timed(self.engine.generate(requests), len(requests))
        self.completion_tokens += sum(reply.completion_tokens for reply in replies)
        return replies

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """Pass on and count."""
        scoring = scorer(self.engine).score(continuations)
        likelihoods = await self._timed(scoring, len(continuations))
        self.completion_tokens += sum(likelihood.tokens for likelihood in likelihoods)
        return likelihoods

    async def _timed(self, work: Awaitable[list[T]], num: int) -> list[T]:
        start = time.monotonic()
        if not self.in_flight:
            self._since = start
        self.in_flight += num
        try:
            results = await work
        except asyncio.CancelledError:
            self.aborted += num
            raise
        finally:
            self.in_flight -= num
            if not self.in_flight:
                self.busy_seconds += time.monotonic() - self._since
        if len(results) != num:
            raise EngineError(
                f"the engine of {self.model} returned {len(results)} results for {num} requests"
            )
        self.calls += num
        self.request_seconds += num * (time.monotonic() - start)
        return results

    def counts(self) -> dict[str, float]:
        """Counts for the summary; `prefix_queried` and `prefix_hit` come from the engine's own statistics."""
        counts: dict[str, float] = {
            "calls": self.calls,
            "aborted": self.aborted,
            "busy_seconds": round(self.busy_seconds, 3),
            "request_seconds": round(self.request_seconds, 3),
        }
        engine_stats = stats(self.engine)
        queried, hits = engine_stats.prefix_cache if engine_stats else (0, 0)
        return {**counts, "prefix_queried": queried, "prefix_hit": hits} if queried else counts


def free_requests(engine: Engine, share: float = 1.0) -> float:
    """How many more requests fill a share of the engine's capacity.

    Infinite where nothing limits it; 0 where its requests are not counted (`InstrumentedEngine`). The innermost count
    is taken: it has the requests of every run that shares the engine.
    """
    capacity, inner, free = engine.capacity, engine, 0.0
    if not capacity:
        return math.inf
    while isinstance(inner, EngineWrapper):
        if isinstance(inner, InstrumentedEngine):
            free = share * capacity - inner.in_flight
        inner = inner.engine
    return free


@dataclass(slots=True)
class CheckedEngine(EngineWrapper):
    """The innermost wrapper: refuses replies that the wrapped engine's protocol does not have, since it may be anybody's."""

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Pass on; raises `UsageError` for what are no completions."""
        return await completed_by(self.engine, self.engine.generate(requests))


def checked(opened: object) -> CheckedEngine:
    """An engine whose replies are checked; raises `UsageError` for an object that is none."""
    return opened if isinstance(opened, CheckedEngine) else CheckedEngine(require_engine(opened))


@dataclass(slots=True)
class BorrowedEngine(CheckedEngine):
    """An engine that its owner closes."""

    async def aclose(self) -> None:
        """Leave the inner engine open."""


@dataclass(slots=True)
class AdapterEngine(EngineWrapper):
    """Applies one LoRA adapter to every request."""

    adapter: str

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Set the adapter and pass on."""
        return await self.engine.generate([replace(r, adapter=self.adapter) for r in requests])


@dataclass(frozen=True, slots=True)
class MissingEngine:
    """Placeholder for the engine of a role that the strategy does not use. Every request fails."""

    role: str

    @property
    def model(self) -> str:
        """Empty."""
        return ""

    @property
    def capacity(self) -> int:
        """0."""
        return 0

    @property
    def description(self) -> str:
        """Which role has no engine."""
        return f"no engine for the {self.role}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Raise `EngineError`."""
        raise EngineError(f"the {self.role} was called, but its model is not loaded")

    async def aclose(self) -> None:
        """Do nothing."""
