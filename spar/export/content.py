"""The content that all documents of a tree share: the lines of the tree, each with its sections."""

from __future__ import annotations

from collections.abc import Iterator

from spar.types import SearchTree
from spar.view.node_detail import Annotations, Section, fault_sections, node_sections
from spar.view.text import safe
from spar.view.tree_lines import TreeLine, tree_lines

SNIPPET = 60
"""Cells of a response shown after its line."""


def parts(tree: SearchTree, annotations: Annotations) -> Iterator[tuple[TreeLine, list[Section]]]:
    """The line and the sections of each node and fault."""
    for line in tree_lines(tree, snippet=SNIPPET):
        if line.node is not None:
            yield line, node_sections(tree, line.node, annotations)
        elif line.fault is not None:
            yield line, fault_sections(line.fault)


def heading(line: TreeLine) -> str:
    """The heading of a part."""
    return "Fault" if line.node is None else f"Node {line.node.id}"


def visible(text: str) -> str:
    """The whole text in visible forms; tabs stay as they are."""
    return safe(text, tab="\t")
