"""How a training loop is shown: a table that is redrawn in a terminal, lines in a pipe, or nothing.

Everything that is shown is read from the loop's folder (`spar.train.ledger.read_loop`), so the live view
and `spar train status` tell the same.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from spar.cli.course import Interrupted
from spar.cli.display import KINDS
from spar.cli.report import visible
from spar.errors import UsageMistake
from spar.train.ledger import LoopState, StageState, progress, read_loop, read_record, shown_scores
from spar.train.running import Watcher
from spar.train.stages import STAGES, Stage

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_PLAIN_SECONDS = 15.0
_STYLES: Mapping[str, str] = {
    "done": "green",
    "running": "bold cyan",
    "failed": "bold red",
    "stopped": "yellow",
    "waiting": "dim",
}


def open_view(kind: str, run: Path) -> View:
    """The view that `--display` names; `auto` looks whether standard error is a terminal."""
    if kind not in KINDS:
        raise UsageMistake(f"unknown display {kind!r} (accepted: {', '.join(KINDS)})")
    if kind == "auto":
        kind = "rich" if sys.stderr.isatty() else "plain"
    return {"rich": LiveView, "plain": PlainView, "none": View}[kind](run)


@contextlib.contextmanager
def interruptible(run: Path) -> Iterator[None]:
    """Tell Ctrl-C as one line.

    Raises
    ------
    Interrupted
        In place of the interrupt.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted; what was done is safe in {run}; run the same command again to go on"
        ) from None


class View:
    """Shows nothing."""

    def __init__(self, run: Path) -> None:
        self.run = run

    @property
    def watcher(self) -> Watcher:
        """What the loop tells."""
        return Watcher(self.begin, self.tick, self.end, self.note)

    def note(self, line: str) -> None:
        """A line for a person."""

    def begin(self, stage: Stage) -> None:
        """A stage begins."""

    def tick(self, stage: Stage) -> None:
        """A second of it has passed."""

    def end(self, stage: Stage) -> None:
        """It is done."""

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
    """A line when a stage begins and ends, and every few seconds between."""

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        self._said = 0.0

    def note(self, line: str) -> None:
        """Print the line."""
        print(visible(line), file=sys.stderr, flush=True)

    def begin(self, stage: Stage) -> None:
        """Say so."""
        self._said = time.monotonic()
        record = read_record(stage)
        self.note(f"{stage.title}: {'resumes' if record and record.starts > 1 else 'begins'}")

    def tick(self, stage: Stage) -> None:
        """Say how far it is, unless that was said a moment ago."""
        if time.monotonic() - self._said < _PLAIN_SECONDS:
            return
        self._said = time.monotonic()
        far = progress(stage)
        if far is not None and str(far):
            self.note(f"{stage.title}: {far}")

    def end(self, stage: Stage) -> None:
        """Say so, and what was measured."""
        record = read_record(stage)
        self.note(f"{stage.title}: done, {_time(record.seconds if record else 0.0)}")
        if stage.name == "eval":
            state = read_loop(self.run)
            scores = shown_scores(state.config, state.scores.get(stage.iteration, {}))
            for name, (value, error) in scores.items():
                self.note(f"  {name}: {_score(value, error)}")


class LiveView(View):
    """The stages and scores, redrawn every second."""

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        from rich.console import Console

        self._console = Console(stderr=True)
        self._live: Live | None = None

    def note(self, line: str) -> None:
        """Print the line above the table."""
        self._console.print(visible(line), markup=False, highlight=False)

    def begin(self, stage: Stage) -> None:
        """Draw it."""
        if self._live is None:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._draw()

    def tick(self, stage: Stage) -> None:
        """Draw it again."""
        self._draw()

    def end(self, stage: Stage) -> None:
        """Draw it again."""
        self._draw()

    def __exit__(self, *_: Any) -> None:
        if self._live is not None:
            self._live.stop()

    def _draw(self) -> None:
        from rich.console import Group

        if self._live is not None:
            self._live.update(Group(*tables(read_loop(self.run))), refresh=True)


def tables(state: LoopState) -> Iterator[Table]:
    """The stages, and the scores where there are any."""
    yield _stages(state)
    if state.scores:
        yield _scores(state)


def _stages(state: LoopState) -> Table:
    """A row an iteration, a column a stage; below, what is under way or failed."""
    from rich.table import Table
    from rich.text import Text

    names = [name for name in STAGES if any(one.stage.name == name for one in state.stages)]
    table = Table(title="stages", title_justify="left", pad_edge=False)
    table.add_column("iteration", justify="right")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for iteration in dict.fromkeys(one.stage.iteration for one in state.stages):
        row = {one.stage.name: one for one in state.stages if one.stage.iteration == iteration}
        cells = [_cell(row[name]) if name in row else Text("") for name in names]
        table.add_row(str(iteration), *cells)
    told = [line for one in state.stages if (line := _told(one))]
    table.caption = Text("\n".join(told)) if told else None
    table.caption_justify = "left"
    return table


def _cell(one: StageState) -> Any:
    from rich.text import Text

    took = _time(one.record.seconds) if one.record and one.state == "done" else one.state
    return Text(took if one.state != "waiting" else "-", style=_STYLES[one.state])


def _told(one: StageState) -> str:
    if one.state in ("waiting", "done"):
        return ""
    far = str(one.progress) if one.progress else ""
    why = one.record.message if one.record else ""
    return ": ".join(visible(part) for part in (one.stage.title, one.state, far, why) if part)


def _scores(state: LoopState) -> Table:
    from rich.table import Table

    rows = {i: shown_scores(state.config, scores) for i, scores in state.scores.items()}
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = Table(title="scores after each iteration", title_justify="left", pad_edge=False)
    table.add_column("score")
    for iteration in rows:
        table.add_column(str(iteration), justify="right", no_wrap=True)
    for name in names:
        cells = [_score(*row[name]) if name in row else "-" for row in rows.values()]
        table.add_row(visible(name), *cells)
    return table


def _score(value: float, error: float | None) -> str:
    return f"{100 * value:.1f}" + (f" ± {100 * error:.1f}" if error is not None else "")


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
