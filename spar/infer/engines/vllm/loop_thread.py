"""An event loop in a thread of its own, for a library whose objects must live in one loop.

Coroutines of any other loop can wait for what runs in it; cancelling the one who waits cancels the
work.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """A running event loop; the thread is a daemon and does not hold up the program's end."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises in the thread's loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def call(self, work: Callable[[], T]) -> T:
        """What a function returns or raises inside the thread's loop; blocks the caller."""

        async def calling() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(calling(), self._loop).result()

    def stop(self) -> None:
        """End the loop once what is under way in it has had its turn; safe to call twice."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(_end_others())
        self._loop.close()


async def _end_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
