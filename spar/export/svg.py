"""A tree as an SVG drawing: the prompt on the left, each refinement to the right of its parent.

Each leaf has a row of its own; a node with children is centred on them. Text is escaped and truncated to
its box; the drawing loads and runs nothing. XML allows no control characters, and `safe` leaves none.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from spar.types import SearchTree
from spar.view.layout import Step, TreeLayout, layout_of, place, walk
from spar.view.node_detail import Annotations
from spar.view.present import stop_text
from spar.view.text import one_line
from spar.view.tree_lines import votes_text

WIDTH, HEIGHT = 228, 46
"""Size of a box, in pixels."""
GAP_X, GAP_Y, MARGIN, TITLE = 44, 12, 16, 34
_CELLS = 30
"""Width of a box in cells of text, at 12 pixels."""

_STYLE = """
svg { color-scheme: light dark; background: #fdfdfc; }
text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #1c1c1c; white-space: pre; }
rect { fill: #fff; stroke: #999; stroke-width: 1.2; } path { fill: none; stroke: #bbb; stroke-width: 1.2; }
.pass rect { stroke: #14692c; } .fail rect { stroke: #a4161a; }
.fault rect { stroke: #7a5200; stroke-dasharray: 4 3; }
.path rect, path.path { stroke-width: 3; } path.path { stroke: #555; } .path .head { font-weight: 700; }
@media (prefers-color-scheme: dark) { svg { background: #191a1c; } text { fill: #e6e6e3; }
  rect { fill: #222427; stroke: #777; } path { stroke: #555; } path.path { stroke: #bbb; }
  .pass rect { stroke: #7fd694; } .fail rect { stroke: #ff8f8a; } .fault rect { stroke: #e6b450; } }
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A box with two lines of text."""

    column: int
    row: float
    parent: int | None
    """Index of the box to the left."""
    head: str
    tail: str
    kind: str


def to_svg(tree: SearchTree, annotations: Annotations) -> str:
    """The drawing."""
    boxes = place_boxes(tree)
    width = MARGIN * 2 + (max(box.column for box in boxes) + 1) * (WIDTH + GAP_X) - GAP_X
    height = MARGIN * 2 + TITLE + (max(box.row for box in boxes) + 1) * (HEIGHT + GAP_Y) - GAP_Y
    title = f"{one_line(tree.prompt.id, 60)}: {stop_text(tree)}"
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:g}" '
            f'viewBox="0 0 {width} {height:g}" role="img">',
            f"<title>{escape(title, quote=False)}</title>",
            f"<style>{_STYLE}</style>",
            f'<text x="{MARGIN}" y="{MARGIN + 14}">{escape(title, quote=False)}</text>',
            *(_edge(boxes[box.parent], box) for box in boxes if box.parent is not None),
            *map(_drawn, boxes),
            "</svg>\n",
        ]
    )


def place_boxes(tree: SearchTree) -> list[Box]:
    """The prompt's box, then those of nodes and faults in depth-first order."""
    shape = layout_of(tree)
    steps = list(walk(shape, trail_limit=1))
    places = place(steps)
    task = Box(0, places.prompt_row, None, "prompt", _cut(tree.prompt.messages[-1].content), "path")
    placed = zip(steps, places.rows, places.parents, strict=True)
    return [task, *(_box(tree, shape, step, row, parent) for step, row, parent in placed)]


def _box(tree: SearchTree, shape: TreeLayout, step: Step, row: float, parent: int) -> Box:
    if step.fault is not None:
        head, tail = f"! {step.fault.stage} failed", step.fault.reason
        return Box(step.depth + 1, row, parent, head, _cut(tail), "fault")
    assert step.position is not None
    node, kinds = tree.nodes[step.position], []
    head = f"{'★ ' if step.position == shape.selected else ''}#{node.id} "
    if node.judgement is None:
        head += "not judged"
    else:
        head += votes_text(node.judgement).plain
        kinds.append("pass" if node.judgement.passed(tree.gate) else "fail")
    kinds += ["path"] if step.position in shape.path else []
    return Box(step.depth + 1, row, parent, _cut(head), _cut(node.response), " ".join(kinds))


def _cut(text: str) -> str:
    return one_line(text, _CELLS)


def _corner(box: Box) -> tuple[int, float]:
    return MARGIN + box.column * (WIDTH + GAP_X), MARGIN + TITLE + box.row * (HEIGHT + GAP_Y)


def _edge(parent: Box, box: Box) -> str:
    (from_x, from_y), (x, y) = _corner(parent), _corner(box)
    start, half = from_x + WIDTH, GAP_X / 2
    kind = ' class="path"' if "path" in box.kind.split() else ""
    curve = f"C{start + half:g} {from_y + HEIGHT / 2:g} {x - half:g} {y + HEIGHT / 2:g}"
    return f'<path{kind} d="M{start} {from_y + HEIGHT / 2:g} {curve} {x} {y + HEIGHT / 2:g}"/>'


def _drawn(box: Box) -> str:
    x, y = _corner(box)
    return (
        f'<g class="{box.kind}"><rect x="{x}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
        f'<text class="head" x="{x + 8}" y="{y + 19:g}">{escape(box.head, quote=False)}</text>'
        f'<text x="{x + 8}" y="{y + 36:g}">{escape(box.tail, quote=False)}</text></g>'
    )
