"""The comparison of two runs as table rows and as a status line."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from spar.record.outcomes import pluralize
from spar.record.standing import PairedChange
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.compare.comparison import Outcome, OutcomeCounts, PairFilter, PromptPair
from tui.index.rows import TreeRow
from tui.widgets.bars import basis_text
from tui.widgets.table import Column

# fmt: off
COLUMNS = (
    Column("number", "#", 6, right=True),
    Column("prompt", "prompt", 0),
    Column("left", "A", 9),
    Column("left_score", "score", 5, right=True),
    Column("right", "B", 9),
    Column("right_score", "score", 5, right=True),
    Column("outcome", "passes", 8),
    Column("by", "by", 7, from_width=100),
)
# fmt: on
_TITLE = 300
FEW_PROMPTS = 20
"""Fewer shared prompts than these are warned about: a few flips decide everything."""
WORDS: Mapping[Outcome, tuple[str, str]] = {
    "unread": ("…", "note"),
    "unknown": ("?", "note"),
    "both": ("both", "pass"),
    "left": ("A only", "left_name"),
    "right": ("B only", "right_name"),
    "neither": ("neither", "fail"),
}
"""Outcome to its word and its key in the palette."""
FILTER_NAMES: Mapping[PairFilter, str] = {
    "all": "all",
    "flips": "flips",
    **{kind: WORDS[kind][0] for kind in ("left", "right", "both", "neither")},
}
"""Names of the filters."""


def pair_cells(position: int, pair: PromptPair) -> Mapping[str, Text]:
    """A row of the table."""
    word, style = WORDS[pair.outcome]
    title = pair.left.title or pair.right.title or pair.left.prompt_id
    return {
        "number": Text(str(position + 1)),
        "prompt": Text(one_line(title, _TITLE)),
        "left": side_text(pair.left, by_truth=pair.by_truth),
        "left_score": _score(pair.left),
        "right": side_text(pair.right, by_truth=pair.by_truth),
        "right_score": _score(pair.right),
        "outcome": Text(word, style=PALETTE[style]),
        "by": Text("" if pair.outcome == "unknown" else "truth" if pair.by_truth else "judge"),
    }


def side_text(row: TreeRow, *, by_truth: bool) -> Text:
    """The result of one side, in a word."""
    if row.error is not None:
        return Text("! broken", style=PALETTE["fault"])
    if by_truth:
        return _yes_no(bool(row.truth), "✓ correct", "✗ wrong")
    if not row.is_judged:
        return Text("unjudged", style=PALETTE["unjudged"])
    return _yes_no(row.stop == "solved", "✓ solved", "✗ failed")


def counts_text(counts: OutcomeCounts) -> Text:
    """The comparison of two runs on one line."""
    line = few_prompts_text(counts.shared, "both") if counts.done else Text()
    line.append("  " if line else "")
    if counts.judged:
        both, left, right = (counts.outcomes[name] for name in ("both", "left", "right"))
        line.append(
            f"A {_percent(both + left, counts.judged)}  B {_percent(both + right, counts.judged)}"
        )
        line.append(f" of {counts.judged:,}, ").append(basis_text(counts.by_truth, counts.judged))
    else:
        line.append(f"{counts.shared:,} prompts in both runs, none judged in both")
    if counts.left_only or counts.right_only:
        alone = f"; only in A {counts.left_only:,}, only in B {counts.right_only:,}"
        line.append(alone, style=PALETTE["note"])
    line.append_text(other_content_text(counts.other_content))
    if not counts.done:
        line.append(f"; {counts.outcomes['unread']:,} not read yet", style=PALETTE["note"])
    return line


def other_content_text(num_prompts: int) -> Text:
    """How many prompts are left out since runs have their ids for other prompts; empty without one."""
    text = f"; same id, other content {num_prompts:,}" if num_prompts else ""
    return Text(text, style=PALETTE["fault"])


def few_prompts_text(num_prompts: int, where: str) -> Text:
    """A warning where few prompts are shared, to begin a line with, whose end may be cut; empty where there are many."""
    few = num_prompts < FEW_PROMPTS
    text = f"! only {pluralize(num_prompts, 'prompt')} in {where}" if few else ""
    return Text().append(text, style=PALETTE["fault"])


def change_text(change: PairedChange | None) -> Text:
    """How much more often B passes, and whether chance explains it."""
    text = Text()
    if change is not None:
        text.append("B - A  ", style=PALETTE["head"]).append(f"{100 * change.value:+.1f} points")
        if change.interval_text:
            text.append(f" (95 % interval {change.interval_text})")
        text.append(f", McNemar p = {change.p:.2g}")
    return text


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _yes_no(passed: bool, yes: str, no: str) -> Text:
    return Text(yes, style=PALETTE["pass"]) if passed else Text(no, style=PALETTE["fail"])


def _score(row: TreeRow) -> Text:
    return Text("-" if row.score is None else f"{row.score:.2f}")
