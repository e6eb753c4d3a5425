"""Best-first search: always refine the best response that was not refined yet, however deep it is.

The rule is that of TreeQuest's `BestFirstSearchAlgo`: a heap by score; the best node is taken out, gets `branching`
children, and these go onto the heap. Ties go to the shallower node, then to the one made first (`spar.infer.rank`).
"""

from __future__ import annotations

from spar.infer.rank import rank, ranked
from spar.infer.strategy import DRAFT_ATTEMPTS, Expand, Plan, SearchConfig, StrategySpec, drafted
from spar.types import Node


def best_first(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Refine the best unrefined node `branching` times until one passes or the budget binds."""
    unrefined = list((yield from drafted(roots)))
    while unrefined:
        node = ranked(unrefined)[0]
        unrefined.remove(node)
        statistics = {"rank": rank(node), "waiting": len(unrefined)}
        unrefined += yield [Expand(node.id, config.branching, statistics=statistics)]


SPEC = StrategySpec(best_first, max_drafts=DRAFT_ATTEMPTS)
