"""Trees as table rows, and the status line of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from rich.text import Text

from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.rows import Category, Filter, IndexProgress, RowCounts, Sort, TreeRow
from tui.widgets.bars import abbreviate
from tui.widgets.choices import Choice
from tui.widgets.table import Column

COLUMNS = (
    Column("number", "#", 6, right=True),
    Column("prompt", "prompt", 0),
    Column("stop", "stop", 9),
    Column("score", "score", 5, right=True),
    Column("nodes", "nodes", 5, right=True),
    Column("depth", "depth", 5, right=True),
    Column("tokens", "tokens", 6, right=True),
    Column("faults", "faults", 6, right=True),
    Column("seconds", "secs", 7, right=True, from_width=100),
    Column("truth", "truth", 6),
)
"""Names are those of `tui.index.rows.SortKey`."""
KINDS: tuple[Category, ...] = get_args(Category)
"""The categories of the keys 1 to 5."""
_STYLES = {"solved": "pass", "exhausted": "fail", "budget": "fail"}
_TITLE = 300


def tree_cells(row: TreeRow) -> Mapping[str, Text]:
    """The cells of a row; one that is not a tree shows the reason."""
    number = Text(str(row.number + 1))
    if row.error is not None:
        why = Text(f"! {one_line(row.error, _TITLE)}", style=PALETTE["fault"])
        return {"number": number, "prompt": why, "stop": Text("no tree", style=PALETTE["fault"])}
    stop = row.stop or ""
    return {
        "number": number,
        "prompt": Text(one_line(row.title, _TITLE)),
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
    numbers = (counts.rows, counts.solved, counts.unsolved, counts.faults, counts.judge_wrong)
    return [
        Choice(kind, kind.replace("-", " "), number)
        for kind, number in zip(KINDS, numbers, strict=True)
    ]


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
