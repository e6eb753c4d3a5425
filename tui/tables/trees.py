"""Trees as table rows, and the status line of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from rich.text import Text

from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.rows import Category, Filter, IndexProgress, RowCounts, Sort, TreeRow
from tui.run_view import Match
from tui.widgets.bars import abbreviate
from tui.widgets.choices import Choice
from tui.widgets.table import Column

COLUMNS = (
    Column("number", "#", 6, right=True),
    Column("prompt", "prompt", 0),
    Column("stop", "stop", 10),
    Column("score", "score", 6, right=True),
    Column("nodes", "nodes", 6, right=True),
    Column("depth", "depth", 6, right=True, from_width=90),
    Column("tokens", "tokens", 7, right=True),
    Column("faults", "faults", 7, right=True),
    Column("seconds", "secs", 7, right=True, from_width=100),
    Column("truth", "truth", 6),
)
"""Names are those of `tui.index.rows.SortKey`."""
KINDS: tuple[Category, ...] = get_args(Category)
"""The categories, in the order of their keys."""
_KIND_NAMES: Mapping[Category, str] = {
    "judge-wrong": "judge wrong",
    "unjudged": "not judged",
    "broken": "no tree",
}
_IF_ANY: frozenset[Category] = frozenset({"unjudged", "broken"})
"""Categories that are shown only if there are such rows."""
_NEAR, _BEFORE = 24, 12
"""A match further than `_NEAR` characters from the start is shown with `_BEFORE` characters before it."""
_STYLES = {"solved": "pass", "exhausted": "fail", "budget": "fail"}
_TITLE = 300


def tree_cells(row: TreeRow, match: Match | None = None) -> Mapping[str, Text]:
    """The cells of a row, with what a search matched; one that is not a tree shows the reason."""
    number = Text(str(row.number + 1))
    if row.error is not None:
        why = Text(f"! {one_line(row.error, _TITLE)}", style=PALETTE["fault"])
        return {"number": number, "prompt": why, "stop": Text("no tree", style=PALETTE["fault"])}
    stop = (row.stop or "") if row.is_judged else "not judged"
    return {
        "number": number,
        "prompt": match_text(match) if match else Text(one_line(row.title, _TITLE)),
        "stop": Text(stop, style=PALETTE[_STYLES.get(stop, "unjudged")]),
        "score": Text("-" if row.score is None else f"{row.score:.2f}"),
        "nodes": Text(abbreviate(row.num_nodes)),
        "depth": Text(abbreviate(row.depth)),
        "tokens": Text(abbreviate(row.tokens)),
        "faults": Text(f"! {row.faults}", style=PALETTE["fault"]) if row.faults else Text(""),
        "seconds": Text(f"{row.seconds:.1f}"),
        "truth": _truth(row),
    }


def kind_choices(counts: RowCounts) -> list[Choice]:
    """The categories with their numbers of trees."""
    numbers: Mapping[Category, int] = {
        "all": counts.rows,
        "solved": counts.solved,
        "unsolved": counts.unsolved,
        "faults": counts.faults,
        "judge-wrong": counts.judge_wrong,
        "unjudged": counts.unjudged,
        "broken": counts.broken,
    }
    nothing_judged = 0 < counts.rows == counts.unjudged
    if_any = _IF_ANY | {"judge-wrong"} if nothing_judged else _IF_ANY
    return [
        Choice(kind, kind_name(kind), numbers[kind], key)
        for key, kind in enumerate(KINDS, start=1)
        if numbers[kind] or kind not in if_any
    ]


def kind_name(kind: Category) -> str:
    """The name of a category on the screen."""
    return _KIND_NAMES.get(kind, kind)


def match_text(match: Match) -> Text:
    """A match and the text around it, so that it can be seen in a narrow column."""
    start = match.start - _BEFORE if match.start > _NEAR else 0
    limits = ((start, match.start), (match.start, match.end), (match.end, match.end + _TITLE))
    before, matched, after = (
        one_line(match.text[first:end].replace("\n", " "), _TITLE) for first, end in limits
    )
    text = Text(f"{match.where}{'…' if start else ''}{before}")
    return text.append(matched, style=PALETTE["match"]).append(after)


def status(progress: IndexProgress, shown: Filter, sort: Sort, num_shown: int) -> Text:
    """The number of shown trees, the filter, the sort key, and the progress of the background work."""
    line = Text(f"{num_shown:,} of {progress.rows:,} trees")
    if sort != Sort("number"):
        line.append(f", by {sort.key} {'↓' if sort.descending else '↑'}")
    if shown.text:
        slash = "regex" if shown.regex else "text"
        line.append(f", {slash} ").append(one_line(shown.text, 40), style=PALETTE["head"])
        if progress.searched < progress.rows:
            line.append(f" ({_percent(progress.searched, progress.rows)} searched)")
    if not progress.done:
        if progress.bytes_read < progress.bytes_total:
            line.append(f", reading {_percent(progress.bytes_read, progress.bytes_total)}")
        else:
            line.append(f", summarising {_percent(progress.summarised, progress.rows)}")
        line.append(f" of {progress.bytes_total / 1e6:,.0f} MB", style=PALETTE["note"])
    return line


def _truth(row: TreeRow) -> Text:
    """Ground truth, with `!` if the judge disagrees."""
    if row.truth is None:
        return Text("")
    text = Text("✓ yes" if row.truth else "✗ no", style=PALETTE["pass" if row.truth else "fail"])
    return text.append("!", style=PALETTE["fault"]) if row.judge_wrong else text


def _percent(part: int, whole: int) -> str:
    return f"{100 * part // whole if whole else 100} %"
