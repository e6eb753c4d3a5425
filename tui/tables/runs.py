"""Run summaries as table rows and as lines of details."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from rich.table import Table as Grid
from rich.text import Text

from spar.record.outcomes import pluralize
from spar.record.run_names import path_labels
from spar.store import MANIFEST
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.run_rows import models_text
from tui.index.run_summary import RunSummary, read_run
from tui.index.scores import MetricHistory, MetricValue
from tui.tables.run_lines import RunLine
from tui.tables.run_texts import cell_texts, percent, run_name, strategy_text
from tui.widgets.bars import history_text, metric_text
from tui.widgets.table import Column

COLUMNS = (
    Column("mark", "", 1, sortable=False),
    Column("name", "run", 0, cut_middle=True),
    Column("state", "state", 12),
    Column("strategy", "strategy", 12, from_width=74),
    Column("prompts", "prompts", 12, from_width=124, cut_middle=True),
    Column("model", "model", 16, from_width=96, cut_middle=True),
    Column("judge", "judge", 9, from_width=136),
    Column("trees", "trees", 7, right=True),
    Column("solved", "solved", 7, right=True, from_width=146),
    Column("pass", "passes", 15, right=True),
    Column("error", "±", 5, from_width=156),
    Column("cost", "cost", 8, right=True),
    Column("date", "started", 16, from_width=112),
)
"""Those that do not fit in 80 cells are in `run_detail` too."""
_STATES = {
    "running": ("●", "answer"),
    "finished": ("✓", "pass"),
    "stopped": ("■", "fault"),
    "broken": ("✗", "fail"),
}
_ITERATION = re.compile(r"^iteration-(\d+)/")
_NAME = 200
"""Cells of a text in a row, at most."""
_DETAIL = 10_000
"""Cells of a line of `run_detail`, at most: all of it but for a damaged file."""
_LABEL = 12
"""Cells of the labels of `detail_grid`."""


def run_cells(
    line: RunLine, labels: Mapping[Path, str], *, marked: bool, now: datetime | None = None
) -> Mapping[str, Text]:
    """The cells of a run; `now` is the time for which the time left is computed."""
    run = line.run
    glyph, style = _STATES[run.state]
    texts = cell_texts(run, now)
    cells = {name: Text(one_line(value, _NAME)) for name, value in texts.items()}
    state = Text(f"{glyph} {texts['state']}", style=PALETTE[style])
    mark = Text("*" if marked else "")
    return {**cells, "mark": mark, "name": name_cell(line, labels), "state": state}


def run_detail(run: RunSummary) -> list[tuple[Text, Text]]:
    """What a run is, as labels and texts: models, prompts, outcome, metrics, and why it is not finished."""
    return [
        (Text(label, PALETTE["note"]), Text(one_line(value, _DETAIL), style))
        for label, value, style in _details(run)
    ]


def detail_grid(details: Sequence[tuple[Text, Text]]) -> Grid:
    """Details below each other; a text that is too long for its line goes on beside its label."""
    grid = Grid.grid(padding=(0, 0))
    grid.add_column(width=_LABEL)
    grid.add_column(overflow="fold")
    for label, text in details:
        grid.add_row(label, text)
    return grid


def run_title(path: Path, paths: Sequence[Path]) -> Text:
    """The name of a run below these paths, and what it is: strategy, model, judge and prompts, unless it is a file of trees."""
    name = one_line(run_name(path, path_labels(paths)), _NAME)
    title = Text.assemble(("spar  ", PALETTE["note"]), (name, PALETTE["head"]))
    run = read_run(path) if (path / MANIFEST).is_file() else None
    if run is None:
        return title
    judge = f"judge {run.judge}" if run.judge else ""
    parts = [part for part in (strategy_text(run), models_text(run), judge, run.prompts) if part]
    return title.append(f"  {one_line(', '.join(parts), _NAME)}", style=PALETTE["note"])


def name_cell(line: RunLine, labels: Mapping[Path, str]) -> Text:
    """The name of a run, indented below the run that it is a stage of; `▸` has stages that are folded."""
    run = line.run
    above = {run.parent: "", **labels} if line.level and run.parent else labels
    fold = ("▾ " if line.is_open else "▸ ") if line.num_stages else "  "
    text = Text("  " * line.level)
    text.append(fold, style=PALETTE["guide"])
    name = run_name(run.directory, above)
    # The number says it: below its loop, the width of the column is for the stage.
    name = _ITERATION.sub(r"\1/", name) if line.level else name
    return text.append(one_line(name, _NAME))


def _details(run: RunSummary) -> Iterator[tuple[str, str, str]]:
    if reasons := "; ".join(_reasons(run)):
        yield "state", reasons, PALETTE["note" if run.state == "finished" else "fault"]
    if outcome := ", ".join(_outcome(run)):
        yield "outcome", outcome, PALETTE["head"]
    if run.metrics:
        yield "scores", ", ".join(map(_history, run.metrics)), ""
    if what := ", ".join(_what(run)):
        yield run.kind, what, ""
    if run.models:
        by_model: dict[str, list[str]] = {}
        for role, model in run.models:
            by_model.setdefault(model, []).append(role)
        yield "models", ", ".join(f"{m} ({', '.join(r)})" for m, r in by_model.items()), ""
    yield "folder", str(run.directory), ""


def _what(run: RunSummary) -> Iterator[str]:
    if strategy := strategy_text(run):
        yield strategy
    if run.prompts:
        yield f"{run.prompts} prompts"
    if run.judge:
        yield f"judge {run.judge}"
    if run.date:
        yield f"started {run.date[:16].replace('T', ' ')}"


def _outcome(run: RunSummary) -> Iterator[str]:
    if run.truth is not None and not run.metrics:
        after = metric_text(MetricValue(run.truth, run.error))
        yield f"passes {percent(run.before)} → {after}" if run.before is not None else after
    if run.unjudged:
        yield "no judge was called"
    elif run.solved is not None:
        yield f"solved {percent(run.solved)}"
    if run.tokens_each is not None and run.trees:
        calls = f" and {run.calls / run.trees:,.1f} calls" if run.calls else ""
        yield f"{run.tokens_each:,.0f} tokens{calls} a prompt"


def _history(metric: MetricHistory) -> str:
    return f"{metric.name} {history_text(metric)}"


def _reasons(run: RunSummary) -> Iterator[str]:
    if run.reason:
        yield run.reason
    if run.state == "stopped" and run.trees is not None and run.expected is None:
        yield pluralize(run.trees, "tree")
    if run.state == "stopped" and run.kind != "training":
        yield f"to resume, run its command again with --out {run.directory}"
    if times := sum(bool(start.done) for start in run.starts):
        yield f"resumed {pluralize(times, 'time')}"
