"""Work in the background that never makes a person wait.

One thread at a time runs Python, so a busy worker delays the screen by whole switch intervals. A worker
calls `breathe` between small pieces of work: it lets go often, and for longer while somebody reads.
"""

from __future__ import annotations

import time

WORK_SECONDS, BREATH_SECONDS = 0.01, 0.0002
"""Most time between two breaths, and how long one is. On a busy machine each costs far more than that."""
VISITED_SECONDS, YIELD_SECONDS = 0.001, 0.001
"""The same two while somebody reads."""
VISIT_SECONDS = 0.1
"""How long after a visit the next one is expected."""


class Pace:
    """The manners of the workers of one index."""

    def __init__(self) -> None:
        self._breathed = 0.0
        self._visited = 0.0

    def visit(self) -> None:
        """Note that a person's thread is reading."""
        self._visited = time.monotonic()

    def breathe(self) -> None:
        """Let other threads run."""
        now = time.monotonic()
        visited = now - self._visited < VISIT_SECONDS
        if now - self._breathed > (VISITED_SECONDS if visited else WORK_SECONDS):
            time.sleep(YIELD_SECONDS if visited else BREATH_SECONDS)
            self._breathed = time.monotonic()
