"""Background work that does not slow down the UI thread.

Only one thread runs Python at a time, so a busy worker delays the screen by whole switch intervals. A worker
calls `yield_cpu` between small pieces of work: it sleeps often, and for longer while the UI thread reads.
"""

from __future__ import annotations

import time

WORK_SECONDS, SLEEP_SECONDS = 0.01, 0.0002
"""Time between two sleeps, and the length of one. On a busy machine a sleep takes far longer."""
READING_WORK_SECONDS, READING_SLEEP_SECONDS = 0.001, 0.001
"""The same while the UI thread reads."""
READING_WINDOW = 0.1
"""Seconds after a read during which another one is expected."""


class Throttle:
    """Limits how long the workers of one index run without a sleep."""

    def __init__(self) -> None:
        self._slept = 0.0
        self._last_read = 0.0

    def note_read(self) -> None:
        """Record that the UI thread is reading."""
        self._last_read = time.monotonic()

    def yield_cpu(self) -> None:
        """Let other threads run."""
        now = time.monotonic()
        reading = now - self._last_read < READING_WINDOW
        if now - self._slept > (READING_WORK_SECONDS if reading else WORK_SECONDS):
            time.sleep(READING_SLEEP_SECONDS if reading else SLEEP_SECONDS)
            self._slept = time.monotonic()
