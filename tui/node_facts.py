"""What the tree screen shows of each node and what takes a while to find out: ground truth, and what changed.

facts = NodeFacts(tree, annotations)
while not facts.work(0.03):         # in a worker
    ...
facts.right(node), facts.change(node)       # in the UI thread: None as long as it is not known
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text

from spar.record.outcomes import Outcome, outcome_of
from spar.types import Node, SearchTree
from spar.view.layout import layout_of
from spar.view.node_detail import Annotations, node_truth
from spar.view.tree_lines import node_change

CHANGE_CELLS = 160
"""Cells of a change, as many as the widest terminal shows."""


@dataclass(frozen=True, slots=True)
class NodeFact:
    """The facts about one node."""

    right: bool | None
    """Ground truth, None where it is unknown."""
    change: Text
    """What changed against the parent, or the beginning of a draft."""


class NodeFacts:
    """The facts about the nodes of one tree, found out bit by bit: those on the path to the answer first."""

    def __init__(self, tree: SearchTree, annotations: Annotations) -> None:
        self.tree, self.annotations = tree, annotations
        self.outcome: Outcome | None = None
        """What the search did; None as long as it is not known."""
        self.has_truth = False
        """Whether ground truth is known of a node."""
        self._facts: dict[int, NodeFact] = {}
        """By the identity of the node, since ids of a malformed tree may repeat."""
        self._steps = self._work()
        self.is_done = False

    def of(self, node: Node) -> NodeFact | None:
        """The facts about a node; None as long as they are not known."""
        return self._facts.get(id(node))

    def work(self, seconds: float) -> bool:
        """Work for about so many seconds; returns whether everything is known."""
        deadline = time.monotonic() + seconds
        for _ in self._steps:
            if time.monotonic() > deadline:
                return False
        self.is_done = True
        return True

    def take_over(self, other: NodeFacts) -> None:
        """Use the facts about the nodes that another tree has too, as while a tree grows.

        Only about these: the identity of a node is free once its tree is gone, and another node may get it.
        """
        for node in self.tree.nodes:
            if (fact := other.of(node)) is not None:
                self._facts[id(node)] = fact
        self.has_truth = other.has_truth

    def _work(self) -> Iterator[None]:
        shape = layout_of(self.tree)
        nodes = self.tree.nodes
        others = (position for position in range(len(nodes)) if position not in shape.path)
        for position in (*sorted(shape.path), *others):
            self._find_out(nodes[position])
            yield
            if self.outcome is None:
                self._find_outcome()
                yield
        if self.outcome is None:
            self._find_outcome()

    def _find_outcome(self) -> None:
        self.outcome = outcome_of(
            self.tree, self.annotations.check, graded=self.annotations.grade_of(self.tree)
        )

    def _find_out(self, node: Node) -> None:
        if id(node) in self._facts:
            return
        right = node_truth(self.tree, node, self.annotations)
        self.has_truth = self.has_truth or right is not None
        self._facts[id(node)] = NodeFact(right, node_change(self.tree, node, CHANGE_CELLS))
