"""A tree in graphviz's language: `dot -Tpdf tree.dot -o tree.pdf`.

Labels are quoted strings, in which a backslash starts an escape and an ampersand an HTML entity, so both
are escaped as well as the quote.
"""

from __future__ import annotations

from collections.abc import Iterator

from spar.types import SearchTree
from spar.view.layout import Step, TreeLayout, layout_of, walk
from spar.view.node_detail import Annotations
from spar.view.text import one_line
from spar.view.tree_lines import votes_text

_CELLS = 48
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;"})
_COLOURS = {True: "#14692c", False: "#a4161a", None: "#777777"}


def to_dot(tree: SearchTree, annotations: Annotations) -> str:
    """The tree as a directed graph from left to right."""
    return "\n".join(["digraph tree {", *(f"  {line};" for line in _lines(tree)), "}\n"])


def quoted(*lines: str) -> str:
    """A label of these lines of visible text."""
    return '"' + "\\n".join(line.translate(_ESCAPES) for line in lines) + '"'


def _lines(tree: SearchTree) -> Iterator[str]:
    yield 'graph [rankdir=LR, charset="UTF-8"]'
    yield 'node [shape=box, style=rounded, fontname="monospace", fontsize=10]'
    yield f"prompt [label={quoted(_cut(tree.prompt.id), _cut(tree.prompt.messages[-1].content))}]"
    shape = layout_of(tree)
    for number, step in enumerate(walk(shape, trail_limit=1)):
        name = f"f{number}" if step.position is None else f"n{step.position}"
        above = "prompt" if step.parent is None else f"n{step.parent}"
        on_path = step.position in shape.path
        yield f"{name} [{_attributes(tree, shape, step)}]"
        yield f"{above} -> {name}{' [penwidth=2.5]' if on_path else ''}"


def _attributes(tree: SearchTree, shape: TreeLayout, step: Step) -> str:
    if step.fault is not None:
        label = quoted(f"! {step.fault.stage} failed", _cut(step.fault.reason))
        return f'label={label}, style="rounded,dashed", color="#7a5200"'
    assert step.position is not None
    node = tree.nodes[step.position]
    judgement = node.judgement
    votes = votes_text(judgement).plain if judgement else "not judged"
    star = "★ " if step.position == shape.selected else ""
    label = quoted(f"{star}#{node.id} {votes}", _cut(node.response))
    colour = _COLOURS[judgement.passed(tree.gate) if judgement else None]
    width = ", penwidth=2.5" if step.position in shape.path else ""
    return f'label={label}, color="{colour}"{width}'


def _cut(text: str) -> str:
    return one_line(text, _CELLS)
