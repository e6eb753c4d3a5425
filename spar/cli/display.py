"""Live progress: a bar for a terminal, plain lines for a pipe, or nothing. Always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from spar.errors import UsageMistake
from spar.types import Prompt, SearchTree

if TYPE_CHECKING:
    from rich.progress import Progress

_PLAIN_SECONDS = 5.0
KINDS = ("auto", "rich", "plain", "none")


class Display(Protocol):
    """Who shows how a run goes."""

    def note(self, line: str) -> None: ...
    def start(self, total: int, done: int, tokens: Callable[[], int]) -> None: ...
    def admit(self, prompt: Prompt) -> None: ...
    def tree(self, tree: SearchTree) -> None: ...
    def close(self) -> None: ...


def open_display(kind: str) -> Display:
    """The display that `--display` names; `auto` looks whether standard error is a terminal."""
    if kind not in KINDS:
        raise UsageMistake(f"unknown display {kind!r} (accepted: {', '.join(KINDS)})")
    if kind == "auto":
        kind = "rich" if sys.stderr.isatty() else "plain"
    return {"rich": RichDisplay, "plain": PlainDisplay, "none": SilentDisplay}[kind]()


class SilentDisplay:
    """Says nothing, but counts."""

    def __init__(self) -> None:
        self.total = self.done = self.running = self.solved = self.judged = self._first = 0
        self.began = time.monotonic()
        self._tokens: Callable[[], int] = lambda: 0

    def note(self, line: str) -> None:
        """A line for a person."""

    def start(self, total: int, done: int, tokens: Callable[[], int]) -> None:
        """The model is loaded and the search begins; `done` trees are from an earlier start."""
        self.total, self.done, self._first = total, done, done
        self.running = self.solved = self.judged = 0
        before = tokens()  # a model that is used again has written for others
        self._tokens = lambda: tokens() - before
        self.began = time.monotonic()

    def admit(self, prompt: Prompt) -> None:
        """A tree began."""
        self.running += 1

    def tree(self, tree: SearchTree) -> None:
        """A tree ended."""
        self.running -= 1
        self.done += 1
        self.solved += tree.solved
        self.judged += any(node.judgement is not None for node in tree.nodes)

    def close(self) -> None:
        """The run ended, one way or the other."""

    def status(self) -> str:
        """Where the run stands, in one line."""
        here = self.done - self._first
        elapsed = max(time.monotonic() - self.began, 1e-9)
        judged = f"judge passes {100 * self.solved / here:.0f} %, " if self.judged else ""
        left = f"{elapsed / here * (self.total - self.done):.0f} s left" if here else "? s left"
        rate = f"{self._tokens() / elapsed:,.0f} tokens/s"
        return f"{self.done}/{self.total} trees, {self.running} running, {judged}{rate}, {left}"


class PlainDisplay(SilentDisplay):
    """A line every few seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._said = 0.0

    def note(self, line: str) -> None:
        """Print the line."""
        print(line, file=sys.stderr, flush=True)

    def tree(self, tree: SearchTree) -> None:
        """Print where the run stands, unless that was said a moment ago."""
        super().tree(tree)
        if time.monotonic() - self._said >= _PLAIN_SECONDS or self.done == self.total:
            self._said = time.monotonic()
            self.note(self.status())


class RichDisplay(SilentDisplay):
    """A progress bar that is redrawn in place."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console

        self._console = Console(stderr=True)
        self._bar: Progress | None = None

    def note(self, line: str) -> None:
        """Print the line above the bar."""
        self._console.print(line, markup=False, highlight=False)

    def start(self, total: int, done: int, tokens: Callable[[], int]) -> None:
        """Draw the bar."""
        super().start(total, done, tokens)
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            BarColumn(bar_width=24), TextColumn("{task.description}"), console=self._console
        )
        self._task = self._bar.add_task(self.status(), total=total, completed=done)
        self._bar.start()

    def admit(self, prompt: Prompt) -> None:
        """One more is running."""
        super().admit(prompt)
        self._draw()

    def tree(self, tree: SearchTree) -> None:
        """Move the bar."""
        super().tree(tree)
        self._draw()

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, description=self.status())
