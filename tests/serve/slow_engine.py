"""Engines whose replies take their time; `SPEC` is one for `spar serve --engine tests.serve.slow_engine:open_slow`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from spar.infer.engine import Completion, Request
from spar.infer.engines.fake import FakeEngine, scripted_reply

SECONDS = 0.5


class WaitingEngine(FakeEngine):
    """Replies once `release` is called, and counts what it is asked meanwhile."""

    def __init__(self) -> None:
        super().__init__(scripted_reply)
        self.in_flight = self.num_cancelled = 0
        self.released = False

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Wait, then reply."""
        self.in_flight += len(requests)
        try:
            while not self.released:
                await asyncio.sleep(0.005)
            return await super().generate(requests)
        except asyncio.CancelledError:
            self.num_cancelled += len(requests)
            raise
        finally:
            self.in_flight -= len(requests)


def open_slow(*_: Any) -> FakeEngine:
    """An engine that takes half a second for each reply."""
    return FakeEngine(scripted_reply, latency=SECONDS)


def open_stuck(*_: Any) -> FakeEngine:
    """An engine that replies to nothing."""
    return WaitingEngine()
