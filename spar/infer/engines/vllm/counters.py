"""What vLLM's scheduler says about itself: prefix-cache hits, rows a step, accepted speculation.

vLLM hands its statistics to a stat logger once a step. The numbers are its own: of a request with
several samples, each sample counts with its whole prompt.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Counters:
    """Totals since the engine was opened."""

    queried: int = 0
    """Prompt tokens that were looked up in the prefix cache."""
    hit: int = 0
    """Those of them that it held."""
    steps: int = 0
    """Steps that gave at least one token."""
    tokens: int = 0
    """Tokens generated."""
    drafted: int = 0
    """Tokens that speculation proposed."""
    accepted: int = 0
    """Those of them that the model agreed with."""
    cached: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Request id to the cached prompt tokens of its samples, in the order in which they ended."""

    def totals(self) -> tuple[int, int, int]:
        """Steps, tokens that speculation proposed, and those accepted."""
        return self.steps, self.drafted, self.accepted

    def take_cached(self, request_id: str, n: int) -> list[int]:
        """Cached prompt tokens of a request's `n` samples, fewest first, since the sample that comes
        first fills the cache for the others; 0 for what was not recorded."""
        found = self.cached.pop(request_id, [])
        return sorted([0] * (n - len(found)) + found)

    def record(self, scheduler: Any, iteration: Any) -> None:
        """Add one step, as vLLM describes it; either part may be None."""
        if scheduler is not None:
            self.queried += scheduler.prefix_cache_stats.queries
            self.hit += scheduler.prefix_cache_stats.hits
            if speculation := scheduler.spec_decoding_stats:
                self.drafted += speculation.num_draft_tokens
                self.accepted += speculation.num_accepted_tokens
        if iteration is not None and iteration.num_generation_tokens:
            self.steps += 1
            self.tokens += iteration.num_generation_tokens
            for request in iteration.finished_requests:
                self.cached[request.request_id].append(request.num_cached_tokens)


def stat_logger(counters: Counters) -> Any:
    """A class of vLLM stat loggers that add to `counters`."""
    from vllm.v1.metrics.loggers import StatLoggerBase

    class Counting(StatLoggerBase):  # type: ignore[misc]  # vLLM's types are not followed
        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            pass

        def record(self, scheduler_stats: Any, iteration_stats: Any, *_: Any, **__: Any) -> None:
            counters.record(scheduler_stats, iteration_stats)

        def log_engine_initialized(self) -> None:
            pass

    return Counting
