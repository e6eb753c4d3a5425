"""A training run as the panes of its dashboard: stages, scores on a true axis, and the health of the loop.

The stages and their time left are those of `spar train status`, and so is the health.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from rich.cells import cell_len
from rich.text import Text

from spar.record.health import IterationHealth
from spar.record.stage_progress import StageProgress
from spar.view.health import COLUMNS, rows, signs
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.scores import MetricHistory, MetricValue, ScoreTable
from tui.widgets.bars import abbreviate, clock, history_text, metric_text, seconds_text

LINES = 5
"""Lines in a pane."""
_STATES = {
    "waiting": ("-", "note"),
    "running": ("●", "answer"),
    "stopped": ("■", "fault"),
    "failed": ("✗", "fail"),
    "done": ("✓", "pass"),
}
_LEAST_NAME, _LEAST_AXIS = 12, 16
"""Cells of the names and axes of scores where there is little room."""
_AXIS, _FIRST, _LAST = "·", "○", "●"


@dataclass(frozen=True, slots=True)
class TrainingOverview:
    """What the panes show."""

    stages: tuple[StageProgress, ...] = ()
    scores: ScoreTable = ScoreTable()
    health: tuple[IterationHealth, ...] = ()


def stages_text(run: TrainingOverview, width: int) -> Text:
    """A row an iteration, a column a stage; below, what is under way, was stopped or failed."""
    if not run.stages:
        return Text("no stages are known", style=PALETTE["note"])
    counts = Counter(stage.iteration for stage in run.stages)
    fullest = max(
        counts, key=counts.__getitem__
    )  # the first iteration has no more than its evaluation
    ordered = sorted(run.stages, key=lambda stage: stage.iteration != fullest)
    names = list(dict.fromkeys(stage.name for stage in ordered))
    table = {(stage.iteration, stage.name): stage for stage in run.stages}
    messages = [_message(stage) for stage in run.stages if stage.state not in ("waiting", "done")]
    iterations = list(dict.fromkeys(stage.iteration for stage in run.stages))
    current = next((s.iteration for s in run.stages if s.state != "done"), iterations[-1])
    room = max(LINES - 1 - min(len(messages), 1), 1)
    last = max(iterations.index(current) + 1, min(room, len(iterations)))
    cells = [max(cell_len(name), 5) for name in names]
    lines = [Text("   " + "".join(f" {n:>{c}}" for n, c in zip(names, cells, strict=True)), "bold")]
    for iteration in iterations[max(last - room, 0) : last]:
        line = Text(f"{iteration:>3}")
        for name, size in zip(names, cells, strict=True):
            stage = table.get((iteration, name))
            line.append(" ").append_text(_stage_cell(stage, size))
        lines.append(line)
    lines += messages[-1:]
    return _fitted(lines, width)


def scores_text(run: TrainingOverview, width: int) -> Text:
    """Each metric from the first to the last measurement, with its error, on an axis from 0 to 100 %."""
    metrics = run.scores.metrics
    if not metrics:
        return Text("nothing has been evaluated yet", style=PALETTE["note"])
    shown = metrics[:LINES]
    texts = [history_text(metric) for metric in shown]
    numbers = max(map(cell_len, texts))
    room = max(width - numbers - _LEAST_AXIS - 2, _LEAST_NAME)
    names = min(max(cell_len(one_line(metric.name)) for metric in shown), room)
    cells = width - names - numbers - 2
    lines = []
    for metric, text in zip(shown, texts, strict=True):
        line = Text(one_line(metric.name, names))
        line.pad_right(names - line.cell_len)
        line.append(f" {text:>{numbers}} ", style=PALETTE["head"])
        if cells >= _LEAST_AXIS and metric.last and metric.last.is_share:
            first = metric.first if metric.first is not metric.last else None
            line.append_text(axis(metric.last, cells, first=first))
        lines.append(line)
    return _fitted(lines, width)


def health_text(run: TrainingOverview, width: int) -> Text:
    """The health of each iteration, and below the signs of a sick one."""
    if not run.health:
        return Text("no iteration has built its data yet", style=PALETTE["note"])
    warnings = [Text(f"! {sign}", style=PALETTE["fault"]) for sign in signs(run.health)][-2:]
    room = max(LINES - 1 - len(warnings), 1)
    table = [tuple(COLUMNS), *rows(run.health)[-room:]]
    known = [any(cell != "-" for cell in column[1:]) for column in zip(*table, strict=True)]
    table = [tuple(compress(row, known)) for row in table]
    sizes = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    lines = [
        Text("  ".join(f"{cell:>{size}}" for cell, size in zip(row, sizes, strict=True)))
        for row in table
    ]
    lines[0].stylize("bold")
    return _fitted([*lines, *warnings], width)


def folded_training(run: TrainingOverview, width: int) -> Text:
    """The scores on one line, the stages and the last sign of sickness on another."""
    scores = [f"{metric.name} {history_text(metric)}" for metric in run.scores.metrics[:3]]
    first = Text("  ".join(scores) if scores else "nothing has been evaluated yet")
    second = Text()
    if run.stages:
        done = sum(stage.state == "done" for stage in run.stages)
        second.append(f"{done} of {len(run.stages)} stages")
        active = [stage for stage in run.stages if stage.state not in ("waiting", "done")]
        for stage in active[-1:]:
            second.append("  ").append_text(_message(stage))
    for sign in signs(run.health)[-1:]:
        second.append("  ").append(f"! {sign}", style=PALETTE["fault"])
    return _fitted([first, second], width)


def metric_lines(scores: ScoreTable, metric: MetricHistory, width: int) -> list[Text]:
    """One metric with a line for each iteration: on an axis from 0 to 100 % with its error, or a bar to its largest value."""
    values = [score.value for score in metric.scores if score]
    top = max(values, default=0.0)
    texts = ["-" if score is None else metric_text(score) for score in metric.scores]
    numbers = max(map(cell_len, texts), default=0)
    cells = max(width - numbers - 8, 1)
    lines = [Text(one_line(metric.name, width), style=PALETTE["head"])]
    for iteration, score, text in zip(scores.iterations, metric.scores, texts, strict=True):
        line = Text(f"{iteration:>4}  {text:>{numbers}}  ")
        if score is not None and score.is_share:
            line.append_text(axis(score, cells))
        elif score is not None and top > 0:
            line.append("█" * round(cells * max(score.value, 0.0) / top), style=PALETTE["answer"])
        lines.append(line)
    return lines


def axis(score: MetricValue, cells: int, *, first: MetricValue | None = None) -> Text:
    """A share on an axis from 0 to 1: `·····├──●──┤····`, with its error, and `○` where it was at first."""
    glyphs, styles = [_AXIS] * cells, ["guide"] * cells
    error = score.stderr or 0.0
    low, high = _cell(score.value - error, cells), _cell(score.value + error, cells)
    for at in range(low, high + 1):
        glyphs[at], styles[at] = "─", "answer"
    if high > low:
        glyphs[low], glyphs[high] = "├", "┤"
    if first is not None:
        at = _cell(first.value, cells)
        glyphs[at], styles[at] = _FIRST, "note"
    at = _cell(score.value, cells)
    glyphs[at], styles[at] = _LAST, "answer"
    parts = zip(glyphs, styles, strict=True)
    return Text.assemble(*((glyph, PALETTE[style]) for glyph, style in parts))


def _cell(value: float, cells: int) -> int:
    return min(max(round(value * (cells - 1)), 0), cells - 1)


def _stage_cell(stage: StageProgress | None, size: int) -> Text:
    if stage is None:
        return Text(" " * size)
    glyph, style = _STATES[stage.state]
    text = clock(stage.seconds) if stage.state == "done" else glyph
    if stage.state == "running" and stage.total:
        text = f"{100 * (stage.done or 0) // stage.total} %"
    return Text(f"{text:>{size}}", style=PALETTE[style])


def _message(stage: StageProgress) -> Text:
    """What a stage is at: `● 2/search: 120 of 600 prompts, 3 min left`."""
    glyph, style = _STATES[stage.state]
    parts = []
    if stage.total:
        parts.append(f"{abbreviate(stage.done or 0)} of {abbreviate(stage.total)} {stage.unit}")
    if (left := stage.seconds_left) is not None:
        parts.append(f"{seconds_text(left)} left")
    if stage.state != "running":
        parts.append(stage.state)
    if stage.message:
        parts.append(one_line(stage.message, 200))
    return Text(f"{glyph} {stage.title}: {', '.join(parts) or stage.state}", style=PALETTE[style])


def _fitted(lines: Sequence[Text], width: int) -> Text:
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


PANES: Mapping[str, Callable[[TrainingOverview, int], Text]] = {
    "stages": stages_text,
    "scores, first ○ to last ●, with the standard error": scores_text,
    "health of the loop": health_text,
}
"""Title of a pane to its text at a width."""
