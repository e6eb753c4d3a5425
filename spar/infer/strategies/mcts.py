"""Monte Carlo tree search with UCT, as a baseline: no source shows it ahead of simpler searches at equal budget.

The rule is that of TreeQuest's `StandardMCTS`: descend from an empty root to the child with the highest mean value of its
subtree plus `exploration` x prior x sqrt(ln N_parent / N), where the prior is the softmax of the siblings' ranks; give
the leaf `branching` children, drafts below the empty root; add each child's rank to all nodes above it. Nothing is
rolled out: the judge's votes are the value. The first draft is a wave of its own, so that every strategy starts alike.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict

from pydantic import BaseModel, ConfigDict, Field

from spar.infer.rank import rank
from spar.infer.strategy import Expand, Plan, SearchConfig, StrategySpec
from spar.types import Node


class MCTSOptions(BaseModel):
    """`--strategy-arg exploration=1.0`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    exploration: float = Field(default=math.sqrt(2), ge=0, allow_inf_nan=False)
    """Weight of what was seldom visited against what has a high value (TreeQuest: sqrt 2)."""


def mcts(
    roots: tuple[Node, ...], config: SearchConfig, options: MCTSOptions = MCTSOptions()
) -> Plan:
    """Refine the leaf to which UCT descends until one passes or the budget binds."""
    tree = _Tree(options.exploration)
    tree.add(roots)
    if not roots:
        tree.add((yield [Expand(None, 1)]))
        if config.branching > 1:
            tree.add((yield [Expand(None, config.branching - 1)]))
    while True:
        leaf = tree.select()
        expand = Expand(leaf, config.branching, statistics=tree.statistics(leaf))
        tree.add((yield [expand]), leaf)


class _Tree:
    """Visits and values; None is the empty root, whose children are the drafts."""

    def __init__(self, exploration: float) -> None:
        self._exploration = exploration
        self._children: dict[int | None, list[Node]] = defaultdict(list)
        self._parent: dict[int, int | None] = {}
        self._visits: Counter[int | None] = Counter()
        self._value: dict[int | None, float] = defaultdict(float)

    def add(self, nodes: tuple[Node, ...], parent: int | None = None) -> None:
        """Add the judged children of a node; one that lost them all is visited, at no value."""
        for node in nodes:
            self._children[parent].append(node)
            self._parent[node.id] = parent
            self._back_up(node.id, rank(node))
        if not nodes:
            self._back_up(parent, 0.0)

    def select(self) -> int | None:
        """The leaf to expand; the empty root as long as there is no draft."""
        node: int | None = None
        while self._children[node]:
            parent = node
            weights = [math.exp(rank(child)) for child in self._children[parent]]
            scores = [
                self._uct(child.id, parent, weight / sum(weights))
                for child, weight in zip(self._children[parent], weights, strict=True)
            ]
            node = self._children[parent][scores.index(max(scores))].id
        return node

    def statistics(self, node: int | None) -> dict[str, float]:
        """Visits and mean value of a node, for the record of its children."""
        visits = self._visits[node]
        return {"visits": visits, "value": self._value[node] / visits if visits else 0.0}

    def _uct(self, node: int, parent: int | None, prior: float) -> float:
        visits = self._visits[node]
        bonus = math.sqrt(math.log(self._visits[parent]) / visits)
        return self._value[node] / visits + self._exploration * prior * bonus

    def _back_up(self, node: int | None, value: float) -> None:
        while True:
            self._visits[node] += 1
            self._value[node] += value
            if node is None:
                return
            node = self._parent[node]


SPEC = StrategySpec(mcts, options=MCTSOptions)
