"""Depth-first search over refinements: the best child first, down to the depth, then back."""

from __future__ import annotations

from spar.infer.rank import ranked
from spar.infer.strategy import DRAFT_ATTEMPTS, Expand, Plan, SearchConfig, StrategySpec, drafted
from spar.types import Node


def dfs(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Refine a node `branching` times and descend into its best `beam_width` children in order."""
    for root in (yield from drafted(roots)):
        yield from _descend(root, config, config.depth)


def _descend(node: Node, config: SearchConfig, levels: int) -> Plan:
    if levels == 0:
        return
    children = yield [Expand(node.id, config.branching)]
    for child in ranked(children)[: config.beam_width]:
        yield from _descend(child, config, levels - 1)


def max_responses(config: SearchConfig) -> int:
    """The draft, and the children of every node on the way down: each has its own best `beam_width`."""
    level, total = 1, 1
    for _ in range(config.depth):
        total += level * config.branching
        level *= min(config.beam_width, config.branching)
    return total


SPEC = StrategySpec(dfs, max_drafts=DRAFT_ATTEMPTS, max_responses=max_responses)
