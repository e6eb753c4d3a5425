"""A line on standard error that says how far a long piece of work is, and goes once it is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spar.record.outcomes import pluralize

_SECONDS, _PLAIN_SECONDS = 0.2, 5.0
"""The least time between two updates of the line, and between two lines where standard error is no terminal."""


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Returns a function of what is done and of all: `1,200 of 100,000 trees, 2:05 left`."""
    is_terminal = sys.stderr.isatty()
    pause = _SECONDS if is_terminal else _PLAIN_SECONDS
    began = shown = time.monotonic()
    width = 0

    def counted(done: int, of: int) -> None:
        nonlocal began, shown, width
        now = time.monotonic()
        if not done:
            began = now
        if now - shown < pause:
            return
        shown = now
        line = f"{done:,} of {pluralize(of, what)}{_left(done, of, now - began)}"
        if is_terminal:
            sys.stderr.write(f"\r{line:<{width}}")
            width = len(line)
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    try:
        yield counted
    finally:
        if width:
            sys.stderr.write(f"\r{'':<{width}}\r")
            sys.stderr.flush()


def _left(done: int, of: int, seconds: float) -> str:
    """The time left at the speed so far; empty at the beginning."""
    if not done or seconds < 1:
        return ""
    minutes, rest = divmod(round(seconds * (of - done) / done), 60)
    return f", {minutes}:{rest:02d} left"
