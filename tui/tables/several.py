"""The comparison of several runs: a table of prompts and runs, and how the runs stand, a line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from spar.record.outcomes import pluralize
from spar.record.standing import Standing
from spar.view.palette import PALETTE
from spar.view.text import one_line, run_letter
from tui.compare.several import PromptCounts, PromptFilter, PromptLine
from tui.index.rows import TreeRow
from tui.tables.comparison import few_prompts_text, other_content_text
from tui.widgets.bars import basis_text
from tui.widgets.table import Column, cut_apart

FILTER_NAMES: Mapping[PromptFilter, str] = {
    "all": "all",
    "flips": "flips",
    "every": "all pass",
    "none": "none passes",
    "one": "only one passes",
}
_TITLE = 300
_NUMBER, _RUN, _PROMPT = 6, 8, 24
"""Widths of the columns; that of the prompt at the least."""
_SHARE, _CHANGE = 22, 22
"""Widths of a share and of a change with their intervals."""
_POINTS, _P = 7, 12
"""Widths of a change without its interval, and of p."""
_WIDE = 100
"""Width from which the interval of a change is shown."""


def runs_that_fit(width: int) -> int:
    """Columns of runs that fit into a table of this width beside number and prompt."""
    return max((width - _NUMBER - _PROMPT - 3) // (_RUN + 1), 1)


def columns(first: int, number: int, selected: int) -> tuple[Column, ...]:
    """The table's columns: so many runs from the first on, the selected one marked."""
    runs = [
        Column(f"run-{at}", f"{'▾ ' if at == selected else '  '}{run_letter(at)}", _RUN)
        for at in range(first, first + number)
    ]
    return (
        Column("number", "#", _NUMBER, right=True),
        Column("prompt", "prompt", 0),
        *runs,
    )


def prompt_cells(position: int, line: PromptLine, selected: int) -> Mapping[str, Text]:
    """A row of the table: each run's result, that of the selected run in bold."""
    first = line.rows[0]
    cells = {
        "number": Text(str(position + 1)),
        "prompt": Text(one_line(first.title or first.prompt_id, _TITLE)),
    }
    for at, row in enumerate(line.rows):
        passed = None if line.passes is None else line.passes[at]
        cell = _result(row, passed)
        if at == selected:
            cell.stylize(PALETTE["head"])
        cells[f"run-{at}"] = cell
    return cells


def standings_text(
    names: Sequence[str], standings: Sequence[Standing] | None, selected: int, width: int
) -> Text:
    """How the runs stand: letter, name, share that passes, and the change against the first with p."""
    lines = []
    room = width - 4
    if standings:
        room -= _SHARE + 3 + (_CHANGE + _P if width >= _WIDE else _POINTS + _P)
    for at, cut in enumerate(cut_apart(names, max(room, 8))):
        line = Text(f"{'▸' if at == selected else ' '}{run_letter(at)}  ", PALETTE["head"])
        cut.pad_right(max(room - cut.cell_len, 0))
        line.append_text(cut)
        if standings:
            line.append_text(_standing(standings[at], width))
        lines.append(line)
    if standings and standings[1].change:
        why = "   shares with 95 % intervals; changes against A, p of McNemar's test adjusted by Holm's method"
        lines.append(Text(why if width >= _WIDE else why.replace("; ", ";\n   "), PALETTE["note"]))
    return Text("\n").join(lines)


def _standing(standing: Standing, width: int) -> Text:
    low, high = (100 * end for end in standing.interval)
    share = f"{100 * standing.share:.1f} % ({low:.1f} to {high:.1f})"
    text = Text(f"  {share:<{_SHARE}} ")
    change = standing.change
    if change is None:
        return text
    p, points = change.reported_p, f"{100 * change.value:+.1f}"
    if width < _WIDE:
        return text.append(f"{points:>{_POINTS}}  p {p:.2g}")
    if change.interval_text:
        points += f" ({change.interval_text})"
    return text.append(f"{points:<{_CHANGE}}  p {p:.2g}")


def prompt_counts_text(counts: PromptCounts) -> Text:
    """How many prompts are compared, by what, and what is left out."""
    line = few_prompts_text(counts.shared, "all runs") if counts.done else Text()
    if not line:
        line = Text(f"{pluralize(counts.shared, 'prompt')} in all runs")
    line.append(", ")
    if counts.known:
        line.append(f"{counts.known:,} compared ").append(basis_text(counts.by_truth, counts.known))
    else:
        line.append("none judged in all")
    if counts.alone:
        line.append(f"; not in all {counts.alone:,}", style=PALETTE["note"])
    line.append_text(other_content_text(counts.other_content))
    if not counts.done:
        line.append("; reading", style=PALETTE["note"])
    return line


def _result(row: TreeRow, passed: bool | None) -> Text:
    if row.error is not None:
        return Text("! ", style=PALETTE["fault"])
    score = "" if row.score is None else f" {row.score:.2f}"
    if passed is None:
        return Text(f"?{score}", style=PALETTE["unjudged"])
    return Text(f"{'✓' if passed else '✗'}{score}", style=PALETTE["pass" if passed else "fail"])
