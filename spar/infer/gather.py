"""Waits for several tasks: until all have finished, or until one result is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def gather(tasks: list[asyncio.Task[T]], enough: Callable[[T], bool]) -> list[T]:
    """Results in the order of `tasks`; once one is `enough`, unfinished tasks are cancelled and left out."""
    pending: set[asyncio.Task[T]] = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            # All of them: an error in any must be raised.
            results = [task.result() for task in tasks if task in done]
            if any(map(enough, results)):
                break
    finally:
        await cancel(tasks)
    return [task.result() for task in tasks if not task.cancelled()]


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel unfinished tasks, and wait until all have finished."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    # Including finished ones: asyncio prints a traceback for each exception that is never retrieved.
    await asyncio.gather(*tasks, return_exceptions=True)
