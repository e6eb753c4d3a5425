"""Greedy: one draft, one node, one call; nothing is judged."""

from __future__ import annotations

from spar.infer.strategy import Expand, Plan, SearchConfig, StrategySpec
from spar.types import Node


def greedy(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Answer with the first draft."""
    if not roots:
        yield [Expand(None, 1, judged=False)]


SPEC = StrategySpec(greedy, roles=frozenset({"actor"}), max_drafts=1, max_responses=lambda _: 1)
