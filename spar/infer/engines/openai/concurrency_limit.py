"""How many requests a server is given at once: found out while it works.

Requests wait here for a place, in the order in which they came; those that are sent again go before
those that were never sent. The number of places starts small and is judged once a window, that is
whenever as many replies have come back as there are places, all of them to requests that were sent
since the window began:

- It doubles while that pays: while twice the places gave at least a tenth more tokens a second. The
  rate is the mean number in flight divided by the seconds a token, both summed over the window, so
  one long reply weighs no more than the same tokens in short ones.
- It never stands above twice the smallest number that gave (nearly) the best rate. After some windows
  there it falls back to that number and measures again, since the work may have changed.
- It is judged only by windows in which the places were nearly all taken.
- A refusal for load, or a time-out, halves it, at most once for what was sent since the last halving.
  From then on a window takes it a quarter of the way back to where that happened, or a sixteenth
  further on, instead of doubling it.

Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

START, CAP = 16, 1024
"""Places at first, and at most."""

_GAIN = 1.1
_BUSY_SHARE = 0.75
_WINDOWS_AT_CEILING = 16
_SLOW_GROWTH, _WAY_BACK = 16, 4
_EARLY = 1e-3  # the event loop may wake us a tick before the time we asked for


class Moved(Exception):
    """Whoever waited for a place must look for another server."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place that was given to a request."""

    weight: int
    """Replies that the request wants."""
    entered: float
    """When it was given, in seconds of the event loop's clock."""
    window: int


@dataclass(slots=True, eq=False)
class Waiter:
    """Someone who wants a place."""

    weight: int
    place: asyncio.Future[None]
    """Done once the place is given, or with `Moved`."""
    counted: bool = True
    """Whether its weight is among those that wait."""


@dataclass(slots=True)
class Window:
    """What came back since the number of places was last judged."""

    number: int = 0
    replies: int = 0
    tokens: int = 0
    seconds: float = 0.0
    in_flight: int = 0
    """Summed over the samples."""
    samples: int = 0

    @property
    def mean_in_flight(self) -> float:
        """Replies on their way, as seen by those that arrived."""
        return self.in_flight / max(1, self.samples)

    @property
    def rate(self) -> float:
        """Tokens a second, by Little's law."""
        return self.mean_in_flight * self.tokens / max(self.seconds, 1e-9)


@dataclass(slots=True)
class Pacer:
    """Gives out the places of one server."""

    limit: int = START
    """Places now, counted in replies."""
    cap: int = CAP
    in_flight: int = 0
    _knee: tuple[int, float] = (1, 0.0)
    """Smallest number of places that gave nearly the best rate, and that rate."""
    _trouble: int = 0
    """Places at which the server last refused for load, 0 before that."""
    _at_ceiling: int = 0
    _window: Window = field(default_factory=Window)
    _halved: int = 0
    """The window that began with the last halving."""
    _paused_until: float = 0.0
    _paused: float = 0.0
    """Seconds of all pauses, the rest of the present one included."""
    _again: deque[Waiter] = field(default_factory=deque)
    _waiting: deque[Waiter] = field(default_factory=deque)
    _wanted: int = 0
    """Replies that those who wait want."""

    @property
    def load(self) -> int:
        """Replies on their way, and those that wait for a place."""
        return self.in_flight + self._wanted

    @property
    def seconds_open(self) -> float:
        """A clock that stands still during pauses."""
        return _now() - self._paused + max(0.0, self._paused_until - _now())

    async def enter(self, weight: int, again: bool = False) -> Slot:
        """Wait for a place.

        Parameters
        ----------
        weight:
            Replies that the request wants.
        again:
            Whether it was sent before, so that it goes before those that were not.

        Raises
        ------
        Moved
            The server is gone.
        """
        before = self._again if again else self._again or self._waiting
        if before or not self._fits(weight):
            await self._queue(weight, self._again if again else self._waiting)
        else:
            self.in_flight += weight
        return Slot(weight, _now(), self._window.number)

    def leave(self, slot: Slot, tokens: int = 0) -> None:
        """Give the place back; `tokens` is the length of its longest reply, 0 if there was none."""
        if tokens and slot.window == self._window.number:
            self._note(slot, tokens)
        self.in_flight -= slot.weight
        self._wake()

    def pause(self, seconds: float) -> None:
        """Give out no place for so long."""
        if seconds > 0:
            until = max(self._paused_until, _now() + seconds)
            self._paused += until - max(self._paused_until, _now())
            self._paused_until = until
            asyncio.get_running_loop().call_later(seconds, self._wake)

    def back_off(self, slot: Slot) -> None:
        """The server has too much to do, as a request in this place found."""
        if slot.window >= self._halved:
            self._trouble = self.limit
            self._move(max(1, self.limit // 2))
            self._halved = self._window.number

    def evict(self) -> None:
        """Send away whoever waits."""
        for queue in (self._again, self._waiting):
            while queue:
                waiter = queue.popleft()
                self._uncount(waiter)
                if not waiter.place.done():
                    waiter.place.set_exception(Moved())

    def _fits(self, weight: int) -> bool:
        if _now() < self._paused_until - _EARLY:
            return False
        return not self.in_flight or self.in_flight + weight <= self.limit

    async def _queue(self, weight: int, queue: deque[Waiter]) -> None:
        waiter = Waiter(weight, asyncio.get_running_loop().create_future())
        queue.append(waiter)
        self._wanted += weight
        try:
            await waiter.place
        except asyncio.CancelledError:
            place = waiter.place
            if place.done() and not place.cancelled() and place.exception() is None:
                self.in_flight -= weight  # the place was given in the very moment of the cancel
            place.cancel()
            self._uncount(waiter)
            self._wake()
            raise

    def _wake(self) -> None:
        while queue := self._again or self._waiting:
            waiter = queue[0]
            if not waiter.place.done():
                if not self._fits(waiter.weight):
                    return
                self.in_flight += waiter.weight
                waiter.place.set_result(None)
            self._uncount(waiter)
            queue.popleft()

    def _uncount(self, waiter: Waiter) -> None:
        if waiter.counted:
            waiter.counted = False
            self._wanted -= waiter.weight

    def _note(self, slot: Slot, tokens: int) -> None:
        window = self._window
        window.replies += slot.weight
        window.tokens += tokens
        window.seconds += _now() - slot.entered
        window.in_flight += self.in_flight
        window.samples += 1
        if window.replies >= self.limit:
            busy = window.mean_in_flight >= _BUSY_SHARE * self.limit
            self._move(self._judge(window.rate) if busy else self.limit)

    def _judge(self, rate: float) -> int:
        if rate > _GAIN * self._knee[1]:
            self._knee = (self.limit, rate)
        ceiling = min(self.cap, 2 * self._knee[0])
        if self.limit < ceiling:
            self._at_ceiling = 0
            grown = self.limit + self._step()
            return min(ceiling, grown)
        self._at_ceiling += 1
        if self.limit == self.cap or self._at_ceiling < _WINDOWS_AT_CEILING:
            return self.limit
        self._at_ceiling, self._knee = 0, (self._knee[0], 0.0)
        return self._knee[0]

    def _step(self) -> int:
        if not self._trouble:
            return self.limit
        way_back = (self._trouble - self.limit) // _WAY_BACK
        return max(1, way_back, self.limit // _SLOW_GROWTH)

    def _move(self, limit: int) -> None:
        self.limit = limit
        self._window = Window(self._window.number + 1)


def _now() -> float:
    return asyncio.get_running_loop().time()
