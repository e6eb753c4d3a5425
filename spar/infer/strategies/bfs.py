"""Breadth-first search over refinements, level by level (paper, section 2.2)."""

from __future__ import annotations

from spar.infer.strategy import Expand, Plan, SearchConfig, drafted
from spar.types import Node, best


def bfs(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Refine every kept node of a level `branch` times; keep the best `keep`; go down `depth` levels."""
    frontier = yield from drafted(roots)
    for _ in range(config.depth):
        children = yield [Expand(node.id, config.branch) for node in frontier]
        frontier = best(children, config.keep)
        if not frontier:
            return
