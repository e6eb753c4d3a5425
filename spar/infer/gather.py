"""Waits for several tasks: until all have finished, or until one result is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from spar.errors import EngineError

T = TypeVar("T")


async def gather(
    tasks: list[asyncio.Task[T]], enough: Callable[[T], bool], *, of_plugins: str = ""
) -> list[T]:
    """Results in the order of `tasks`; once one is `enough`, unfinished tasks are cancelled and left out.

    Parameters
    ----------
    of_plugins:
        What the tasks are, where they run anybody's code, which may cancel the task that it runs in.

    Raises
    ------
    EngineError
        It did; a cancellation on its own would end the run without a word.
    """
    pending: set[asyncio.Task[T]] = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if of_plugins and any(task.cancelled() for task in done):
                raise EngineError(
                    f"{of_plugins} was cancelled, and not by spar: the code of the judge or the refiner, or a library "
                    "that it calls, cancelled the task that it runs in"
                )
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
