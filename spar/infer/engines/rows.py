"""Rows of the hf engine's batch: the replies that are being generated, and how many of them fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spar.infer.batcher import PendingRequest
from spar.infer.engine import TokenLogprobs
from spar.infer.engines.grammar import Matcher
from spar.infer.engines.growing import GrowingReply

_PREFILL_TOKENS = 16_384


@dataclass(slots=True, eq=False)
class Row:
    """One reply that is being generated."""

    pending: PendingRequest
    num_prompt: int
    """Tokens in its prompt."""
    limit: int
    """Tokens it may generate at most: `max_tokens`, or what is left of the context."""
    uniforms: np.ndarray[Any, np.dtype[np.float64]]
    """One random number in [0, 1) per token."""
    stop_ids: frozenset[int]
    """Tokens that end it."""
    thinking: bool = False
    """Whether the prompt has opened a thinking block."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finished: bool = False
    num_cached: int = 0
    """Prompt tokens that were prefilled for another row."""
    growing: GrowingReply | None = None
    """What is shown of it before it is finished; None without a callback."""
    matcher: Matcher | None = None
    """What it may go on with; None for anything."""


def num_within(
    budget: int, active: Sequence[Row], queued: Sequence[Row], width: int, num_rows: int
) -> int:
    """How many of the first queued rows fit into `budget` positions beside the active ones; one at least in all.

    Parameters
    ----------
    width:
        Positions that each active row holds.
    num_rows:
        Rows that the cache holds, finished ones included.
    """
    # Rows are aligned to the longest and grow together, so width + remaining is the final width.
    remaining = max((row.limit - len(row.tokens) for row in active), default=0)
    for i, row in enumerate(queued):
        width, remaining = max(width, row.num_prompt), max(remaining, row.limit)
        total = max(num_rows, len(active) + i + 1)
        if total > 1 and total * (width + remaining) > budget:
            return i
    return len(queued)


def prefill_groups(
    rows: list[tuple[tuple[int, ...], Row]],
) -> list[list[tuple[tuple[int, ...], Row]]]:
    """The rows to prefill in one pass each, of rows in the order of their prompts' length."""
    # The longest comes first, so the padded size of a group is its count times the length of its first prompt.
    groups: list[list[tuple[tuple[int, ...], Row]]] = []
    for pair in rows:
        if groups and (len(groups[-1]) + 1) * len(groups[-1][0][0]) <= _PREFILL_TOKENS:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return groups
