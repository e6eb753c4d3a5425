"""Listeners that show progress on standard error: a bar for a terminal, plain lines for a pipe.

spar.decode(prompts, listener=spar.ProgressBar())
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from spar.errors import UsageError
from spar.listener import Activity, Listener
from spar.sanitize import printable
from spar.types import Prompt, SearchTree

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_PLAIN_SECONDS = 5.0
"""The least time between two lines of finished trees."""
_QUIET_SECONDS = 30.0
"""A line is printed after so long without one: long replies may all end together."""
KINDS = ("auto", "rich", "plain", "none")
_DUMB = ("dumb", "unknown")
"""Terminals of these names, such as Emacs', show a bar only once it has ended."""
_BAR, _SHORTEST_BAR, _STATUS = 24, 4, 76
"""Columns of the bar on a wide terminal and on a narrow one, and those of a long status beside it."""


def open_progress(kind: str) -> Progress:
    """The listener for a value of `--display`; raises as `resolve_display`."""
    return {"rich": ProgressBar, "plain": PlainProgress, "none": Progress}[resolve_display(kind)]()


def resolve_display(kind: str) -> str:
    """A value of `--display`, with `rich` for `auto` on a terminal that redraws lines, else `plain`.

    Raises
    ------
    UsageError
        There is no such display.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown display {kind!r} (accepted: {', '.join(KINDS)})")
    if kind != "auto":
        return kind
    return "rich" if sys.stderr.isatty() and not is_dumb_terminal() else "plain"


def is_dumb_terminal() -> bool:
    """Whether `TERM` names a terminal that cannot move its cursor."""
    return os.environ.get("TERM", "").lower() in _DUMB


def time_left(seconds: float) -> str:
    """How long is left in words: `45 s left`, `12 min left`, `3.5 h left`."""
    if seconds < 120:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 7200 else f"{seconds / 3600:.1f} h left"


class Progress(Listener):
    """Counts trees; shows nothing."""

    def __init__(self) -> None:
        self.total = self.done = self.running = self.solved = self.judged = self._first = 0
        self._start = time.monotonic()
        self._activity = Activity()
        self._tokens_before = 0

    def started(self, activity: Activity) -> None:
        """Reset the counts."""
        self.total, self.done, self._first = activity.total or 0, activity.done, activity.done
        self.running = self.solved = self.judged = 0
        self._activity = activity
        self._tokens_before = activity.tokens()  # an engine may have served other runs
        self._start = time.monotonic()

    def admitted(self, prompt: Prompt) -> None:
        """Count a running tree."""
        self.running += 1

    def tree(self, tree: SearchTree) -> None:
        """Count a finished tree."""
        self.running -= 1
        self.done += 1
        self.solved += tree.solved
        self.judged += any(node.judgement is not None for node in tree.nodes)

    def progress(self, activity: Activity) -> None:
        """Take over how much is done of what is no search, or, of searches, how many another run has added or found."""
        if activity.unit == "trees":
            self._first += activity.done - self.done
            self.total = activity.total or self.total
        self.done = activity.done

    def status(self) -> str:
        """The state of the run, in one line."""
        if self._activity.unit != "trees":
            return f"{self._activity.name}: {self.done}/{self.total} {self._activity.unit}"
        num_new = self.done - self._first
        elapsed = max(time.monotonic() - self._start, 1e-9)
        judged = f"judge passes {100 * self.solved / num_new:.0f} %, " if self.judged else ""
        remaining = "? s left"
        if num_new:
            remaining = time_left(elapsed / num_new * (self.total - self.done))
        tokens = self._activity.tokens() - self._tokens_before
        rate = f"{tokens / elapsed:,.0f} tokens/s"
        return (
            f"{self.done}/{self.total} trees, {self.running} running, {judged}{rate}, {remaining}"
        )


class PlainProgress(Progress):
    """Prints a line every few seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._printed = 0.0
        self._ended = threading.Event()

    def started(self, activity: Activity) -> None:
        """Print the state now and then from now on, whether or not trees finish."""
        super().started(activity)
        self._printed = time.monotonic()
        self._ended = threading.Event()
        threading.Thread(target=self._print_when_quiet, args=(self._ended,), daemon=True).start()

    def finished(self, activity: Activity) -> None:
        """Print no more."""
        self._ended.set()

    def note(self, line: str) -> None:
        """Print the line."""
        print(
            f"{printable(line)}\n", end="", file=sys.stderr, flush=True
        )  # one write: threads share the stream

    def tree(self, tree: SearchTree) -> None:
        """Print the state of the run, at most every few seconds."""
        super().tree(tree)
        if time.monotonic() - self._printed >= _PLAIN_SECONDS or self.done == self.total:
            self._print_status()

    def _print_when_quiet(self, ended: threading.Event) -> None:
        while not ended.wait(max(0.0, self._printed + _QUIET_SECONDS - time.monotonic())):
            if time.monotonic() - self._printed >= _QUIET_SECONDS:
                self._print_status()

    def _print_status(self) -> None:
        self._printed = time.monotonic()
        self.note(self.status())


class ProgressBar(Progress):
    """A progress bar that is redrawn in place."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console

        self._console = Console(stderr=True)
        self._bar: RichProgress | None = None

    def note(self, line: str) -> None:
        """Print the line above the bar; the terminal wraps it, so that a path can be copied."""
        self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def started(self, activity: Activity) -> None:
        """Draw the bar."""
        super().started(activity)
        from rich.progress import BarColumn, ProgressColumn, Task
        from rich.progress import Progress as RichProgress
        from rich.table import Column
        from rich.text import Text

        status = self.status

        class Status(ProgressColumn):
            """The state of the run, at each redrawing: long replies may all end together."""

            def render(self, task: Task) -> Text:
                return Text(status(), no_wrap=True, overflow="ellipsis")

        width = max(_SHORTEST_BAR, min(_BAR, self._console.width - _STATUS))
        column = Column(no_wrap=True, overflow="ellipsis")
        self._bar = RichProgress(
            BarColumn(bar_width=width), Status(table_column=column), console=self._console
        )
        self._task = self._bar.add_task("", total=activity.total, completed=activity.done)
        self._bar.start()

    def progress(self, activity: Activity) -> None:
        """Advance the bar."""
        super().progress(activity)
        self._draw()

    def admitted(self, prompt: Prompt) -> None:
        """Redraw the bar."""
        super().admitted(prompt)
        self._draw()

    def tree(self, tree: SearchTree) -> None:
        """Advance the bar."""
        super().tree(tree)
        self._draw()

    def finished(self, activity: Activity) -> None:
        """Stop redrawing the bar and leave it on the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, total=self.total)
