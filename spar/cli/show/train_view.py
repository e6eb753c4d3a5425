"""Displays a training loop: a live table in a terminal, lines in a pipe, or nothing.

Everything is read from the loop's folder (`spar.train.status.read_loop`), so that the live view and
`spar train status` show the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from spar.cli.show.report import as_text
from spar.listener import Activity, Listener
from spar.progress import resolve_display
from spar.record.health import IterationHealth
from spar.record.training import TrainReport
from spar.sanitize import printable
from spar.train.loop_stages import STAGES
from spar.train.specs import EvalStageSpec, TrainingSpec
from spar.train.stage import Stage, read_record
from spar.train.stage_runner import StageActivity
from spar.train.status import LoopState, StageState, read_loop, shown_scores
from spar.view.health import COLUMNS, rows, signs

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_PLAIN_SECONDS = 15.0
_METRICS: Mapping[str, str] = {
    "step": "step",
    "loss": "loss",
    "rewards/accuracies": "pairs right",
    "logps/chosen": "log p chosen",
    "logps/rejected": "log p rejected",
}
"""Metric of a training to its heading: both log-probabilities may fall while the pairs are told apart."""
_STYLES: Mapping[str, str] = {
    "done": "green",
    "running": "bold cyan",
    "failed": "bold red",
    "stopped": "yellow",
    "waiting": "dim",
}


def open_view(kind: str, run: Path) -> View:
    """The view that `--display` names; raises as `spar.progress.resolve_display`."""
    return {"rich": LiveView, "plain": PlainView, "none": View}[resolve_display(kind)](run)


def stage_of(activity: Activity) -> Stage:
    """The stage that an event of a training pipeline is about."""
    assert isinstance(activity, StageActivity)
    return activity.stage


class View(Listener):
    """Shows nothing."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


class PlainView(View):
    """A line when a stage starts and ends, and every few seconds between."""

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        self._printed = 0.0

    def note(self, line: str) -> None:
        """Print the line."""
        print(printable(line), file=sys.stderr, flush=True)

    def started(self, activity: Activity) -> None:
        """Print that the stage starts or resumes."""
        stage = stage_of(activity)
        self._printed = time.monotonic()
        record = read_record(stage)
        self.note(f"{stage.title}: {'resumed' if record and record.starts > 1 else 'started'}")

    def progress(self, activity: Activity) -> None:
        """Print how far the stage is, at most every few seconds."""
        stage = stage_of(activity)
        if time.monotonic() - self._printed < _PLAIN_SECONDS:
            return
        self._printed = time.monotonic()
        progress = stage.spec.progress()
        if progress is not None and str(progress):
            self.note(f"{stage.title}: {progress}")

    def finished(self, activity: Activity) -> None:
        """Print that the stage is done, and what was measured."""
        stage = stage_of(activity)
        record = read_record(stage)
        if record is None or record.state != "done":
            return
        self.note(f"{stage.title}: done, {_time(record.seconds)}")
        if left_out := _left_out(stage):
            self.note(f"  {left_out}")
        if isinstance(stage.spec, EvalStageSpec):
            state = read_loop(self.run)
            scores = shown_scores(state.config, state.scores.get(stage.iteration, {}))
            for name, score in scores.items():
                self.note(f"  {name}: {score}")


class LiveView(View):
    """The stages and scores, redrawn every second."""

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        from rich.console import Console

        self._console = Console(stderr=True)
        self._live: Live | None = None

    def note(self, line: str) -> None:
        """Print the line above the table."""
        self._console.print(printable(line), markup=False, highlight=False)

    def started(self, activity: Activity) -> None:
        """Draw the tables."""
        if self._live is None:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._draw()

    def progress(self, activity: Activity) -> None:
        """Redraw the tables."""
        self._draw()

    def finished(self, activity: Activity) -> None:
        """Redraw the tables."""
        stage = stage_of(activity)
        if left_out := _left_out(stage):
            self.note(f"{stage.title}: {left_out}")
        self._draw()

    def __exit__(self, *_: Any) -> None:
        if self._live is not None:
            self._live.stop()

    def _draw(self) -> None:
        from rich.console import Group

        if self._live is not None:
            self._live.update(Group(*tables(read_loop(self.run))), refresh=True)


def tables(state: LoopState) -> Iterator[Table]:
    """The stages, the pairs, the health of the iterations, the last step of each training, and the scores where there are any."""
    yield _stages(state)
    if any(_has_pairs(each) for each in state.health):
        yield _pairs(state.health)
    if any(each.drafts for each in state.health):
        yield _health(state.health)
    if any(stage.metrics for stage in state.stages):
        yield _trainings(state)
    if state.scores:
        yield _scores(state)


def _stages(state: LoopState) -> Table:
    """A row an iteration, a column a stage; below, what is under way or failed."""
    from rich.table import Table
    from rich.text import Text

    names = [name for name in STAGES if any(s.stage.name == name for s in state.stages)]
    table = Table(title="stages", title_justify="left")
    table.add_column("iteration", justify="right")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for iteration in dict.fromkeys(s.stage.iteration for s in state.stages):
        row = {s.stage.name: s for s in state.stages if s.stage.iteration == iteration}
        cells = [_cell(row[name]) if name in row else Text("") for name in names]
        table.add_row(str(iteration), *cells)
    messages = [line for s in state.stages if (line := _message(s))]
    table.caption = Text("\n".join(messages)) if messages else None
    table.caption_justify = "left"
    return table


def _has_pairs(health: IterationHealth) -> bool:
    return health.report is not None and health.report.possible_pairs > 0


def _pairs(healths: Sequence[IterationHealth]) -> Table:
    """A row an iteration: how many prompts make a pair, how many are tied, how alike and how long its sides are."""
    from rich.table import Table

    table = Table(title="pairs", title_justify="left")
    for heading in ("iteration", "prompts", "pairs", "tied", "alike", "words more"):
        table.add_column(heading, justify="right")
    for health in filter(_has_pairs, healths):
        report = health.report
        assert report is not None
        drafts, similarity = report.runs.get("drafts"), report.pairs.edit_similarity
        longer = report.pairs.words_more
        table.add_row(
            str(health.iteration),
            f"{drafts.trees:,}" if drafts else "-",
            f"{report.pairs.pairs:,}",
            f"{report.without_pair.get('tied', 0):,}" if report.pairing == "best_worst" else "-",
            f"{similarity.mean:.2f}" if similarity else "-",
            f"{longer.mean:+.1f}" if longer else "-",
        )
    return table


def _health(healths: Sequence[IterationHealth]) -> Table:
    """A row an iteration: its drafts, its judge against programs, the sides of its pairs; below, what looks sick."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="health", title_justify="left")
    for heading in COLUMNS:
        table.add_column(heading, justify="right")
    for row in rows(healths):
        table.add_row(*row)
    if lines := signs(healths):
        table.caption = Text("\n".join(lines))
        table.caption_justify = "left"
    return table


def _trainings(state: LoopState) -> Table:
    """A row for each training that has begun: its last step."""
    from rich.table import Table

    table = Table(title="last step of each training", title_justify="left")
    trainings = [stage for stage in state.stages if stage.metrics]
    shown = [name for name in _METRICS if any(name in stage.metrics for stage in trainings)]
    for heading in ("training", *(_METRICS[name] for name in shown)):
        table.add_column(heading, justify="left" if heading == "training" else "right")
    for stage in trainings:
        values = [_metric(name, stage.metrics.get(name)) for name in shown]
        table.add_row(stage.stage.title, *values)
    return table


def _metric(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return (
        f"{value:.0f}" if name == "step" else f"{value:.3g}" if name == "loss" else f"{value:.2f}"
    )


def _left_out(stage: Stage) -> str:
    """The examples that a finished training has left out; "" where there are none."""
    if not isinstance(stage.spec, TrainingSpec):
        return ""
    try:
        report = TrainReport.model_validate_json(stage.spec.output.read_bytes())
    except (OSError, ValidationError):  # it has not ended
        return ""
    reasons = ", ".join(f"{count} where {reason}" for reason, count in report.dropped.items())
    return f"of {report.examples} examples left out: {reasons}" if reasons else ""


def _cell(state: StageState) -> Any:
    from rich.text import Text

    text = _time(state.record.seconds) if state.record and state.state == "done" else state.state
    return Text(text if state.state != "waiting" else "-", style=_STYLES[state.state])


def _message(state: StageState) -> str:
    if state.state in ("waiting", "done"):
        return ""
    progress = str(state.progress) if state.progress else ""
    left = state.summary.seconds_left
    if left is not None:
        progress = f"{progress}, {_time(left)} left"
    why = state.record.message if state.record else ""
    return ": ".join(
        printable(part) for part in (state.stage.title, state.state, progress, why) if part
    )


def _scores(state: LoopState) -> Table:
    """A row a metric; below it a row with its examples, where the iterations do not have equally many."""
    from rich.table import Table

    rows = {i: shown_scores(state.config, scores) for i, scores in state.scores.items()}
    evaluated = {title for scores in state.scores.values() for title in scores}
    chosen = [
        f"{item.title} {name}"
        for item in state.config.benchmarks
        for name in item.show
        if item.title in evaluated
    ]
    names = list(dict.fromkeys([*(name for row in rows.values() for name in row), *chosen]))
    table = Table(title="scores after each iteration", title_justify="left")
    table.add_column("score")
    for iteration in rows:
        table.add_column(str(iteration), justify="right", no_wrap=True)
    for name in names:
        cells = [row.get(name) for row in rows.values()]
        table.add_row(*map(as_text, (name, *(str(cell or "-") for cell in cells))))
        counts = [cell.n if cell else None for cell in cells]
        if len({*counts} - {None}) > 1:
            table.add_row(*map(as_text, ("  n", *("-" if n is None else f"{n:,}" for n in counts))))
    return table


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
