"""Many callers, few blocking calls: a thread that keeps a rolling batch full.

Coroutines submit requests one at a time, whenever they have them. A worker thread admits what waits
into the running batch, steps it token by token, and answers each caller the moment its row ends. A
caller that is cancelled has its row dropped at the next step. Knows nothing of torch: the model is
behind `Core`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from spar.errors import EngineError
from spar.infer.engine import Completion, Request

_CLOSE_SECONDS = 1.5
_LINGER = 0.002
_REFILL_SHARE = 0.25


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way, and the caller who waits for it."""

    request: Request
    future: asyncio.Future[Completion]
    loop: asyncio.AbstractEventLoop

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return self.future.cancelled()


Ended = tuple[Job, Completion | Exception]
"""A job and what became of it."""


class Core(Protocol):
    """A model that decodes a rolling batch. Called from one thread only."""

    @property
    def running(self) -> int:
        """Rows in the batch."""
        ...

    def admit(self, jobs: Sequence[Job]) -> list[Ended]:
        """Add rows; returns those that ended at once (too long, say)."""
        ...

    def step(self) -> list[Ended]:
        """Generate one token on every row; returns the rows that ended."""
        ...

    def drop(self) -> None:
        """Remove the rows whose job was cancelled."""
        ...

    def reset(self) -> None:
        """Forget every row."""
        ...

    def free(self) -> None:
        """Release the model."""
        ...


class Batcher:
    """Feeds a `Core` from any number of coroutines.

    Parameters
    ----------
    core:
        The model.
    capacity:
        Most rows in the batch. Where more wait, a refill starts when a quarter of it is free.
    """

    def __init__(self, core: Core, capacity: int) -> None:
        self._core = core
        self._capacity = capacity
        self._waiting: deque[Job] = deque()
        self._live: set[Job] = set()
        self._wake = threading.Condition()
        self._closed = self._freed = False
        self._thread: threading.Thread | None = None
        self.steps = 0
        """Batch steps taken."""
        self.row_steps = 0
        """Tokens generated: rows summed over steps."""

    async def submit(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order; cancelling drops what has not ended."""
        loop = asyncio.get_running_loop()
        jobs = [Job(request, loop.create_future(), loop) for request in requests]
        self._enqueue(jobs)
        try:
            return list(await asyncio.gather(*(job.future for job in jobs)))
        finally:
            for job in jobs:
                job.future.cancel()

    async def aclose(self) -> None:
        """Stop the thread and free the model; what still waits is refused."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            # The thread is a daemon: a step that takes longer must not hold up Ctrl-C.
            await asyncio.to_thread(self._thread.join, _CLOSE_SECONDS)
            self._thread = None
        elif not self._freed:
            self._free()

    @property
    def mean_batch(self) -> float:
        """Mean number of rows a step, 0.0 before the first."""
        return self.row_steps / self.steps if self.steps else 0.0

    def _enqueue(self, jobs: Sequence[Job]) -> None:
        with self._wake:
            if self._closed:
                raise EngineError("the engine is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="spar-batcher", daemon=True)
                self._thread.start()
            self._waiting.extend(jobs)
            self._wake.notify()

    def _run(self) -> None:
        while self._await_work():
            try:
                self._turn()
            except Exception as error:  # a broken step must reach the callers, not kill the thread
                self._fail_all(EngineError(f"the model failed: {type(error).__name__}: {error}"))
        self._fail_all(EngineError("the engine was closed"))
        self._free()

    def _free(self) -> None:
        self._freed = True
        self._core.free()

    def _await_work(self) -> bool:
        with self._wake:
            if not self._waiting and not self._core.running:
                self._wake.wait_for(lambda: self._waiting or self._closed)
                # Requests come in bursts, one coroutine after the other: wait for the whole burst.
                self._wake.wait_for(lambda: self._closed, timeout=_LINGER)
            return not self._closed

    def _turn(self) -> None:
        self._core.drop()
        admitted = self._take()
        self._live = {job for job in (*self._live, *admitted) if not job.cancelled}
        ended = self._core.admit(admitted) if admitted else []
        if self._core.running:
            self.steps += 1
            self.row_steps += self._core.running
            ended += self._core.step()
        for job, result in ended:
            self._live.discard(job)
            _answer(job, result)

    def _take(self) -> list[Job]:
        with self._wake:
            free = self._capacity - self._core.running
            if self._core.running and free < self._capacity * _REFILL_SHARE:
                return []
            if self._core.running and len(self._waiting) < self._core.running * _REFILL_SHARE:
                return []
            taken: list[Job] = []
            while self._waiting and len(taken) < free:
                job = self._waiting.popleft()
                if not job.cancelled:
                    taken.append(job)
            return taken

    def _fail_all(self, error: Exception) -> None:
        with self._wake:
            jobs = [*self._live, *self._waiting]
            self._waiting.clear()
        self._live.clear()
        self._core.reset()
        for job in jobs:
            _answer(job, error)


def _answer(job: Job, result: Completion | Exception) -> None:
    def set_outcome() -> None:
        if job.future.done():
            return
        if isinstance(result, Exception):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)

    with contextlib.suppress(RuntimeError):  # the caller's loop is gone, and so is the caller
        job.loop.call_soon_threadsafe(set_outcome)
