"""An adaptive limit on the number of concurrent requests to one server (AIMD).

Requests wait here for a permit in order of arrival; retries go before first attempts. The limit counts
replies, so a request for n samples takes n of it. It starts wide, at the batch of a common server, since a
search has few requests at a time and a window is a whole reply long: a small start would cost a short run
several reply times. It is adjusted once per window, which ends when as many replies have arrived as the
limit allows at once, all of them to requests sent since the window began:

- Growth: it doubles while twice the limit gave at least 20 % more tokens per second. By Little's law
  the throughput is the mean number in flight divided by the seconds per token, both summed over the
  window, so one long reply weighs no more than the same tokens in short replies.
- Queueing: where replies take several times as long as the fastest of their length, most requests wait in
  the server's queue, and the limit falls to twice the number that is served at once, also before the window
  ends. It does not fall below a limit that was measured to bring more than a smaller one.
- It never exceeds twice the smallest limit that reached (nearly) the best throughput. After some windows
  at that ceiling it falls back to that limit and measures again, since the load may have changed.
- Windows in which the limit was not nearly used up do not change it.
- Multiplicative decrease: an overload error or a timeout halves it, at most once for the requests sent
  since the last decrease; a timeout lets it fall to twice the number served at once. From then on it grows by a quarter of the way back to where that happened, or
  by a sixteenth beyond it, instead of doubling.

Netflix's concurrency-limits (Java) and TCP congestion control are the models. We know of no maintained
Python library that adapts such a limit: aiolimiter, asyncio.Semaphore and httpx.Limits enforce a fixed
one. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

INITIAL_LIMIT, MAX_LIMIT = 256, 1024
"""Concurrent replies at the start, and at most. vLLM's batch has 256 or, on large GPUs, 1,024 sequences."""

_MIN_GAIN = 1.2
_MIN_UTILIZATION = 0.75
_WINDOWS_AT_CEILING = 16
_GROWTH_DIVISOR, _RECOVERY_DIVISOR = 16, 4
_QUEUEING_RATIO, _EARLY_QUEUEING_RATIO = 4, 8
_MIN_QUEUED_REPLIES = 8
_MAX_SHRINK, _MIN_WITHOUT_QUEUE = 8, 16
_BASELINE_SHARE = 0.25  # a single fast reply, such as a cached one, does not set the baseline
_TIMER_TOLERANCE = 1e-3  # the event loop may fire a timer slightly early


class Rerouted(Exception):
    """The request was waiting for a permit and must choose a server again."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission to have one request in flight."""

    weight: int
    """Number of replies that the request asks for."""
    acquired_at: float
    """In seconds of the event loop's clock."""
    window: int
    """Number of the window it was acquired in."""


@dataclass(slots=True, eq=False)
class Waiter:
    """A request that waits for a permit."""

    weight: int
    granted: asyncio.Future[None]
    """Done when a permit is available, or fails with `Rerouted`."""
    counted: bool = True
    """Whether its weight is included in the queued weight."""


@dataclass(slots=True)
class Baseline:
    """Latency without a queue: that of the fastest replies of a length or longer."""

    _seconds: list[float] = field(default_factory=list)
    """By the bits of the number of tokens."""

    def update(self, tokens: int, seconds: float) -> float:
        """Add a reply; returns the latency that one of its length takes without a queue."""
        bits = tokens.bit_length()
        known = self._seconds
        known.extend([seconds] * (bits + 1 - len(known)))
        for i in range(bits, -1, -1):
            if known[i] < seconds:
                break  # shorter replies are at least as fast
            known[i] += (seconds - known[i]) * _BASELINE_SHARE
        return min(known[bits], seconds)


@dataclass(slots=True)
class Window:
    """Replies since the limit was last adjusted."""

    number: int = 0
    started_at: float = 0.0
    """In seconds of the event loop's clock."""
    replies: int = 0
    tokens: int = 0
    seconds: float = 0.0
    baseline_seconds: float = 0.0
    """What the same replies would have taken without a queue."""
    in_flight: int = 0
    """Summed over the samples."""
    samples: int = 0

    @property
    def mean_in_flight(self) -> float:
        """Mean number of replies in flight, sampled at each arrival."""
        return self.in_flight / max(1, self.samples)

    @property
    def tokens_per_second(self) -> float:
        """Throughput by Little's law."""
        return self.mean_in_flight * self.tokens / max(self.seconds, 1e-9)

    @property
    def queueing_ratio(self) -> float:
        """How many times as long as without a queue the replies took."""
        return self.seconds / max(self.baseline_seconds, 1e-9)

    @property
    def served_at_once(self) -> float:
        """Replies that the server generated at a time, by Little's law."""
        replies_per_request = self.replies / max(1, self.samples)
        return replies_per_request * self.baseline_seconds / max(_now() - self.started_at, 1e-9)


@dataclass(slots=True)
class AdaptiveLimiter:
    """Limits the replies in flight from one server."""

    limit: int = INITIAL_LIMIT
    """Current limit, in replies."""
    max_limit: int = MAX_LIMIT
    in_flight: int = 0
    """Replies in flight."""
    _knee: tuple[int, float] = (1, 0.0)
    """The smallest limit that reached nearly the best throughput, and that throughput."""
    _needed_limit: int = 1
    """The largest limit that brought more throughput than a smaller one."""
    _overload_limit: int = 0
    """The limit at the last overload; 0 if there was none."""
    _windows_at_ceiling: int = 0
    _baseline: Baseline = field(default_factory=Baseline)
    _window: Window = field(default_factory=Window)
    _decreased_in: int = 0
    """Number of the window that began with the last decrease."""
    _paused_until: float = 0.0
    _paused_seconds: float = 0.0
    """Total length of all pauses, including the rest of the current one."""
    _retries: deque[Waiter] = field(default_factory=deque)
    _first_attempts: deque[Waiter] = field(default_factory=deque)
    _queued: int = 0
    """Replies that waiting requests ask for."""

    @property
    def load(self) -> int:
        """Replies in flight or queued."""
        return self.in_flight + self._queued

    @property
    def unpaused_seconds(self) -> float:
        """A clock that stops during pauses."""
        return _now() - self._paused_seconds + max(0.0, self._paused_until - _now())

    async def acquire(self, weight: int, *, is_retry: bool = False) -> Permit:
        """Wait for a permit.

        Parameters
        ----------
        weight:
            Number of replies that the request asks for. One above the limit is admitted alone.
        is_retry:
            Whether the request was sent before; retries go before first attempts.

        Raises
        ------
        Rerouted
            The server should no longer be used.
        """
        queue = self._retries if is_retry else self._first_attempts
        ahead = self._retries if is_retry else self._retries or self._first_attempts
        if ahead or not self._has_room(weight):
            await self._wait_in(queue, weight)
        else:
            self.in_flight += weight
        return Permit(weight, _now(), self._window.number)

    def release(self, permit: Permit, tokens: int = 0) -> None:
        """Return a permit; `tokens` is the length of its longest reply, 0 if the request failed."""
        if tokens and permit.window == self._window.number:
            self._record(permit, tokens)
        self.in_flight -= permit.weight
        self._grant()

    def pause(self, seconds: float) -> None:
        """Grant no permit for this long."""
        if seconds > 0:
            until = max(self._paused_until, _now() + seconds)
            self._paused_seconds += until - max(self._paused_until, _now())
            self._paused_until = until
            asyncio.get_running_loop().call_later(seconds, self._grant)

    def back_off(self, permit: Permit) -> None:
        """Halve the limit: the request with this permit found the server overloaded."""
        self._decrease(permit, self.limit // 2)

    def back_off_after_timeout(self, permit: Permit) -> None:
        """Halve the limit, or lower it further to what the server can reply to in time."""
        limit, window = self.limit // 2, self._window
        # A request of this window waited as long as the time-out, so the window is long enough to judge by.
        if permit.window == window.number and window.replies:
            limit = min(limit, round(2 * window.served_at_once))
        self._decrease(permit, limit)

    def reroute_waiting(self) -> None:
        """Raise `Rerouted` in every waiting request."""
        for queue in (self._retries, self._first_attempts):
            while queue:
                waiter = queue.popleft()
                self._uncount(waiter)
                if not waiter.granted.done():
                    waiter.granted.set_exception(Rerouted())

    def _has_room(self, weight: int) -> bool:
        if _now() < self._paused_until - _TIMER_TOLERANCE:
            return False
        return not self.in_flight or self.in_flight + weight <= self.limit

    async def _wait_in(self, queue: deque[Waiter], weight: int) -> None:
        waiter = Waiter(weight, asyncio.get_running_loop().create_future())
        queue.append(waiter)
        self._queued += weight
        try:
            await waiter.granted
        except asyncio.CancelledError:
            granted = waiter.granted
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self.in_flight -= weight  # granted and cancelled in the same turn of the event loop
            granted.cancel()
            self._uncount(waiter)
            self._grant()
            raise

    def _grant(self) -> None:
        while queue := self._retries or self._first_attempts:
            waiter = queue[0]
            if not waiter.granted.done():
                if not self._has_room(waiter.weight):
                    return
                self.in_flight += waiter.weight
                waiter.granted.set_result(None)
            self._uncount(waiter)
            queue.popleft()

    def _uncount(self, waiter: Waiter) -> None:
        if waiter.counted:
            waiter.counted = False
            self._queued -= waiter.weight

    def _record(self, permit: Permit, tokens: int) -> None:
        window, seconds = self._window, _now() - permit.acquired_at
        if not window.samples and not window.number:
            window.started_at = permit.acquired_at
        window.replies += permit.weight
        window.tokens += tokens
        window.seconds += seconds
        window.baseline_seconds += self._baseline.update(tokens, seconds)
        window.in_flight += self.in_flight
        window.samples += 1
        full = window.replies >= self.limit
        if not full and (window.samples < _MIN_QUEUED_REPLIES or self._is_trial):
            return
        if window.mean_in_flight < _MIN_UTILIZATION * self.limit:
            limit = self.limit
        else:
            limit = self._next_limit(window.tokens_per_second) if full else self.limit
            if (lower := self._limit_without_queue(full)) <= self.limit // 2:
                limit, self._knee = lower, (lower, 0.0)
        if full or limit != self.limit:
            self._set_limit(limit)

    @property
    def _is_trial(self) -> bool:
        """Whether the window shows if this limit brings more throughput than the best so far."""
        return self._knee[1] > 0 and self.limit > self._knee[0]

    def _limit_without_queue(self, full: bool) -> int:
        """The limit, or a lower one if most requests wait in the server's queue."""
        window = self._window
        if window.queueing_ratio < (_QUEUEING_RATIO if full else _EARLY_QUEUEING_RATIO):
            return self.limit
        served = round(2 * window.served_at_once)
        return max(served, self._needed_limit, self.limit // _MAX_SHRINK, _MIN_WITHOUT_QUEUE)

    def _next_limit(self, tokens_per_second: float) -> int:
        if tokens_per_second > _MIN_GAIN * self._knee[1]:
            if self._knee[1]:
                self._needed_limit = self.limit
            self._knee = (self.limit, tokens_per_second)
        ceiling = min(self.max_limit, 2 * self._knee[0])
        if self.limit < ceiling:
            self._windows_at_ceiling = 0
            increase = self.limit
            if self._overload_limit:
                recovery = (self._overload_limit - self.limit) // _RECOVERY_DIVISOR
                increase = max(1, recovery, self.limit // _GROWTH_DIVISOR)
            return min(ceiling, self.limit + increase)
        self._windows_at_ceiling += 1
        if self.limit == self.max_limit or self._windows_at_ceiling < _WINDOWS_AT_CEILING:
            return self.limit
        self._windows_at_ceiling, self._knee = 0, (self._knee[0], 0.0)
        self._needed_limit = 1
        return self._knee[0]

    def _decrease(self, permit: Permit, limit: int) -> None:
        if permit.window >= self._decreased_in:
            self._overload_limit = self.limit
            self._needed_limit = 1
            self._set_limit(max(1, limit))
            self._decreased_in = self._window.number

    def _set_limit(self, limit: int) -> None:
        self.limit = limit
        self._window = Window(self._window.number + 1, _now())


def _now() -> float:
    return asyncio.get_running_loop().time()
