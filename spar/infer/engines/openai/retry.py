"""How long a request is tried again, and what a person hears of it.

Every request has its own window, which opens at its first failure and stands still while others have
the places of a working server: a busy server does not spend it. Within it, and at least four times, the
request is tried; between two tries it waits for a random time up to a bound that doubles (full jitter),
so that requests that failed together do not come back together. Servers that serve nobody for as long
as a window end it sooner.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field

from spar.errors import EngineError
from spar.infer.engine import NoteCallback

FEWEST_TRIES = 4
"""A request is tried at least so often, however long a try takes."""

_LONGEST_DELAY = 20.0


class Retry(Exception):
    """The same request may succeed later.

    Parameters
    ----------
    kind:
        What happened, in the words that are counted.
    reason:
        What happened, in full.
    wait:
        Seconds that the server asks for, 0 where it does not say.
    """

    def __init__(self, kind: str, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.kind, self.wait = kind, wait


class Changed(Exception):
    """Something was learned: the request is made anew and sent at once.

    Parameters
    ----------
    limit:
        Most tokens to ask for from now on, 0 to keep what there is.
    """

    def __init__(self, limit: int = 0) -> None:
        super().__init__(f"send again, limit {limit}")
        self.limit = limit


@dataclass(slots=True)
class Patience:
    """How long one request is tried again."""

    window: float
    """Seconds from its first failure, without those in our own queue, to the last try."""
    backoff: float
    """Most seconds before the second try."""
    started: float = field(default_factory=time.monotonic)
    """When it was first to be sent, by the monotonic clock."""
    first: float | None = None
    """When it first failed, by the same clock."""
    queued: float = 0.0
    """Seconds since then in which others had the places of an open server."""
    tries: int = 0
    """Failures so far."""

    def queue(self, seconds: float) -> None:
        """Note time in a queue; before the first failure it costs nothing anyway."""
        self.queued += seconds if self.tries else 0.0

    def left(self, url: str, reason: str, down_since: float) -> float:
        """Seconds left to wait for servers that are all down.

        Raises
        ------
        EngineError
            None is left.
        """
        waited = time.monotonic() - max(self.started, down_since)
        if waited >= self.window:
            raise self._given_up(url, reason, waited)
        return self.window - waited

    def delay(self, url: str, failure: Retry, refusing: float) -> float:
        """Seconds to wait before the next try.

        Parameters
        ----------
        refusing:
            For how many seconds the servers have refused everybody.

        Raises
        ------
        EngineError
            The window is over, and the request was tried often enough; or nobody was served during a
            window, and it was tried twice.
        """
        self.tries += 1
        now = time.monotonic()
        self.first = now if self.first is None else self.first
        spent = now - self.first - self.queued
        # A server that names a time cannot be asked more often in it.
        enough = self.tries >= FEWEST_TRIES or failure.wait > 0 or not self.window
        if (enough and spent >= self.window) or (self.tries > 1 and refusing >= self.window):
            raise self._given_up(url, str(failure), now - self.first)
        bound = min(_LONGEST_DELAY, self.backoff * 2 ** min(self.tries - 1, 16))
        delay = random.uniform(0, bound)
        if failure.wait:  # the server's whole queue is held for so long, and this waits in it
            delay = min(delay, failure.wait)
        return min(delay, self.window - spent) if spent < self.window else delay

    def _given_up(self, url: str, reason: str, seconds: float) -> EngineError:
        spent = f"{self.tries} failed tries in {seconds:.1f} s (--retry-for {self.window:g})"
        return EngineError(f"{url}: {reason}; given up after {spent}")


@dataclass(slots=True)
class Journal:
    """Tells of failures without flooding whoever listens: the 1st, 10th, 100th ... of each kind."""

    note: NoteCallback
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def record(self, url: str, failure: Retry) -> None:
        """One more failure."""
        self.counts[url, failure.kind] += 1
        number = self.counts[url, failure.kind]
        if str(number).strip("0") == "1":
            times = "" if number == 1 else f" ({number} times so far)"
            self.note(f"{url}: {failure}; the request is sent again{times}")
