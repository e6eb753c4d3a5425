"""Depth-first search over refinements: the best child first, down to the depth, then back."""

from __future__ import annotations

from spar.infer.strategy import Expand, Plan, SearchConfig, drafted
from spar.types import Node, best


def dfs(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Refine a node `branch` times and descend into its best `keep` children in order."""
    for root in (yield from drafted(roots)):
        yield from _descend(root, config, config.depth)


def _descend(node: Node, config: SearchConfig, levels: int) -> Plan:
    if levels == 0:
        return
    children = yield [Expand(node.id, config.branch)]
    for child in best(children, config.keep):
        yield from _descend(child, config, levels - 1)
