"""Merging: one refinement out of the two best failing responses and their critiques, beside fresh drafts.

In the spirit of sequential best-of-N with a memory of good answers (arXiv 2512.04558): what one response does right may
be what the other lacks. After two drafts, each wave merges the best pair that was not merged yet and drafts anew. Equal
responses make no pair. A refiner that cannot merge refines the better one of a pair.
"""

from __future__ import annotations

from itertools import combinations

from spar.infer.rank import rank, ranked
from spar.infer.strategy import Expand, Plan, SearchConfig, StrategySpec, drafted
from spar.types import Node


def merge(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Merge pairs of failing responses until one passes or the budget binds."""
    nodes = list((yield from drafted(roots)))
    merged: set[frozenset[int]] = set()
    draft = Expand(None, 1)
    while True:
        pair = next(
            (
                (better, other)
                for better, other in combinations(ranked(nodes), 2)
                if better.response != other.response and {better.id, other.id} not in merged
            ),
            None,
        )
        if pair is None:
            nodes += yield [draft]
            continue
        better, other = pair
        merged.add(frozenset({better.id, other.id}))
        statistics = {"rank": rank(better), "second_rank": rank(other)}
        expand = Expand(better.id, 1, second_parent=other.id, statistics=statistics)
        nodes += yield [expand, draft]


SPEC = StrategySpec(merge, merges=True)
