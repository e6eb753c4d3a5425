"""The meter: what is in flight, how long the engine was busy, and what was given up."""

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
    """Ten requests at once keep the engine busy as long as one does; idle time does not count."""
    meter = InstrumentedEngine(FakeEngine(lambda _: "a b", latency=0.1))
    await asyncio.gather(*(meter.generate(ASK) for _ in range(10)))
    await asyncio.sleep(0.3)
    await meter.generate(ASK)
    facts = meter.counts()
    assert (facts["calls"], facts["aborted"], meter.in_flight) == (11, 0, 0)
    assert 0.19 <= facts["busy_seconds"] < facts["request_seconds"] / 2
    assert facts["request_seconds"] >= 1.0
    assert meter.completion_tokens == 22


async def test_what_is_given_up_is_counted() -> None:
    """A cancelled request is no longer in flight and was never answered."""
    meter = InstrumentedEngine(HangingEngine(lambda _: "a", held=["hold"]))
    task = asyncio.create_task(meter.generate(HOLD))
    await asyncio.sleep(0.01)
    assert meter.in_flight == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (meter.in_flight, meter.calls, meter.aborted) == (0, 0, 1)


async def test_an_adapter_is_named_in_every_request() -> None:
    """The role's requests carry it; the caller's own stay as they were."""
    engine = FakeEngine(lambda request: request.adapter)
    (reply,) = await AdapterEngine(engine, "lora").generate(ASK)
    assert reply.text == "lora"
    assert ASK[0].adapter == ""


async def test_an_engine_that_was_not_opened_says_so() -> None:
    """A role that a strategy needs after all is an error with the role's name."""
    with pytest.raises(EngineError, match="refiner"):
        await MissingEngine("refiner").generate(ASK)
