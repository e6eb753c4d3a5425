"""Breadth-first search over refinements, level by level (paper, section 2.2)."""

from __future__ import annotations

from spar.infer.rank import ranked
from spar.infer.strategy import DRAFT_ATTEMPTS, Expand, Plan, SearchConfig, StrategySpec, drafted
from spar.types import Node


def bfs(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Refine each node of the beam `branching` times, keep the best `beam_width`, down to `depth` levels."""
    frontier = yield from drafted(roots)
    for _ in range(config.depth):
        children = yield [Expand(node.id, config.branching) for node in frontier]
        frontier = tuple(ranked(children)[: config.beam_width])
        if not frontier:
            return


def max_responses(config: SearchConfig) -> int:
    """The draft, and every level at full width."""
    level, total = 1, 1
    for _ in range(config.depth):
        children = level * config.branching
        level, total = min(config.beam_width, children), total + children
    return total


SPEC = StrategySpec(bfs, max_drafts=DRAFT_ATTEMPTS, max_responses=max_responses)
