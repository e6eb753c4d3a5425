"""A tree as boxes with a line from each to the one above it, for the languages that draw such graphs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from spar.types import SearchTree
from spar.view.layout import Step, TreeLayout, layout_of, walk
from spar.view.text import one_line
from spar.view.tree_lines import votes_text

CELLS = 48
"""Cells of a line in a box."""
PROMPT = "prompt"
"""Name of the prompt's box, which the drafts hang on."""
COLOURS = {"pass": "#14692c", "fail": "#a4161a", "unjudged": "#777777", "fault": "#7a5200"}

Kind = Literal["pass", "fail", "unjudged", "fault"]


@dataclass(frozen=True, slots=True)
class Box:
    """A node or a fault."""

    name: str
    above: str
    """Name of the box that it hangs on."""
    lines: tuple[str, str]
    """Two lines of visible text."""
    kind: Kind
    on_path: bool
    """Whether it is on the path to the answer."""


def boxes(tree: SearchTree) -> Iterator[Box]:
    """The nodes and faults in depth-first order."""
    shape = layout_of(tree)
    for number, step in enumerate(walk(shape, trail_limit=1)):
        above = PROMPT if step.parent is None else f"n{step.parent}"
        if step.fault is not None:
            lines = f"! {step.fault.stage} failed", cut(step.fault.reason)
            yield Box(f"f{number}", above, lines, "fault", False)
        else:
            yield _node(tree, shape, step, above)


def prompt_lines(tree: SearchTree) -> tuple[str, str]:
    """The two lines of the prompt's box."""
    return cut(tree.prompt.id), cut(tree.prompt.messages[-1].content)


def cut(text: str) -> str:
    """Visible text on one line of at most `CELLS` cells."""
    return one_line(text, CELLS)


def _node(tree: SearchTree, shape: TreeLayout, step: Step, above: str) -> Box:
    position = step.position
    assert position is not None
    node = tree.nodes[position]
    judgement = node.judgement
    votes, kind = "not judged", "unjudged"
    if judgement is not None:
        votes, kind = votes_text(judgement).plain, "pass" if judgement.passed(tree.gate) else "fail"
    star = "★ " if position == shape.selected else ""
    lines = f"{star}#{node.id} {votes}", cut(node.response)
    return Box(f"n{position}", above, lines, kind, position in shape.path)  # type: ignore[arg-type]
