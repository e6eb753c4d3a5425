"""Waiting for several tasks at once: until all have ended, or until one result is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def gather(tasks: list[asyncio.Task[T]], enough: Callable[[T], bool]) -> list[T]:
    """Results in the order of `tasks`; once one is `enough`, those not yet ended are cancelled."""
    pending: set[asyncio.Task[T]] = set(tasks)
    try:
        while pending:
            ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            results = [task.result() for task in ended]  # all: an error in any must surface
            if any(map(enough, results)):
                break
    finally:
        await cancel(tasks)
    return [task.result() for task in tasks if not task.cancelled()]


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what has not ended, and wait until all of it has."""
    everything = list(tasks)
    for task in everything:
        task.cancel()
    # Finished ones too: else asyncio prints a traceback for each exception that is never retrieved.
    await asyncio.gather(*everything, return_exceptions=True)
