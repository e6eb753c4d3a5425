"""Admission: as many trees in flight as keep the engine busy, the next requests wait in order, the rest are refused.

Used from one event loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from spar.serve.errors import ApiError

MAX_RETRY_SECONDS = 60
"""Longest time that a refused client is asked to wait (Retry-After)."""
_SMOOTHING = 0.1


class Admission:
    """Counts requests and trees.

    Parameters
    ----------
    room:
        Most trees in flight at this moment.
    max_queue:
        Requests beyond them that may wait.
    """

    def __init__(self, room: Callable[[], int], max_queue: int) -> None:
        self._room, self._max_queue = room, max_queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.requests = 0
        """Requests that were admitted and are not answered."""
        self.running = 0
        """Trees in flight."""
        self.seconds = 1.0
        """Mean time of a tree, recent ones counting most."""

    @property
    def waiting(self) -> int:
        """Trees that wait for their turn."""
        return len(self._waiting)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Admit a request for as long as the block lasts.

        Raises
        ------
        ApiError
            The queue is full: 429, and when to come back.
        """
        if self.requests >= self._room() + self._max_queue:
            raise ApiError(
                429,
                f"{self.requests} requests are being answered or wait, which is all that this server takes; come back "
                "later",
                "queue_full",
                kind="rate_limit_error",
                headers={"retry-after": str(self.retry_after())},
            )
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    def retry_after(self) -> int:
        """Whole seconds until a place in the queue is likely to be free."""
        per_second = max(self._room(), 1) / max(self.seconds, 1e-3)
        expected = math.ceil(self.requests / 4 / per_second)
        return min(MAX_RETRY_SECONDS, max(1, expected))

    @asynccontextmanager
    async def tree(self) -> AsyncIterator[None]:
        """Wait for the turn of a tree, and hold its place for as long as the block lasts."""
        await self._enter()
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds += _SMOOTHING * (time.monotonic() - start - self.seconds)
            self.running -= 1
            self._wake()

    async def _enter(self) -> None:
        if self.running < self._room() and not self._waiting:
            self.running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn  # whoever sets it has counted this tree as running
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.running -= 1
                self._wake()
            with suppress(ValueError):
                self._waiting.remove(turn)
            raise

    def _wake(self) -> None:
        while self._waiting and self.running < self._room():
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)
