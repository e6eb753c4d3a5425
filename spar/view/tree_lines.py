"""A tree as lines: one a node and one a fault, each below its parent.

    ○ #0 0.40  2/5 ✗✓✗✓✗  fail
    ├─ ● #1 0.60  3/5 ✓✓✗✓✗  pass
    │  └─ ! refine failed: no refined output
    └─ ★ #2 1.00  5/5 ✓✓✓✓✓  pass, answer

`★` is the answer, `●` is on the path to it, `○` is neither, `!` is a fault. A vote that could not be read
is `?`. Colour says nothing that a glyph or a word does not say.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from spar.types import Fault, Judgement, Node, SearchTree
from spar.view.layout import Shape, Step, shape_of, walk
from spar.view.palette import PALETTE
from spar.view.text import one_line

MAX_GUIDES = 8
"""Levels that are drawn; of a deeper node the number of levels above them is said."""
VOTES = {True: "✓", False: "✗", None: "?"}
"""What a vote is shown as."""
_VOTE_STYLES = {True: PALETTE["pass"], False: PALETTE["fail"], None: PALETTE["fault"]}
_REASON = 200


@dataclass(frozen=True, slots=True)
class TreeLine:
    """One line of a drawn tree."""

    node_id: int | None
    """The node's id, None for a fault."""
    fault: Fault | None
    """The fault, None for a node."""
    text: Text
    """What is shown, in colour."""
    plain: str
    """The same without colour."""
    depth: int
    """Levels below the roots."""
    node: Node | None = None
    """The node, None for a fault."""


def tree_lines(tree: SearchTree, *, snippet: int = 0) -> list[TreeLine]:
    """Every node and fault as a line; with `snippet`, that many cells of the response behind it."""
    shape = shape_of(tree)
    return [_line(tree, shape, step, snippet) for step in walk(shape, trail_limit=MAX_GUIDES)]


def is_given(node: Node) -> bool:
    """Whether the search was given this root: nobody was asked to write it."""
    return node.parent is None and (node.usage - node.judge_usage).calls == 0


def votes_text(judgement: Judgement) -> Text:
    """The score, `3/5 ✓✓✗✓✗`, and the judge's probability where it gave one."""
    text = Text(f"{judgement.score:.2f}  ")
    if judgement.probability is not None:
        text.append("P(yes) ")
    else:
        text.append(f"{judgement.num_yes}/{judgement.num_parsed} ")
    for verdict in judgement.verdicts:
        text.append(VOTES[verdict], style=_VOTE_STYLES[verdict])
    return text


def _line(tree: SearchTree, shape: Shape, step: Step, snippet: int) -> TreeLine:
    node = None if step.position is None else tree.nodes[step.position]
    text = Text(_guides(step.trail, step.depth), style="")
    text.stylize(PALETTE["guide"])
    if step.fault is not None:
        text.append_text(_fault_label(step.fault))
    elif step.position is not None:
        text.append_text(_node_label(tree, shape, step.position))
    if shown := one_line(node.response if node else "", snippet):
        text.append(f"  {shown}", style=PALETTE["note"])
    node_id = node.id if node else None
    return TreeLine(node_id, step.fault, text, text.plain, step.depth, node)


def _node_label(tree: SearchTree, shape: Shape, position: int) -> Text:
    node, answer, on_path = tree.nodes[position], position == shape.selected, position in shape.path
    glyph = "★" if answer else "●" if on_path else "○"
    words, style = [], PALETTE["unjudged"]
    label = Text(f"{glyph} #{node.id} ")
    if node.judgement is None:
        words.append("not judged")
    else:
        label.append_text(votes_text(node.judgement))
        label.append("  ")
        outcome = "pass" if node.judgement.passed(tree.gate) else "fail"
        words.append(outcome)
        style = PALETTE[outcome]
    words += ["given"] if is_given(node) else []
    words += ["answer"] if answer else []
    label.append(", ".join(words), style=style)
    if on_path:
        label.stylize(PALETTE["answer"])
    return label


def _fault_label(fault: Fault) -> Text:
    reason = one_line(fault.reason, _REASON)
    return Text(f"! {fault.stage} failed: {reason}", style=PALETTE["fault"])


def _guides(trail: tuple[bool, ...], depth: int) -> str:
    if not trail:
        return ""
    above = "".join("   " if last else "│  " for last in trail[:-1])
    more = f"⋯{depth - len(trail)} " if depth > len(trail) else ""
    return f"{more}{above}{'└─ ' if trail[-1] else '├─ '}"
