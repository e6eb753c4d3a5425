"""Background work of a screen; new work of a group replaces the old."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from textual.css.query import NoMatches
from textual.screen import Screen
from textual.worker import Worker

Work = Callable[..., Coroutine[Any, Any, None]]


def start_work(screen: Screen[Any], group: str, work: Work, *args: Any) -> Worker[None]:
    """Start work of a group and cancel the group's running work.

    Pass the coroutine function, not a coroutine: one that is cancelled before it starts causes a warning that
    it was never awaited.
    """
    return screen.run_worker(partial(_done, work, *args), group=group, exclusive=True)


def is_running(worker: Worker[None] | None) -> bool:
    """Whether work was started and has not ended."""
    return worker is not None and not worker.is_finished


async def _done(work: Work, *args: Any) -> None:
    with suppress(NoMatches):  # the screen was closed while its work was running
        await work(*args)
