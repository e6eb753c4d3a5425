"""Work beside the screen, of which only the latest is wanted."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from textual.css.query import NoMatches
from textual.screen import Screen
from textual.worker import Worker

Work = Callable[..., Coroutine[Any, Any, None]]


def begin(screen: Screen[Any], group: str, work: Work, *args: Any) -> Worker[None]:
    """Begin work of a group, and cancel what goes on in it.

    It is handed over as a function: a coroutine that is cancelled before it begins warns that nobody
    awaited it.
    """
    return screen.run_worker(partial(_done, work, *args), group=group, exclusive=True)


async def _done(work: Work, *args: Any) -> None:
    with suppress(NoMatches):  # the screen was taken apart while its work was done elsewhere
        await work(*args)
