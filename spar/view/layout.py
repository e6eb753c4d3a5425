"""The shape of a tree: who stands below whom, at which level, on which path; for any record, odd ones too.

Nodes are known here by their position in the record. A parent must stand before its children; a node
whose parent does not is a root, so that whatever a file claims, a walk meets every node once and ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spar.types import Fault, Node, SearchTree


@dataclass(frozen=True, slots=True)
class Shape:
    """What lies where."""

    children: Mapping[int | None, Sequence[int]]
    """Positions of the nodes below a node, in order; the roots below None."""
    faults: Mapping[int | None, Sequence[Fault]]
    """Faults below a node, in order."""
    parents: Sequence[int | None]
    """Position of each node's parent."""
    levels: Sequence[int]
    """0 for a root, one more than the parent's else."""
    selected: int | None
    """Position of the answer."""
    path: frozenset[int]
    """Positions from a root to the answer, both included."""


@dataclass(frozen=True, slots=True)
class Step:
    """One place of a walk: a node, or a fault below one."""

    position: int | None
    fault: Fault | None
    parent: int | None
    """Position of the node above, None for a root."""
    depth: int
    """Levels below the roots."""
    trail: tuple[bool, ...]
    """For each level below the roots, whether what stands there is the last of its siblings."""


def shape_of(tree: SearchTree) -> Shape:
    """Work out the shape, in time that grows with the tree and no faster."""
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
    return Shape(children, faults, parents, levels, selected, path)


def parent_of(tree: SearchTree, node: Node) -> Node | None:
    """The node that was refined, None for a draft or where the record does not hold it."""
    if node.parent is None or not 0 <= node.parent < min(node.id, len(tree.nodes)):
        return None
    return tree.nodes[node.parent]


def walk(shape: Shape, *, trail_limit: int) -> Iterator[Step]:
    """Every node and fault, each below its parent and before the parent's next sibling.

    Of a step's trail the last `trail_limit` levels are kept, so that a chain costs no square of its length.
    """
    stack = _below(shape, None, (), trail_limit)
    while stack:
        step = stack.pop()
        yield step
        if step.position is not None:
            stack += _below(shape, step.position, step.trail, trail_limit)


def _below(shape: Shape, parent: int | None, trail: tuple[bool, ...], limit: int) -> list[Step]:
    """What stands below a node, the last first."""
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
