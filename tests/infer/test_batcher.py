"""The batcher over a scripted core: order, concurrency, cancellation, closing, failing steps."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from spar.errors import EngineError, PromptTooLong
from spar.infer.batcher import Batcher, Finished, PendingRequest
from spar.infer.engine import Completion, Request, Sampling
from spar.types import Message

CAPACITY = 8


class ScriptedCore:
    """Rows that finish after as many steps as their prompt says; `long` finishes at once, `boom` fails."""

    def __init__(self) -> None:
        self.rows: dict[PendingRequest, int] = {}
        self.max_rows = 0
        self.admissions: list[int] = []
        self.dropped: list[str] = []
        self.frees = 0
        self.gate = threading.Event()
        self.gate.set()
        self.finish = threading.Event()

    @property
    def running(self) -> int:
        """Rows in the batch."""
        return len(self.rows)

    decoding = running

    def admit(self, jobs: Sequence[PendingRequest]) -> list[Finished]:
        """Add rows."""
        self.admissions.append(len(jobs))
        ended: list[Finished] = []
        for job in jobs:
            if prompt_of(job) == "long":
                ended.append((job, PromptTooLong("too long")))
            else:
                self.rows[job] = int(prompt_of(job)) if prompt_of(job).isdigit() else 1
        self.max_rows = max(self.max_rows, len(self.rows))
        return ended

    def step(self) -> list[Finished]:
        """Count every row down."""
        self.gate.wait(5)
        if any(prompt_of(job) == "boom" for job in self.rows):
            raise RuntimeError("out of memory")
        time.sleep(0)  # lets the event loop's thread run
        self.rows = {job: left - 1 for job, left in self.rows.items()}
        done = [job for job, left in self.rows.items() if left <= 0 or self.finish.is_set()]
        for job in done:
            del self.rows[job]
        return [(job, reply_to(prompt_of(job))) for job in done]

    def drop_cancelled(self) -> None:
        """Remove the rows of cancelled requests."""
        cancelled = [job for job in self.rows if job.cancelled]
        self.dropped += [prompt_of(job) for job in cancelled]
        for job in cancelled:
            del self.rows[job]

    def reset(self) -> None:
        """Remove all rows."""
        self.rows = {}

    def free(self) -> None:
        """Count the calls."""
        self.frees += 1


def prompt_of(job: PendingRequest) -> str:
    """The prompt of a request."""
    return job.request.messages[0].content


def reply_to(text: str) -> Completion:
    """A reply that repeats the prompt."""
    return Completion(f"re {text}", "stop", 1, 1)


def make_requests(*texts: str) -> list[Request]:
    """One request per text."""
    return [Request((Message(role="user", content=text),), Sampling()) for text in texts]


@pytest.fixture
def core() -> ScriptedCore:
    """A fresh scripted core."""
    return ScriptedCore()


@pytest.fixture
async def batcher(core: ScriptedCore) -> AsyncIterator[Batcher]:
    """A batcher over it, closed after the test."""
    made = Batcher(core, CAPACITY)
    yield made
    core.gate.set()
    await made.aclose()


async def submit(batcher: Batcher, *texts: str) -> list[str]:
    """The texts of the replies, within five seconds."""
    replies = await asyncio.wait_for(batcher.submit(make_requests(*texts)), 5)
    return [reply.text for reply in replies]


async def test_completions_are_in_the_order_of_requests(batcher: Batcher) -> None:
    """However many steps each row takes."""
    assert await submit(batcher, "9", "1", "5", "1") == ["re 9", "re 1", "re 5", "re 1"]


async def test_no_requests_give_no_completions(batcher: Batcher) -> None:
    """An empty list gives an empty list."""
    assert await submit(batcher) == []


async def test_callers_share_the_batch(batcher: Batcher, core: ScriptedCore) -> None:
    """Waiting requests are admitted together, and each completes when its row finishes."""
    core.gate.clear()
    order: list[str] = []

    async def one(text: str) -> None:
        await submit(batcher, text)
        order.append(text)

    calls = [asyncio.create_task(one("20"))]
    while not core.running:
        await asyncio.sleep(0.001)
    calls += [asyncio.create_task(one("2")) for _ in range(CAPACITY - 1)]
    await asyncio.sleep(0)
    core.gate.set()
    await asyncio.gather(*calls)
    assert core.admissions == [1, CAPACITY - 1]
    assert order == ["2"] * (CAPACITY - 1) + ["20"]
    assert batcher.steps == 20
    assert batcher.mean_batch == (20 + 2 * (CAPACITY - 1)) / 20


async def test_the_capacity_is_never_exceeded(batcher: Batcher, core: ScriptedCore) -> None:
    """A hundred rows of random lengths pass through in full batches."""
    dice = random.Random(0)
    texts = [str(dice.randrange(1, 30)) for _ in range(100)]
    replies = await asyncio.gather(*(submit(batcher, text) for text in texts))
    assert replies == [[f"re {text}"] for text in texts]
    assert core.max_rows == CAPACITY


async def test_a_request_that_fails_fails_alone(batcher: Batcher) -> None:
    """Only its own call raises the error."""
    fine, failed = await asyncio.gather(
        submit(batcher, "3"), submit(batcher, "1", "long"), return_exceptions=True
    )
    assert fine == ["re 3"]
    assert isinstance(failed, PromptTooLong)


async def test_cancelling_drops_the_row(batcher: Batcher, core: ScriptedCore) -> None:
    """Rows of other callers stay in the batch."""
    gone = asyncio.create_task(batcher.submit(make_requests("1000000001", "1000000002")))
    stays = asyncio.create_task(submit(batcher, "1000000003"))
    while core.running < 3:
        await asyncio.sleep(0.001)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    while core.running > 1:
        await asyncio.sleep(0.001)
    core.finish.set()
    assert await stays == ["re 1000000003"]
    assert sorted(core.dropped) == ["1000000001", "1000000002"]


async def test_a_cancelled_request_is_not_admitted(batcher: Batcher, core: ScriptedCore) -> None:
    """It never reaches the model."""
    core.gate.clear()
    first = asyncio.create_task(submit(batcher, *["2"] * CAPACITY))
    while core.running < CAPACITY:
        await asyncio.sleep(0.001)
    waiting = asyncio.create_task(batcher.submit(make_requests("7", "7")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    core.gate.set()
    await first
    assert await submit(batcher, "1") == ["re 1"]
    assert core.admissions == [CAPACITY, 1]


async def test_cancelled_requests_are_released(batcher: Batcher, core: ScriptedCore) -> None:
    """Memory does not grow with cancelled requests."""
    for _ in range(3):
        gone = asyncio.create_task(batcher.submit(make_requests("1000000")))
        while not core.running:
            await asyncio.sleep(0.001)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        while core.running:
            await asyncio.sleep(0.001)
    await submit(batcher, "1")
    assert len(batcher._admitted) == 0


async def test_a_failing_step_fails_the_requests_in_the_batch(
    batcher: Batcher, core: ScriptedCore
) -> None:
    """They raise `EngineError`, and the next request is served."""
    results = await asyncio.gather(
        submit(batcher, "5"), submit(batcher, "boom"), return_exceptions=True
    )
    assert [type(result) for result in results] == [EngineError, EngineError]
    assert "out of memory" in str(results[0])
    assert await submit(batcher, "1") == ["re 1"]


async def test_closing_fails_unfinished_requests(core: ScriptedCore) -> None:
    """In the batch and in the queue; the model is freed once."""
    batcher = Batcher(core, 1)
    calls = [asyncio.create_task(batcher.submit(make_requests("1000000"))) for _ in range(2)]
    while not core.running:
        await asyncio.sleep(0.001)
    await asyncio.wait_for(batcher.aclose(), 5)
    results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    assert [type(result) for result in results] == [EngineError, EngineError]
    assert core.frees == 1


async def test_a_closed_batcher_refuses_requests(core: ScriptedCore) -> None:
    """Closing twice is harmless."""
    batcher = Batcher(core, 1)
    await submit(batcher, "1")
    await batcher.aclose()
    await batcher.aclose()
    with pytest.raises(EngineError, match="closed"):
        await batcher.submit(make_requests("1"))
    assert core.frees == 1


async def test_closing_frees_a_model_that_was_never_used(core: ScriptedCore) -> None:
    """It is loaded before the first request."""
    await Batcher(core, 1).aclose()
    assert core.frees == 1


def test_a_batcher_serves_one_event_loop_after_another(core: ScriptedCore) -> None:
    """Each request completes in its caller's loop."""
    batcher = Batcher(core, CAPACITY)
    assert asyncio.run(submit(batcher, "2")) == ["re 2"]
    assert asyncio.run(submit(batcher, "3")) == ["re 3"]
    asyncio.run(batcher.aclose())
