"""How long a request is retried, and how failures are reported.

Every request has its own retry window. It opens at the first failure, and time that the request spends in
our own queue for a working server does not count, so that a long queue does not use it up. Within the
window, and at least four times, the request is attempted; the delay before each retry is random up to a
bound that doubles (exponential backoff with full jitter), so that requests that failed together are not
retried together. If the servers serve no request at all for as long as a window, it closes early.

tenacity and backoff measure elapsed time from the first attempt; neither can leave out time spent in a
queue, nor close a window early because of what other requests observed.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field

from spar.errors import EngineError
from spar.infer.engine import NoteCallback
from spar.infer.engines.openai.choices import WITHOUT_TEXT

MIN_ATTEMPTS = 4
"""A request is attempted at least this often, however long an attempt takes."""

TIMEOUT = "timeout"
"""Kind of a failure for lack of a reply in time."""
_MAX_DELAY = 20.0


class TransientError(Exception):
    """The same request may succeed later.

    Parameters
    ----------
    kind:
        Groups failures in the log, such as "HTTP 503".
    reason:
        The full message.
    retry_after:
        Seconds after which the server wants the request again; 0 if it does not say.
    suspects_prompt:
        Whether the prompt may be the reason: the server failed over it, or sent no reply in time.
    """

    def __init__(
        self, kind: str, reason: str, retry_after: float = 0.0, *, suspects_prompt: bool = False
    ) -> None:
        super().__init__(reason)
        self.kind, self.retry_after = kind, retry_after
        self.suspects_prompt = suspects_prompt


class RebuildRequest(Exception):
    """Something was learned about the server: build the request again and send it at once.

    Parameters
    ----------
    max_tokens:
        New token limit, 0 to leave it unchanged.
    """

    def __init__(self, max_tokens: int = 0) -> None:
        super().__init__(f"build the request again, max_tokens {max_tokens}")
        self.max_tokens = max_tokens


@dataclass(slots=True)
class RetryPolicy:
    """The retry window of one request, and its state."""

    window: float
    """Seconds between the first failure and the last attempt, not counting time in our own queue."""
    initial_backoff: float
    """Upper bound of the first delay, in seconds."""
    created_at: float = field(default_factory=time.monotonic)
    """When the request was made, by the monotonic clock."""
    first_failure: float | None = None
    """When it first failed, by the same clock."""
    queued_seconds: float = 0.0
    """Time in the queue of a working server since then."""
    failures: int = 0
    """Failed attempts so far."""
    without_text: int = 0
    """The last of them that were replies without a text to read."""

    def suspects_prompt(self, failure: TransientError, replied_at: float) -> bool:
        """Whether the prompt may be the reason that the retries are exhausted.

        A reply may come too late for its length or for the server's load, which no harmless prompt shows: then only if the run's
        other requests had theirs meanwhile.

        Parameters
        ----------
        replied_at:
            When the server last completed a request of the run, by the monotonic clock.
        """
        is_late = failure.kind == TIMEOUT and replied_at <= (self.first_failure or self.created_at)
        return failure.suspects_prompt and not is_late

    def add_queue_time(self, seconds: float) -> None:
        """Record time in a queue. Before the first failure it is irrelevant."""
        self.queued_seconds += seconds if self.failures else 0.0

    def time_left(self, url: str, reason: str, down_since: float) -> float:
        """Seconds left to wait while every server is down.

        Raises
        ------
        EngineError
            None are left.
        """
        waited = time.monotonic() - max(self.created_at, down_since)
        if waited >= self.window:
            raise self._exhausted(url, reason, f"{waited:.1f} s in which no server was up")
        return self.window - waited

    def next_delay(self, url: str, failure: TransientError, refusing_seconds: float) -> float:
        """Record a failure; returns the seconds to wait before the next attempt.

        Parameters
        ----------
        refusing_seconds:
            How long the servers have refused every request.

        Raises
        ------
        EngineError
            The window is closed and there were enough attempts; or no request was served for as long as
            a window, and this one was attempted twice.
        """
        self.failures += 1
        self.without_text = self.without_text + 1 if failure.kind in WITHOUT_TEXT else 0
        now = time.monotonic()
        self.first_failure = now if self.first_failure is None else self.first_failure
        elapsed = now - self.first_failure - self.queued_seconds
        # A server that sets a time cannot be called more often within it.
        enough = self.failures >= MIN_ATTEMPTS or failure.retry_after > 0 or not self.window
        if enough and elapsed >= self.window:
            spent = f"{self.failures} failed attempts in {now - self.first_failure:.1f} s"
            raise self._exhausted(url, str(failure), spent)
        if self.failures > 1 and refusing_seconds >= self.window:
            spent = f"{refusing_seconds:.1f} s in which no request was served"
            raise self._exhausted(url, str(failure), spent)
        bound = min(_MAX_DELAY, self.initial_backoff * 2 ** min(self.failures - 1, 16))
        delay = random.uniform(0, bound)
        if (
            failure.retry_after
        ):  # the limiter pauses the server's whole queue, this request included
            delay = min(delay, failure.retry_after)
        return min(delay, self.window - elapsed) if elapsed < self.window else delay

    def _exhausted(self, url: str, reason: str, spent: str) -> EngineError:
        if not self.window:
            return EngineError(f"{url}: {reason}; not retried (--retry-for 0)")
        return EngineError(f"{url}: {reason}; gave up after {spent} (--retry-for {self.window:g})")


@dataclass(slots=True)
class FailureLog:
    """Reports the 1st, 10th, 100th, ... failure of each kind and server."""

    note: NoteCallback
    consequence: str
    """What is done about each of them."""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(URL, kind) to the number of failures."""

    def record(self, url: str, kind: str, message: str) -> None:
        """Count one failure."""
        self.counts[url, kind] += 1
        number = self.counts[url, kind]
        if str(number).strip("0") == "1":
            times = "" if number == 1 else f" ({number:,} times so far)"
            self.note(f"{message}; {self.consequence}{times}")
