"""Two runs side by side as rows of a table and as one line: pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.compare.comparison import Kind, Outcome, Pair, Tally, is_judged
from tui.index.rows import TreeRow
from tui.widgets.table import Column

# fmt: off
COLUMNS = (
    Column("number", "#", 6, right=True),
    Column("prompt", "prompt", 0),
    Column("left", "A", 8),
    Column("left_score", "score", 5, right=True),
    Column("right", "B", 8),
    Column("right_score", "score", 5, right=True),
    Column("outcome", "passes", 8),
    Column("by", "by", 7, from_width=100),
)
# fmt: on
_TITLE = 300
WORDS: Mapping[Outcome, tuple[str, str]] = {
    "unread": ("…", "note"),
    "unknown": ("?", "note"),
    "both": ("both", "pass"),
    "left": ("A only", "head"),
    "right": ("B only", "head"),
    "neither": ("neither", "fail"),
}
"""Who passes, and the meaning of its colour."""
KIND_NAMES: Mapping[Kind, str] = {
    "all": "all",
    "flips": "flips",
    **{kind: WORDS[kind][0] for kind in ("left", "right", "both", "neither")},
}
"""What a person calls a kind."""


def compare_cells(place: int, pair: Pair) -> Mapping[str, Text]:
    """A row of the table."""
    word, style = WORDS[pair.outcome]
    title = pair.left.title or pair.right.title or pair.left.prompt_id
    return {
        "number": Text(str(place + 1)),
        "prompt": Text(one_line(title, _TITLE)),
        "left": side_text(pair.left, by_truth=pair.by_truth),
        "left_score": _score(pair.left),
        "right": side_text(pair.right, by_truth=pair.by_truth),
        "right_score": _score(pair.right),
        "outcome": Text(word, style=PALETTE[style]),
        "by": Text("" if pair.outcome == "unknown" else "truth" if pair.by_truth else "judge"),
    }


def side_text(row: TreeRow, *, by_truth: bool) -> Text:
    """What one side came to, in a word."""
    if row.error is not None:
        return Text("! broken", style=PALETTE["fault"])
    if by_truth:
        return _yes_no(bool(row.truth), "✓ right", "✗ wrong")
    if not is_judged(row):
        return Text("unjudged", style=PALETTE["unjudged"])
    return _yes_no(row.stop == "solved", "✓ solved", "✗ failed")


def tally_text(tally: Tally) -> Text:
    """How two runs compare, on one line."""
    line = Text()
    if tally.known:
        both, left, right = (tally.outcomes[name] for name in ("both", "left", "right"))
        line.append(
            f"A {_percent(both + left, tally.known)}  B {_percent(both + right, tally.known)}"
        )
        line.append(f" of {tally.known:,}, ").append(_basis(tally))
    else:
        line.append(f"{tally.shared:,} prompts in both runs, none that both were judged on")
    if tally.left_alone or tally.right_alone:
        alone = f"; only in A {tally.left_alone:,}, only in B {tally.right_alone:,}"
        line.append(alone, style=PALETTE["note"])
    if not tally.done:
        line.append(f"; {tally.outcomes['unread']:,} still to be read", style=PALETTE["note"])
    return line


def _basis(tally: Tally) -> str:
    if not tally.by_truth:
        return "by the judge"
    if tally.by_truth == tally.known:
        return "by ground truth"
    return f"{tally.by_truth:,} by ground truth, the others by the judge"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _yes_no(passed: bool, yes: str, no: str) -> Text:
    return Text(yes, style=PALETTE["pass"]) if passed else Text(no, style=PALETTE["fail"])


def _score(row: TreeRow) -> Text:
    return Text("-" if row.score is None else f"{row.score:.2f}")
