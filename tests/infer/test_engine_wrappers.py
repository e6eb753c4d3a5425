"""Engine wrappers: counts of requests, busy time and cancellations; adapters; missing engines."""

from __future__ import annotations

import asyncio

import pytest

from spar.errors import EngineError
from spar.infer.engine import Request
from spar.infer.engine_wrappers import AdapterEngine, InstrumentedEngine, MissingEngine
from spar.infer.engines.fake import FakeEngine
from spar.types import Message
from tests.fakes import HangingEngine

ASK = [Request((Message(role="user", content="go"),))]
HOLD = [Request((Message(role="user", content="hold"),))]


async def test_busy_time_counts_overlapping_requests_once() -> None:
    """Ten concurrent requests take as much busy time as one; idle time does not count."""
    instrumented = InstrumentedEngine(FakeEngine(lambda _: "a b", latency=0.1))
    await asyncio.gather(*(instrumented.generate(ASK) for _ in range(10)))
    await asyncio.sleep(0.3)
    await instrumented.generate(ASK)
    counts = instrumented.counts()
    assert (counts["calls"], counts["aborted"], instrumented.in_flight) == (11, 0, 0)
    assert 0.19 <= counts["busy_seconds"] < counts["request_seconds"] / 2
    assert counts["request_seconds"] >= 1.0
    assert instrumented.completion_tokens == 22


async def test_cancelled_requests_are_counted() -> None:
    """They are no longer in flight and not completed."""
    instrumented = InstrumentedEngine(HangingEngine(lambda _: "a", held=["hold"]))
    task = asyncio.create_task(instrumented.generate(HOLD))
    await asyncio.sleep(0.01)
    assert instrumented.in_flight == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (instrumented.in_flight, instrumented.calls, instrumented.aborted) == (
        0,
        0,
        1,
    )


async def test_the_adapter_is_set_in_every_request() -> None:
    """The caller's own request is unchanged."""
    engine = FakeEngine(lambda request: request.adapter)
    (reply,) = await AdapterEngine(engine, "lora").generate(ASK)
    assert reply.text == "lora"
    assert ASK[0].adapter == ""


async def test_a_missing_engine_names_its_role() -> None:
    """Using it raises `EngineError`."""
    with pytest.raises(EngineError, match="refiner"):
        await MissingEngine("refiner").generate(ASK)
