"""Trees as table rows, and the status line of a run."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from spar.record.marks import Mark
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.rows import Category, Filter, IndexProgress, RowCounts, Sort, TreeRow
from tui.run_view import NOTED, STARRED, Match, searched_text
from tui.tables.dashboard import short_type
from tui.widgets.bars import abbreviate
from tui.widgets.choices import Choice
from tui.widgets.table import Column

COLUMNS = (
    Column("number", "#", 6, right=True),
    Column("prompt", "prompt", 0),
    Column("stop", "ended", 10),
    Column("score", "score", 6, right=True),
    Column("nodes", "nodes", 6, right=True),
    Column("depth", "depth", 6, right=True, from_width=90),
    Column("tokens", "tokens", 7, right=True),
    Column("faults", "faults", 7, right=True, from_width=78),
    Column("seconds", "seconds", 8, right=True, from_width=110),
    Column("truth", "truth", 11),
    Column("failing", "fails", 30, from_width=150, sortable=False),
)
"""Names of those that are sortable are those of `tui.index.rows.SortKey`."""
_TITLES = {column.name: column.title for column in COLUMNS if column.name != "number"}
"""Column to what it is called on the screen."""
_KINDS: Mapping[Category, tuple[int, str]] = {
    "all": (1, "all"),
    "solved": (2, "solved"),
    "unsolved": (3, "unsolved"),
    "passed": (2, "passed"),
    "failed": (3, "failed"),
    "fixed": (4, "fixed"),
    "broken": (5, "broken"),
    "judge-wrong": (6, "judge wrong"),
    "faults": (7, "faults"),
    "unjudged": (8, "not judged"),
    "no-tree": (9, "no tree"),
    "starred": (0, "✱ starred"),
}
"""Category to the key that shows it, and its name."""
_JUDGED: frozenset[Category] = frozenset({"solved", "unsolved"})
"""Categories of runs with a judge."""
_CHECKED: frozenset[Category] = frozenset({"passed", "failed"})
"""Those in their place, for runs without a judge."""
_NEAR, _BEFORE = 24, 12
"""A match further than `_NEAR` characters from the start is shown with `_BEFORE` characters before it."""
_STYLES = {"solved": "pass", "exhausted": "fail", "budget": "fail"}
_ENDED = {"exhausted": "all tried", "budget": "budget"}
"""How a search ended, where its word in the record needs the manual: the strategy had nothing left to try."""
_TITLE = 300


def tree_cells(row: TreeRow, match: Match | None = None, mark: Mark = Mark()) -> Mapping[str, Text]:
    """The cells of a row, with what a search matched; one that is not a tree shows the reason."""
    number = Text(str(row.number + 1))
    if row.error is not None:
        why = Text(f"! {one_line(row.error, _TITLE)}", style=PALETTE["fault"])
        return {"number": number, "prompt": why, "stop": Text("no tree", style=PALETTE["fault"])}
    stop = (row.stop or "") if row.is_judged else "not judged"
    title = match_text(match) if match else Text(one_line(row.title, _TITLE))
    is_in_note = match is not None and match.where == NOTED
    return {
        "number": number,
        "prompt": mark_text(mark, has_note=not is_in_note).append_text(title),
        "stop": Text(_ENDED.get(stop, stop), style=PALETTE[_STYLES.get(stop, "unjudged")]),
        "score": Text("-" if row.score is None else f"{row.score:.2f}"),
        "nodes": Text(abbreviate(row.num_nodes)),
        "depth": Text(abbreviate(row.depth)),
        "tokens": Text(abbreviate(row.tokens)),
        "faults": Text(f"! {row.faults}", style=PALETTE["fault"]) if row.faults else Text(""),
        "seconds": Text(f"{row.seconds:.1f}"),
        "truth": _truth(row),
        "failing": Text(", ".join(map(short_type, row.failing))),
    }


def mark_text(mark: Mark, *, has_note: bool = True) -> Text:
    """The glyphs of a star and of a note; empty without a mark."""
    text = f"{STARRED if mark.star else ''}{NOTED if mark.note and has_note else ''}"
    return Text().append(text, style=PALETTE["mark"])


def kind_choices(counts: RowCounts, shown: Category = "all", num_starred: int = 0) -> list[Choice]:
    """The categories with their numbers of trees, without those that have none; the one that is shown is among them."""
    numbers: Mapping[Category, int] = {
        "all": counts.rows,
        "solved": counts.solved,
        "unsolved": counts.unsolved,
        "passed": counts.answers_passed,
        "failed": counts.answers_failed,
        "fixed": counts.fixed,
        "broken": counts.regressed,
        "judge-wrong": counts.judge_wrong,
        "faults": counts.faults,
        "unjudged": counts.unjudged,
        "no-tree": counts.broken,
        "starred": num_starred,
    }
    outcomes, others = _outcomes(counts), _other_outcomes(counts)
    return [
        Choice(kind, name, numbers[kind], key)
        for kind, (key, name) in _KINDS.items()
        if kind in (*outcomes, "all", shown) or (numbers[kind] and kind not in others)
    ]


def kind_of(key: int, counts: RowCounts) -> Category:
    """The category that a key shows."""
    others = _other_outcomes(counts)
    return next(kind for kind, (own, _) in _KINDS.items() if own == key and kind not in others)


def _outcomes(counts: RowCounts) -> frozenset[Category]:
    """The two categories of how searches ended: by the judge, or by ground truth where nothing was judged."""
    nothing_judged = 0 < counts.rows == counts.unjudged
    return _CHECKED if nothing_judged and counts.answers_passed + counts.answers_failed else _JUDGED


def _other_outcomes(counts: RowCounts) -> frozenset[Category]:
    """The two categories that this run does not have."""
    return (_JUDGED | _CHECKED) - _outcomes(counts)


def kind_name(kind: Category) -> str:
    """The name of a category on the screen."""
    return _KINDS[kind][1]


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
    line = Text(f"{num_shown:,} of {progress.rows - progress.replaced:,} trees")
    if sort != Sort("number"):
        line.append(f", by {_TITLES.get(sort.key, sort.key)} {'↓' if sort.descending else '↑'}")
    if shown.constraint:
        line.append(", failing ").append(short_type(shown.constraint), style=PALETTE["head"])
    if shown.text:
        slash = "regex" if shown.regex else "text"
        line.append(f", {slash} ").append(one_line(shown.text, 40), style=PALETTE["head"])
        if progress.problem:
            line.append(f": {one_line(progress.problem, 200)}", style=PALETTE["fault"])
        elif searched_text(shown) and progress.searched < progress.rows:
            line.append(f" ({_percent(progress.searched, progress.rows)} searched)")
    if not progress.done:
        if progress.bytes_read < progress.bytes_total:
            line.append(f", reading {_percent(progress.bytes_read, progress.bytes_total)}")
        else:
            line.append(f", summarising {_percent(progress.summarised, progress.rows)}")
        line.append(f" of {progress.bytes_total / 1e6:,.0f} MB", style=PALETTE["note"])
    return line


def _truth(row: TreeRow) -> Text:
    """Ground truth, what the search changed by it, and `!` if the judge disagrees."""
    if row.truth is None:
        return Text("")
    same = "yes" if row.truth else "no"
    name = row.change if row.change in ("fixed", "broken") else same
    text = Text(f"{'✓' if row.truth else '✗'} {name}", PALETTE["pass" if row.truth else "fail"])
    return text.append("!", style=PALETTE["fault"]) if row.judge_wrong else text


def _percent(part: int, whole: int) -> str:
    return f"{100 * part // whole if whole else 100} %"
