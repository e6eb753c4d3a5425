"""A simulated engine: continuous batching with a clock in place of a model, for measuring schedules.

A decoding step takes `base_seconds + row_seconds * running`; every running request gains one token per step;
a free slot is refilled at the next step, first come first served. Before it, the prompts of new requests are read
one by one, in `prefill_seconds + prefill_token_seconds * tokens` (nothing unless set), a prompt that several
requests of one call share only once. The reply to a request
and its length depend on the request and its seed only, so that a search and a replay of its requests do the
same work.

It uses the event loop's clock: real time on an ordinary loop, as fast as the machine can on a `VirtualLoop`.

Used by the benchmarks (`from simulated import ...`) and by tests (`from benchmarks.simulated import ...`).
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import math
import selectors
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from statistics import NormalDist
from typing import Any

from spar.errors import EngineError
from spar.infer.engine import Completion, Request
from spar.infer.engines.fake import Reply, scripted_reply

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class SimulatedHardware:
    """Speed of the simulated hardware, and lengths of the replies."""

    slots: int = 256
    """Requests in a batch at most."""
    base_seconds: float = 0.0075
    """Time of a step without rows."""
    row_seconds: float = 18e-6
    """Additional time of a step per running request."""
    mean_tokens: float = 100.0
    """Mean length of a reply."""
    spread: float = 0.7
    """Standard deviation of the logarithm of a length."""
    max_tokens: int = 1024
    """Longest reply."""
    prefill_seconds: float = 0.0
    """Time to read a prompt, during which nothing is generated."""
    prefill_token_seconds: float = 0.0
    """Additional time per token of the prompt."""


@dataclass(slots=True, eq=False)
class _Job:
    request: Request
    length: int
    prefill_seconds: float
    future: asyncio.Future[None]


@dataclass(slots=True, eq=False)
class SimulatedEngine:
    """Completes requests when their simulated time has passed."""

    hardware: SimulatedHardware = SimulatedHardware()
    reply: Reply = scripted_reply
    on_request: Callable[[Request], None] | None = None
    """Called with each request as it arrives."""
    model: str = "simulated"
    steps: int = 0
    """Decoding steps taken."""
    row_steps: int = 0
    """Tokens generated."""
    _waiting: deque[_Job] = field(default_factory=deque)
    _prefill_seconds: float = 0.0
    """Of the prompts of requests that join the next step."""
    _running: list[tuple[int, int, _Job]] = field(default_factory=list)
    _order: Any = field(default_factory=count)
    _worker: asyncio.Task[None] | None = None
    _changed: asyncio.Future[None] | None = None
    _closed: bool = False

    @property
    def capacity(self) -> int:
        """The number of slots."""
        return self.hardware.slots

    @property
    def description(self) -> str:
        """The slots and the step time."""
        hardware = self.hardware
        return f"{hardware.slots} slots, {1e3 * hardware.base_seconds} ms + {1e6 * hardware.row_seconds} us a row"

    @property
    def mean_batch(self) -> float:
        """Mean number of requests per step, 0.0 before the first."""
        return self.row_steps / self.steps if self.steps else 0.0

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order."""
        if self._closed:
            raise EngineError("the engine is closed")
        jobs = []
        for i, request in enumerate(requests):
            is_read = i > 0 and request.messages == requests[i - 1].messages
            jobs.append(self._enqueue(request, 0.0 if is_read else self._prefill(request)))
        try:
            for job in jobs:
                await job.future
        finally:
            for job in jobs:
                job.future.cancel()
            if any(job.future.cancelled() for job in jobs):
                self._notice()
        return [self._complete(job) for job in jobs]

    async def aclose(self) -> None:
        """Stop the worker task."""
        self._closed = True
        if self._worker is not None:
            self._worker.cancel()

    def _prefill(self, request: Request) -> float:
        hardware = self.hardware
        return hardware.prefill_seconds + hardware.prefill_token_seconds * _prompt_tokens(request)

    def _enqueue(self, request: Request, prefill_seconds: float) -> _Job:
        if self.on_request is not None:
            self.on_request(request)
        job = _Job(
            request,
            reply_length(request, self.hardware),
            prefill_seconds,
            asyncio.get_running_loop().create_future(),
        )
        self._waiting.append(job)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.ensure_future(self._run())
        if len(self._running) < self.hardware.slots:
            self._notice()
        return job

    async def _run(self) -> None:
        """Step until nothing is left; steps without a change are waited for in one go."""
        await asyncio.sleep(0)  # requests come in bursts: the whole burst joins the first step
        clock = asyncio.get_running_loop().time
        now = clock()
        while self._fill():
            running = len(self._running)
            now += self._prefill_seconds
            self._prefill_seconds = 0.0
            step_seconds = self.hardware.base_seconds + self.hardware.row_seconds * running
            left = self._running[0][0] - self.steps
            await self._change(now + left * step_seconds)
            # Requests that arrive or are cancelled during a step count at its end.
            done = min(left, max(1, math.ceil((clock() - now) / step_seconds - 1e-9)))
            now += done * step_seconds
            await asyncio.sleep(max(0.0, now - clock()))
            self.steps += done
            self.row_steps += done * running
            self._finish()

    async def _change(self, end: float) -> None:
        """Wait until `end`, or until a slot is requested or released."""
        loop = asyncio.get_running_loop()
        self._changed = loop.create_future()
        timer = loop.call_at(end, self._notice)
        try:
            await self._changed
        finally:
            timer.cancel()

    def _notice(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _fill(self) -> bool:
        if any(job.future.done() for *_, job in self._running):
            self._running = [item for item in self._running if not item[2].future.done()]
            heapq.heapify(self._running)
        while self._waiting and len(self._running) < self.hardware.slots:
            job = self._waiting.popleft()
            if not job.future.done():
                self._prefill_seconds += job.prefill_seconds
                end = self.steps + job.length
                heapq.heappush(self._running, (end, next(self._order), job))
        return bool(self._running)

    def _finish(self) -> None:
        while self._running and self._running[0][0] <= self.steps:
            *_, job = heapq.heappop(self._running)
            if not job.future.done():
                job.future.set_result(None)

    def _complete(self, job: _Job) -> Completion:
        text, prompt = self.reply(job.request), _prompt_tokens(job.request)
        return Completion(text, "stop", prompt_tokens=prompt, completion_tokens=job.length)


def _prompt_tokens(request: Request) -> int:
    return sum(len(message.content) for message in request.messages) // 4


def reply_length(request: Request, hardware: SimulatedHardware) -> int:
    """Tokens of the reply to a request: log-normal, by a hash of conversation and seed."""
    conversation = "|".join(message.content for message in request.messages)
    key = f"{conversation}|{request.sampling.seed}".encode("utf-8", "replace")
    share = int.from_bytes(hashlib.blake2b(key, digest_size=6).digest(), "big") + 0.5
    drawn = _NORMAL.inv_cdf(share / 2**48)
    mean = math.log(hardware.mean_tokens) - hardware.spread**2 / 2
    return max(1, min(hardware.max_tokens, round(math.exp(mean + hardware.spread * drawn))))


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__(_Skipping(self))
        self._now = 0.0

    def time(self) -> float:
        """Virtual seconds since the loop was created."""
        return self._now

    def skip(self, seconds: float) -> None:
        """Advance the clock."""
        self._now += seconds


class _Skipping(selectors.DefaultSelector):  # the platform's own
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0 if timeout is None or timeout > 0 else timeout)
        if not ready and timeout:
            self._loop.skip(timeout)
        return ready
