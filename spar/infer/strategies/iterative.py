"""Iterative refinement: a chain, each refinement made from the one before."""

from __future__ import annotations

from spar.infer.strategy import DRAFT_ATTEMPTS, Expand, Plan, SearchConfig, StrategySpec, drafted
from spar.types import Node


def iterative(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Refine the newest response until one passes or the budget binds."""
    newest = (yield from drafted(roots))[:1]
    while newest:
        newest = (yield [Expand(newest[0].id, 1)]) or newest


SPEC = StrategySpec(iterative, max_drafts=DRAFT_ATTEMPTS)
