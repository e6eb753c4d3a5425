"""A tree in graphviz's language: `dot -Tpdf tree.dot -o tree.pdf`.

Labels are quoted strings, in which a backslash starts an escape and an ampersand an HTML entity, so both
are escaped as well as the quote.
"""

from __future__ import annotations

from collections.abc import Iterator

from spar.export.graph import COLOURS, PROMPT, Box, boxes, prompt_lines
from spar.types import SearchTree
from spar.view.node_detail import Annotations

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;"})


def to_dot(tree: SearchTree, annotations: Annotations) -> str:
    """The tree as a directed graph from left to right."""
    return "\n".join(["digraph tree {", *(f"  {line};" for line in _lines(tree)), "}\n"])


def quoted(*lines: str) -> str:
    """A label of these lines of visible text."""
    return '"' + "\\n".join(line.translate(_ESCAPES) for line in lines) + '"'


def _lines(tree: SearchTree) -> Iterator[str]:
    yield 'graph [rankdir=LR, charset="UTF-8"]'
    yield 'node [shape=box, style=rounded, fontname="monospace", fontsize=10]'
    yield f"{PROMPT} [label={quoted(*prompt_lines(tree))}]"
    for box in boxes(tree):
        yield f"{box.name} [{_attributes(box)}]"
        yield f"{box.above} -> {box.name}{' [penwidth=2.5]' if box.on_path else ''}"


def _attributes(box: Box) -> str:
    dashed = ', style="rounded,dashed"' if box.kind == "fault" else ""
    width = ", penwidth=2.5" if box.on_path else ""
    return f'label={quoted(*box.lines)}{dashed}, color="{COLOURS[box.kind]}"{width}'
