"""A tree drawn as lines, one for each node and each fault, below its parent, in columns.

    ● #0     ◇ ✗✓✗✗✗  Two cats sat on a mat.
    ├─ ○ #1  ◇ ✓✓✗✓✗  -cats +dogs
    │  └─ !           refine failed: no refined output
    └─ ★ #2  ◆ ✓✓✓✓✓  -cats +dogs  +red

`★` is the answer, `●` is on the path to it, `○` is neither, `!` is a fault. `◆` is right and `◇` wrong by ground
truth. Then a mark for each constraint that was checked and each vote; a vote that could not be parsed is `?`. Last
comes what changed against the parent. Everything that colour shows is also shown by a glyph or a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from rich.text import Text

from spar.types import Fault, Judgement, Node, SearchTree
from spar.view.diff import change_text, word_diff
from spar.view.layout import Step, TreeLayout, layout_of, parent_of, walk
from spar.view.palette import PALETTE
from spar.view.text import one_line

MAX_GUIDES = 8
"""Levels of guides that are drawn; a deeper node shows the number of levels left out."""
MAX_MARKS = 12
"""Maximum marks of constraints or of votes on a line; more are a count, such as `14/20`."""
VOTES = {True: "✓", False: "✗", None: "?"}
"""Vote to glyph."""
TRUTH = {True: "◆", False: "◇"}
"""Ground truth to glyph."""
_VOTE_STYLES = {True: PALETTE["pass"], False: PALETTE["fail"], None: PALETTE["fault"]}
_REASON = 200
_CHANGE_STEPS = 100_000
"""Maximum comparisons of a diff that is only shown in part."""

NodeTruth = Callable[[Node], bool | None]
"""Whether a node's response is right by ground truth; None where that is unknown."""


@dataclass(frozen=True, slots=True)
class TreeLine:
    """One line of a drawn tree."""

    node: Node | None
    """The node, None for a fault."""
    fault: Fault | None
    """The fault, None for a node."""
    depth: int
    """Levels below the roots."""
    label: Text
    """Guides, glyph and id."""
    judged: Text
    """A mark for each constraint and vote."""
    text: Text = field(default_factory=Text)
    """The whole line, in columns; empty in `bare_lines`."""

    @property
    def node_id(self) -> int | None:
        """The node's id, None for a fault."""
        return self.node.id if self.node else None

    @property
    def plain(self) -> str:
        """The whole line without styles."""
        return self.text.plain


@dataclass(frozen=True, slots=True)
class LineColumns:
    """The widths of a drawn tree's columns, in cells."""

    label: int
    truth: int
    """0 without ground truth."""
    judged: int


def tree_lines(
    tree: SearchTree, *, snippet: int = 0, truth: NodeTruth | None = None
) -> list[TreeLine]:
    """A line for each node and fault.

    Parameters
    ----------
    snippet:
        Cells of what changed against the parent, or of a draft, at the end of a line.
    truth:
        Ground truth of a node; without it there is no such column.
    """
    lines = bare_lines(tree)
    rights = [truth(line.node) if truth and line.node else None for line in lines]
    known = any(right is not None for right in rights)
    columns = columns_of(lines, truth=1 if known else 0)

    def drawn(line: TreeLine, right: bool | None) -> TreeLine:
        change = node_change(tree, line.node, snippet) if line.node and snippet else None
        text = line_text(line, columns, right, change)
        text.rstrip()
        return replace(line, text=text)

    return list(map(drawn, lines, rights))


def bare_lines(tree: SearchTree) -> list[TreeLine]:
    """The same lines without their text, for who draws only some of them."""
    shape = layout_of(tree)
    return [_line(tree, shape, step) for step in walk(shape, trail_limit=MAX_GUIDES)]


def columns_of(lines: Sequence[TreeLine], *, truth: int = 0) -> LineColumns:
    """The columns that fit these lines; `truth` is the width of the column with ground truth."""
    return LineColumns(
        max((line.label.cell_len for line in lines if line.node), default=0),
        truth,
        max((line.judged.cell_len for line in lines), default=0),
    )


def line_text(
    line: TreeLine, columns: LineColumns, right: bool | None, change: Text | None
) -> Text:
    """A line in columns: label, ground truth, marks, and the change; a fault has its reason instead."""
    if line.fault is not None:
        return line.label.copy().append(f" {_reason(line.fault)}", style=PALETTE["fault"])
    cells = [(line.label, columns.label), (truth_mark(right), columns.truth)]
    text = Text(" ").join(
        [_padded(cell, width) for cell, width in cells if width]
        + [_padded(line.judged, columns.judged)]
    )
    if line.node and is_supplied(line.node):
        text.append("  supplied", style=PALETTE["note"])
    return text.append("  ").append_text(change) if change else text


def _padded(cell: Text, width: int) -> Text:
    padded = cell.copy()
    padded.pad_right(max(width - cell.cell_len, 0))
    return padded


def truth_mark(right: bool | None) -> Text:
    """The glyph of ground truth; a space where it is unknown."""
    if right is None:
        return Text(" ")
    return Text().append(TRUTH[right], style=PALETTE["pass" if right else "fail"])


def node_change(tree: SearchTree, node: Node, width: int) -> Text:
    """What changed against the parent, or the beginning of a draft, in about `width` cells."""
    parent = parent_of(tree, node)
    if parent is None:
        return Text(one_line(node.response, width))
    if parent.response == node.response:
        return Text("no change", style=PALETTE["note"])
    pieces = word_diff(parent.response, node.response, steps=_CHANGE_STEPS)
    return change_text(pieces, width)


def is_supplied(node: Node) -> bool:
    """Whether this root was supplied to the search instead of generated by it."""
    return node.parent is None and (node.usage - node.judge_usage).calls == 0


def judged_text(judgement: Judgement | None, gate: float) -> Text:
    """A mark for each constraint and each vote: `✓✗ ✓✓✗`; `✓ 0.73` where the judge gave a probability or points."""
    if judgement is None:
        return Text("not judged", style=PALETTE["unjudged"])
    parts = [_marks([finding.met for finding in judgement.findings])] if judgement.findings else []
    if judgement.probability is not None:
        passed = judgement.probability > gate
        mark = Text().append(f"{VOTES[passed]} ", style=_VOTE_STYLES[passed])
        parts.append(mark.append(f"{judgement.probability:.2f}"))
    elif judgement.verdicts:
        parts.append(_marks(judgement.verdicts))
    return Text(" ").join(parts)


def votes_text(judgement: Judgement) -> Text:
    """The score and the votes: `0.60  3/5 ✓✓✗✓✗`, `P(yes)` with a probability, or `points 4 3 -`.

    What programs found comes first: `0.67  2/3 met ✓✓✗`.
    """
    text = Text(f"{judgement.score:.2f}  ")
    if judgement.findings:
        text.append(f"{judgement.num_met}/{len(judgement.findings)} met ")
        for finding in judgement.findings:
            text.append(VOTES[finding.met], style=_VOTE_STYLES[finding.met])
        if not judgement.has_votes:
            return text
        text.append("  ")
    if judgement.points:
        text.append("points " + " ".join("-" if p is None else f"{p:g}" for p in judgement.points))
    elif judgement.probability is not None:
        text.append("P(yes) ")
    else:
        text.append(f"{judgement.num_yes}/{judgement.num_parsed} ")
    for verdict in judgement.verdicts:
        text.append(VOTES[verdict], style=_VOTE_STYLES[verdict])
    return text


def _marks(verdicts: Sequence[bool | None]) -> Text:
    if len(verdicts) > MAX_MARKS:
        num_yes = sum(verdict is True for verdict in verdicts)
        return Text(f"{num_yes}/{len(verdicts)}")
    return Text.assemble(*((VOTES[each], _VOTE_STYLES[each]) for each in verdicts))


def _line(tree: SearchTree, shape: TreeLayout, step: Step) -> TreeLine:
    label = Text().append(_guides(step.trail, step.depth), style=PALETTE["guide"])
    node = None if step.position is None else tree.nodes[step.position]
    if node is None:
        label.append("!", style=PALETTE["fault"])
        return TreeLine(None, step.fault, step.depth, label, Text())
    answer, on_path = step.position == shape.selected, step.position in shape.path
    label.append(
        f"{'★' if answer else '●' if on_path else '○'} #{node.id}",
        style=PALETTE["answer"] if on_path else "",
    )
    judged = judged_text(node.judgement, tree.gate)
    return TreeLine(node, None, step.depth, label, judged)


def _reason(fault: Fault) -> str:
    return f"{fault.stage} failed: {one_line(fault.reason, _REASON)}"


def _guides(trail: tuple[bool, ...], depth: int) -> str:
    if not trail:
        return ""
    above = "".join("   " if last else "│  " for last in trail[:-1])
    more = f"⋯{depth - len(trail)} " if depth > len(trail) else ""
    return f"{more}{above}{'└─ ' if trail[-1] else '├─ '}"
