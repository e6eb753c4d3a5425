"""Continuous batching: a worker thread that keeps one model's batch full, for many concurrent callers.

Coroutines submit requests whenever they have them. The thread admits waiting requests into the running
batch, generates one token per step for every row, and completes each request the moment its row finishes.
The row of a cancelled request is dropped at the next step. Knows nothing of torch: the model is behind
`EngineCore`.
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

_CLOSE_TIMEOUT = 1.5
_BURST_SECONDS = 0.002
_REFILL_SHARE = 0.125


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A request that has not completed yet."""

    request: Request
    future: asyncio.Future[Completion]
    """What the caller awaits."""
    loop: asyncio.AbstractEventLoop
    """The caller's event loop."""

    @property
    def cancelled(self) -> bool:
        """Whether the caller was cancelled."""
        return self.future.cancelled()

    def show(self, text: str) -> None:
        """Pass the beginning of the reply to the request's callback; called in the thread of the batch."""

        def call() -> None:
            if self.request.on_text is not None and not self.future.done():
                self.request.on_text(text)

        with contextlib.suppress(RuntimeError):  # the caller's event loop is closed
            self.loop.call_soon_threadsafe(call)


Finished = tuple[PendingRequest, Completion | Exception]
"""A request and its result."""


class EngineCore(Protocol):
    """A model that decodes a batch whose rows come and go. Called from one thread only."""

    @property
    def running(self) -> int:
        """Rows in the batch."""
        ...

    @property
    def decoding(self) -> int:
        """Those of them that get a token in a step: others wait for memory."""
        ...

    def admit(self, pending: Sequence[PendingRequest]) -> list[Finished]:
        """Add rows; returns those that finished at once, such as prompts that are too long."""
        ...

    def step(self) -> list[Finished]:
        """Generate one token for every row; returns the rows that finished."""
        ...

    def drop_cancelled(self) -> None:
        """Remove the rows of cancelled requests."""
        ...

    def reset(self) -> None:
        """Remove all rows."""
        ...

    def free(self) -> None:
        """Free the model."""
        ...


class Batcher:
    """Feeds an `EngineCore` from any number of coroutines.

    Parameters
    ----------
    core:
        The model.
    capacity:
        Rows in the batch at most. While more requests wait, the batch is refilled whenever a quarter of it
        is free.
    """

    def __init__(self, core: EngineCore, capacity: int) -> None:
        self._core = core
        self._capacity = capacity
        self._waiting: deque[PendingRequest] = deque()
        self._admitted: set[PendingRequest] = set()
        self._wake = threading.Condition()
        self._closed = self._freed = False
        self._thread: threading.Thread | None = None
        self.steps = 0
        """Decoding steps so far."""
        self.row_steps = 0
        """Tokens generated: rows, summed over steps."""

    async def submit(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order; cancelling drops the unfinished ones.

        Raises
        ------
        PromptRefused
            A prompt is too long or cannot be rendered.
        EngineError
            The model failed, or the batcher is closed.
        """
        loop = asyncio.get_running_loop()
        pending = [PendingRequest(request, loop.create_future(), loop) for request in requests]
        self._enqueue(pending)
        try:
            return list(await asyncio.gather(*(each.future for each in pending)))
        finally:
            for each in pending:
                each.future.cancel()

    async def aclose(self) -> None:
        """Stop the thread and free the model; unfinished requests fail. Safe to call twice."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            # The thread is a daemon: a step that takes longer must not delay Ctrl-C.
            await asyncio.to_thread(self._thread.join, _CLOSE_TIMEOUT)
            self._thread = None
        elif not self._freed:
            self._free()

    @property
    def mean_batch(self) -> float:
        """Mean number of rows per step, 0.0 before the first."""
        return self.row_steps / self.steps if self.steps else 0.0

    def _enqueue(self, pending: Sequence[PendingRequest]) -> None:
        with self._wake:
            if self._closed:
                raise EngineError("the engine is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="spar-batcher", daemon=True)
                self._thread.start()
            self._waiting.extend(pending)
            self._wake.notify()

    def _run(self) -> None:
        while self._await_work():
            try:
                self._iterate()
            except Exception as error:  # a failed step must reach the callers, not end the thread
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
                # Requests arrive in bursts, one coroutine after the other: wait for the whole burst.
                self._wake.wait_for(lambda: self._closed, timeout=_BURST_SECONDS)
            return not self._closed

    def _iterate(self) -> None:
        self._core.drop_cancelled()
        admitted = self._next_admissions()
        self._admitted = {each for each in (*self._admitted, *admitted) if not each.cancelled}
        finished = self._core.admit(admitted) if admitted else []
        if self._core.running:
            self.steps += 1
            self.row_steps += self._core.decoding
            finished += self._core.step()
        for pending, result in finished:
            self._admitted.discard(pending)
            _complete(pending, result)

    def _next_admissions(self) -> list[PendingRequest]:
        with self._wake:
            free = self._capacity - self._core.running
            if self._core.running and free < self._capacity * _REFILL_SHARE:
                return []
            if self._core.running and len(self._waiting) < self._core.running * _REFILL_SHARE:
                return []
            admissions: list[PendingRequest] = []
            while self._waiting and len(admissions) < free:
                pending = self._waiting.popleft()
                if not pending.cancelled:
                    admissions.append(pending)
            return admissions

    def _fail_all(self, error: Exception) -> None:
        with self._wake:
            unfinished = [*self._admitted, *self._waiting]
            self._waiting.clear()
        self._admitted.clear()
        self._core.reset()
        for pending in unfinished:
            _complete(pending, error)


def _complete(pending: PendingRequest, result: Completion | Exception) -> None:
    def set_result() -> None:
        if pending.future.done():
            return
        if isinstance(result, Exception):
            pending.future.set_exception(result)
        else:
            pending.future.set_result(result)

    with contextlib.suppress(RuntimeError):  # the caller's event loop is closed
        pending.loop.call_soon_threadsafe(set_result)
