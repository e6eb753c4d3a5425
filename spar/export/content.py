"""What every view of a tree says, and in which order: the lines of the tree, each with its sections."""

from __future__ import annotations

from collections.abc import Iterator

from spar.types import SearchTree
from spar.view.node_detail import Facts, Section, fault_sections, node_sections
from spar.view.text import safe
from spar.view.tree_lines import TreeLine, tree_lines

SNIPPET = 60
"""Cells of a response behind its line."""


def parts(tree: SearchTree, facts: Facts) -> Iterator[tuple[TreeLine, list[Section]]]:
    """Each node and fault as its line in the tree and its sections."""
    for line in tree_lines(tree, snippet=SNIPPET):
        if line.node is not None:
            yield line, node_sections(tree, line.node, facts)
        elif line.fault is not None:
            yield line, fault_sections(line.fault)


def heading(line: TreeLine) -> str:
    """What a part is called."""
    return "Fault" if line.node is None else f"Node {line.node.id}"


def shown(text: str) -> str:
    """The whole text in visible forms; a file may keep its tabs."""
    return safe(text, tab="\t")
