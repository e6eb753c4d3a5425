"""The content that all documents of a tree share: the lines of the tree, each with its sections."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from spar.types import SearchTree
from spar.view.node_detail import (
    Annotations,
    Section,
    fault_sections,
    node_sections,
    node_truth,
)
from spar.view.text import safe
from spar.view.tree_lines import TreeLine, tree_lines

SNIPPET = 60
"""Cells of what changed, or of a draft, at the end of a line."""


def lines(tree: SearchTree, annotations: Annotations) -> list[TreeLine]:
    """The drawn tree, with ground truth where it is known."""
    truth = partial(node_truth, tree, annotations=annotations)
    return tree_lines(tree, snippet=SNIPPET, truth=truth)


def parts(tree: SearchTree, annotations: Annotations) -> Iterator[tuple[TreeLine, list[Section]]]:
    """The line and the sections of each node and fault."""
    for line in lines(tree, annotations):
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
