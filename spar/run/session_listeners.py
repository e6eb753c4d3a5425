"""Listeners of a session: searches at the same time as one activity, and events in the thread of the caller's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from spar.listener import Activity, Listener, follows
from spar.types import SearchTree


class InLoop(Listener):
    """Calls a listener in the thread of an event loop, and not at all once that is closed, but for `finished`: a display ends."""

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        self.listener = listener
        for name in ("started", "admitted", "node", "tree", "progress", "note"):
            setattr(self, name, _in_loop(loop, getattr(listener, name)))
        self.finished = _in_loop(loop, listener.finished, always=True)  # type: ignore[method-assign]
        if follows(listener):
            self.attempt = _in_loop(loop, listener.attempt)  # type: ignore[method-assign]


def _in_loop(
    loop: asyncio.AbstractEventLoop, event: Callable[..., None], *, always: bool = False
) -> Callable[..., None]:
    def call(*values: Any) -> None:
        try:
            loop.call_soon_threadsafe(event, *values)
        except RuntimeError:  # it is closed
            if always:
                event(*values)

    return call


@dataclass(slots=True)
class _Running:
    """The searches that run for one listener."""

    listener: Listener
    activity: Activity
    count: int = 1


class SessionActivity:
    """Reports the searches of a session: those that run at the same time for one listener are one activity to it.

    Used from one event loop.

    Parameters
    ----------
    tokens:
        Completion tokens that the session has generated so far.
    """

    def __init__(self, tokens: Callable[[], int]) -> None:
        self._tokens = tokens
        self._running: dict[int, _Running] = {}
        """By the identity of the listener, which need not be hashable."""

    @contextmanager
    def search(self, listener: Listener) -> Iterator[Callable[[SearchTree], None]]:
        """Report that a search starts and that it ended; yields what its tree is passed to."""
        receiver = listener.listener if isinstance(listener, InLoop) else listener
        running = self._running.get(id(receiver))
        if running is None:
            running = _Running(receiver, Activity(total=1, tokens=self._tokens))
            listener.started(running.activity)
            self._running[id(receiver)] = running
        else:
            running.count += 1
            total = (running.activity.total or 0) + 1
            running.activity = replace(running.activity, total=total)
            listener.progress(running.activity)

        def report(tree: SearchTree) -> None:
            running.activity = replace(running.activity, done=running.activity.done + 1)
            listener.tree(tree)

        try:
            yield report
        finally:
            running.count -= 1
            if not running.count:
                del self._running[id(receiver)]
                listener.finished(running.activity)
