"""One prompt in two runs, as sections: the diff of the answers, then each answer and its tree."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from spar.types import SearchTree
from spar.view.diff import Piece, diff_text, word_diff
from spar.view.layout import layout_of
from spar.view.node_detail import SHOWN, Section
from spar.view.palette import PALETTE
from spar.view.text import one_line, safe_text
from spar.view.tree_lines import tree_lines
from tui.compare.comparison import PromptPair
from tui.tables.comparison import WORDS, side_text

Trees = tuple[SearchTree | str, SearchTree | str]
"""The tree of each side, or the reason why there is none."""
LETTERS = ("A", "B")
NAME_WIDTH = 60
"""Cells of a run's name above its answer, at most."""
_PROMPT = 1000
_SNIPPET = 40
_STYLES = {"removed": PALETTE["left"], "added": PALETTE["right"]}


def pair_title(pair: PromptPair, trees: Trees) -> Text:
    """The prompt's id, the outcome, and the prompt's last turn."""
    word, style = WORDS[pair.outcome]
    title = Text(one_line(pair.left.prompt_id, 60), style=PALETTE["head"])
    title.append("  passes: ", style=PALETTE["note"]).append(word, style=PALETTE[style])
    turns = [tree.prompt.messages[-1].content for tree in trees if isinstance(tree, SearchTree)]
    return title.append(f"\n{one_line(turns[0], _PROMPT)}" if turns else "", style="not bold")


def pair_sections(
    pair: PromptPair,
    trees: Trees,
    names: tuple[str, str],
    *,
    width: int = 80,
    colour: bool = True,
) -> tuple[list[Section], list[Section], list[Section]]:
    """The sections of the diff, of the left side, and of the right side; trees are drawn in `width` cells."""
    rows = (pair.left, pair.right)
    sides = []
    for letter, name, row, tree in zip(LETTERS, names, rows, trees, strict=True):
        verdict = side_text(row, by_truth=pair.by_truth).plain
        score = "" if row.score is None else f", score {row.score:.2f}"
        head = f"{letter}  {one_line(name, NAME_WIDTH)}  {verdict}{score}"
        sides.append(list(_side(letter, head, tree, width)))
    return _change(trees, colour=colour), sides[0], sides[1]


def answer_of(tree: SearchTree | str) -> str | None:
    """A tree's answer; None without an answer or a tree."""
    if isinstance(tree, str):
        return None
    selected = layout_of(tree).selected
    return None if selected is None else tree.nodes[selected].response


def legend(*, colour: bool) -> Text:
    """How the diff marks text of only one answer."""
    pieces = [Piece("removed", "only in A"), Piece("same", " "), Piece("added", "only in B")]
    return diff_text(pieces, colour=colour, styles=_STYLES)


def _change(trees: Trees, *, colour: bool) -> list[Section]:
    left, right = map(answer_of, trees)
    if left is None or right is None:
        return [_note("From A to B", "one of the two has no answer")]
    if left == right:
        return [_note("From A to B", "the answers are the same")]
    pieces = word_diff(left, right)
    body = diff_text(pieces, colour=colour, limit=SHOWN, styles=_STYLES)
    plain = diff_text(pieces, colour=False).plain
    return [Section("From A to B", body, plain, tuple(pieces))]


def _side(letter: str, head: str, tree: SearchTree | str, width: int) -> Iterator[Section]:
    if isinstance(tree, str):
        yield Section(head, safe_text(tree, PALETTE["fault"]), tree)
        return
    answer = answer_of(tree)
    if answer is None:
        yield _note(head, "no answer")
    else:
        yield Section(head, safe_text(answer, limit=SHOWN), answer)
    drawn = [line.text.copy() for line in tree_lines(tree, snippet=_SNIPPET)]
    for line in drawn:
        line.truncate(width, overflow="ellipsis")
    lines = Text("\n").join(drawn)
    yield Section(f"{letter}'s tree", lines, lines.plain)


def _note(title: str, note: str) -> Section:
    return Section(title, Text(note, style=PALETTE["note"]), "")
