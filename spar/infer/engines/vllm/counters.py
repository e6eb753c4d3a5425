"""Statistics of vLLM's scheduler: prefix-cache hits, tokens per step, accepted speculative tokens.

vLLM passes its statistics to a stat logger once per step. In a request for several samples, each sample
counts with its whole prompt.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

_MAX_TURNS = 64
"""Turns of the event loop after which a step's statistics are no longer waited for."""


@dataclass(slots=True)
class Counters:
    """Totals since the engine was opened."""

    queried: int = 0
    """Prompt tokens looked up in the prefix cache."""
    hits: int = 0
    """Those that were in it."""
    steps: int = 0
    """Steps that generated at least one token."""
    tokens: int = 0
    """Tokens generated."""
    drafted: int = 0
    """Tokens proposed by speculative decoding."""
    accepted: int = 0
    """Those that the model accepted."""
    cached: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Request id to the cached prompt tokens of its samples, in order of completion."""

    def totals(self) -> tuple[int, int, int]:
        """Steps, tokens proposed by speculative decoding, and tokens accepted."""
        return self.steps, self.drafted, self.accepted

    async def await_cached(self, request_id: str, n: int) -> None:
        """Wait until a finished request's samples are recorded.

        vLLM hands out a large step's outputs in chunks (`VLLM_V1_OUTPUT_PROC_CHUNK_SIZE`, 128) with a turn of the event
        loop between two, and records the step after the last.
        """
        for _ in range(_MAX_TURNS):
            if len(self.cached.get(request_id, ())) >= n:
                return
            await asyncio.sleep(0)

    def take_cached(self, request_id: str, n: int) -> list[int]:
        """Remove and return the cached prompt tokens of a request's `n` samples; 0 if not recorded.

        Fewest first, since the first sample fills the cache for the others.
        """
        cached = self.cached.pop(request_id, [])
        return sorted([0] * (n - len(cached)) + cached)

    def record(self, scheduler: Any, iteration: Any) -> None:
        """Add the statistics of one step; either part may be None."""
        if scheduler is not None:
            self.queried += scheduler.prefix_cache_stats.queries
            self.hits += scheduler.prefix_cache_stats.hits
            if speculation := scheduler.spec_decoding_stats:
                self.drafted += speculation.num_draft_tokens
                self.accepted += speculation.num_accepted_tokens
        if iteration is not None and iteration.num_generation_tokens:
            self.steps += 1
            self.tokens += iteration.num_generation_tokens
            for request in iteration.finished_requests:
                self.cached[request.request_id].append(request.num_cached_tokens)


def stat_logger(counters: Counters) -> Any:
    """A vLLM stat logger class whose instances add to `counters`."""
    from vllm.v1.metrics.loggers import StatLoggerBase

    class CountingLogger(StatLoggerBase):  # type: ignore[misc]  # vLLM's types are not followed
        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            pass

        def record(self, scheduler_stats: Any, iteration_stats: Any, *_: Any, **__: Any) -> None:
            counters.record(scheduler_stats, iteration_stats)

        def log_engine_initialized(self) -> None:
            pass

    return CountingLogger
