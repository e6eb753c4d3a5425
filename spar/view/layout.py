"""The layout of a tree: children, levels and the path to the answer, for any record, even a malformed one.

Nodes are identified by their position in the record. A parent must come before its children; a node whose
parent does not is treated as a root, so a walk visits every node exactly once whatever the file says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spar.types import Fault, Node, SearchTree


@dataclass(frozen=True, slots=True)
class TreeLayout:
    """The structure of one tree."""

    children: Mapping[int | None, Sequence[int]]
    """Positions of a node's children, in order; those of the roots under None."""
    faults: Mapping[int | None, Sequence[Fault]]
    """Faults of a node's children, in order."""
    parents: Sequence[int | None]
    """Position of each node's parent."""
    levels: Sequence[int]
    """Depth of each node; 0 for a root."""
    selected: int | None
    """Position of the answer, None without one."""
    path: frozenset[int]
    """Positions on the path from a root to the answer, inclusive."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a walk: a node or a fault."""

    position: int | None
    fault: Fault | None
    parent: int | None
    """Position of the parent, None for a root."""
    depth: int
    """Levels below the roots."""
    trail: tuple[bool, ...]
    """For each level below the roots, whether the node there is the last of its siblings."""


def layout_of(tree: SearchTree) -> TreeLayout:
    """Compute the layout of a tree, in linear time."""
    where: dict[int, int] = {}
    parents: list[int | None] = []
    levels: list[int] = []
    for position, node in enumerate(tree.nodes):
        parent = None if node.parent is None else where.get(node.parent)
        parents.append(parent)
        levels.append(0 if parent is None else levels[parent] + 1)
        where.setdefault(node.id, position)
    children, faults = defaultdict(list), defaultdict(list)
    for position, parent in enumerate(parents):
        children[parent].append(position)
    for fault in tree.faults:
        faults[None if fault.parent is None else where.get(fault.parent)].append(fault)
    selected = None if tree.selected is None else where.get(tree.selected)
    path = frozenset(_upwards(selected, parents))
    return TreeLayout(children, faults, parents, levels, selected, path)


def parent_of(tree: SearchTree, node: Node) -> Node | None:
    """The node that was refined; None for a draft, or if the record does not have it."""
    if node.parent is None or not 0 <= node.parent < min(node.id, len(tree.nodes)):
        return None
    return tree.nodes[node.parent]


def walk(shape: TreeLayout, *, trail_limit: int) -> Iterator[Step]:
    """Every node and fault in depth-first order.

    A step's trail has at most the last `trail_limit` levels, so the cost stays linear for a long chain.
    """
    stack = _below(shape, None, (), trail_limit)
    while stack:
        step = stack.pop()
        yield step
        if step.position is not None:
            stack += _below(shape, step.position, step.trail, trail_limit)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the steps of a walk are drawn, from left to right: a step's column is its depth + 1."""

    prompt_row: float
    """Row of the prompt's box, in column 0."""
    rows: Sequence[float]
    """Row of each step: leaves in sequence, others centred on their children."""
    parents: Sequence[int]
    """The box that each step hangs on: 0 for the prompt, else the number of a step from 1."""


def place(steps: Sequence[Step]) -> Places:
    """Place the steps of a depth-first walk, in linear time."""
    index = {step.position: number for number, step in enumerate(steps, start=1)}
    parents = [index[step.parent] if step.parent is not None else 0 for step in steps]
    depths = [step.depth for step in steps]
    # A step is a leaf if no deeper one follows it.
    leaves = [after <= depth for depth, after in zip(depths, [*depths[1:], 0], strict=False)]
    below: list[list[float]] = [[] for _ in range(len(steps) + 1)]
    rows, free = [0.0] * len(below), sum(leaves)
    for number, leaf in reversed(list(enumerate(leaves, start=1))):
        free -= leaf
        rows[number] = free if leaf else (min(below[number]) + max(below[number])) / 2
        below[parents[number - 1]].append(rows[number])
    prompt_row = (min(below[0]) + max(below[0])) / 2 if below[0] else 0.0
    return Places(prompt_row, rows[1:], parents)


def _below(
    shape: TreeLayout, parent: int | None, trail: tuple[bool, ...], limit: int
) -> list[Step]:
    """The steps below a node, in reverse order."""
    below: list[tuple[int | None, Fault | None]] = [
        *((position, None) for position in shape.children.get(parent, ())),
        *((None, fault) for fault in shape.faults.get(parent, ())),
    ]
    depth = 0 if parent is None else shape.levels[parent] + 1
    steps = []
    for index, (position, fault) in enumerate(reversed(below)):
        own = () if parent is None else (*trail, index == 0)[-limit:]
        steps.append(Step(position, fault, parent, depth, own))
    return steps


def _upwards(position: int | None, parents: Sequence[int | None]) -> Iterator[int]:
    while position is not None:
        yield position
        position = parents[position]
