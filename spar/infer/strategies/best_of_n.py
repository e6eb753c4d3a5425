"""Best-of-N: as many drafts as the budget allows, in one wave; the best one answers."""

from __future__ import annotations

from spar.infer.strategy import UNLIMITED, Expand, Plan, SearchConfig, StrategySpec
from spar.types import Node


def best_of_n(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Sample N independent drafts, where N is the budget."""
    yield [Expand(None, UNLIMITED)]


SPEC = StrategySpec(best_of_n, roles=frozenset({"actor", "judge"}))
