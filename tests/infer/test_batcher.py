"""The batcher over a scripted core: order, concurrency, cancelling, closing, broken steps."""

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
    """Rows that end after as many steps as their prompt says; `long` ends at once, `boom` breaks."""

    def __init__(self) -> None:
        self.rows: dict[PendingRequest, int] = {}
        self.most_rows = 0
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

    def admit(self, jobs: Sequence[PendingRequest]) -> list[Finished]:
        """Add rows."""
        self.admissions.append(len(jobs))
        ended: list[Finished] = []
        for job in jobs:
            if said(job) == "long":
                ended.append((job, PromptTooLong("too long")))
            else:
                self.rows[job] = int(said(job)) if said(job).isdigit() else 1
        self.most_rows = max(self.most_rows, len(self.rows))
        return ended

    def step(self) -> list[Finished]:
        """Count every row down."""
        self.gate.wait(5)
        if any(said(job) == "boom" for job in self.rows):
            raise RuntimeError("out of memory")
        time.sleep(0)  # lets the event loop's thread run
        self.rows = {job: left - 1 for job, left in self.rows.items()}
        done = [job for job, left in self.rows.items() if left <= 0 or self.finish.is_set()]
        for job in done:
            del self.rows[job]
        return [(job, reply_to(said(job))) for job in done]

    def drop_cancelled(self) -> None:
        """Remove the rows whose caller has gone."""
        gone = [job for job in self.rows if job.cancelled]
        self.dropped += [said(job) for job in gone]
        for job in gone:
            del self.rows[job]

    def reset(self) -> None:
        """Forget every row."""
        self.rows = {}

    def free(self) -> None:
        """Count how often."""
        self.frees += 1


def said(job: PendingRequest) -> str:
    """What the job's request asks."""
    return job.request.messages[0].content


def reply_to(text: str) -> Completion:
    """The reply that names its request."""
    return Completion(f"re {text}", "stop", 1, 1)


def asking(*texts: str) -> list[Request]:
    """One request a text."""
    return [Request((Message(role="user", content=text),), Sampling()) for text in texts]


@pytest.fixture
def core() -> ScriptedCore:
    """A fresh scripted core."""
    return ScriptedCore()


@pytest.fixture
async def batcher(core: ScriptedCore) -> AsyncIterator[Batcher]:
    """A batcher over it, closed in the end."""
    made = Batcher(core, CAPACITY)
    yield made
    core.gate.set()
    await made.aclose()


async def soon(batcher: Batcher, *texts: str) -> list[str]:
    """Replies, or a failure of the test if they take seconds."""
    replies = await asyncio.wait_for(batcher.submit(asking(*texts)), 5)
    return [reply.text for reply in replies]


async def test_replies_come_in_the_order_of_requests(batcher: Batcher) -> None:
    """However long each row takes."""
    assert await soon(batcher, "9", "1", "5", "1") == ["re 9", "re 1", "re 5", "re 1"]


async def test_nothing_asked_is_nothing_answered(batcher: Batcher) -> None:
    """An empty list gives an empty list."""
    assert await soon(batcher) == []


async def test_callers_share_the_batch(batcher: Batcher, core: ScriptedCore) -> None:
    """Lone requests that wait are admitted together, and each is answered when its row ends."""
    core.gate.clear()
    order: list[str] = []

    async def one(text: str) -> None:
        await soon(batcher, text)
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
    """A hundred rows of any length pass through, in batches that are full but no more."""
    dice = random.Random(0)
    texts = [str(dice.randrange(1, 30)) for _ in range(100)]
    replies = await asyncio.gather(*(soon(batcher, text) for text in texts))
    assert replies == [[f"re {text}"] for text in texts]
    assert core.most_rows == CAPACITY


async def test_a_request_that_fails_fails_alone(batcher: Batcher) -> None:
    """Its caller hears why; others in other calls go on."""
    fine, failed = await asyncio.gather(
        soon(batcher, "3"), soon(batcher, "1", "long"), return_exceptions=True
    )
    assert fine == ["re 3"]
    assert isinstance(failed, PromptTooLong)


async def test_cancelling_drops_the_row(batcher: Batcher, core: ScriptedCore) -> None:
    """The cancelled caller's rows leave the batch; its neighbours' stay."""
    gone = asyncio.create_task(batcher.submit(asking("1000000001", "1000000002")))
    stays = asyncio.create_task(soon(batcher, "1000000003"))
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
    """What was cancelled while it waited never reaches the model."""
    core.gate.clear()
    first = asyncio.create_task(soon(batcher, *["2"] * CAPACITY))
    while core.running < CAPACITY:
        await asyncio.sleep(0.001)
    waiting = asyncio.create_task(batcher.submit(asking("7", "7")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    core.gate.set()
    await first
    assert await soon(batcher, "1") == ["re 1"]
    assert core.admissions == [CAPACITY, 1]


async def test_cancelled_jobs_are_forgotten(batcher: Batcher, core: ScriptedCore) -> None:
    """A long run that cancels much does not keep what it cancelled."""
    for _ in range(3):
        gone = asyncio.create_task(batcher.submit(asking("1000000")))
        while not core.running:
            await asyncio.sleep(0.001)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        while core.running:
            await asyncio.sleep(0.001)
    await soon(batcher, "1")
    assert len(batcher._admitted) == 0


async def test_a_broken_step_fails_its_callers_and_no_more(
    batcher: Batcher, core: ScriptedCore
) -> None:
    """Everybody in the batch hears of an engine error, and the next request is served."""
    results = await asyncio.gather(
        soon(batcher, "5"), soon(batcher, "boom"), return_exceptions=True
    )
    assert [type(result) for result in results] == [EngineError, EngineError]
    assert "out of memory" in str(results[0])
    assert await soon(batcher, "1") == ["re 1"]


async def test_closing_fails_who_still_waits(core: ScriptedCore) -> None:
    """Rows in the batch and requests behind it are refused; the model is freed once."""
    batcher = Batcher(core, 1)
    calls = [asyncio.create_task(batcher.submit(asking("1000000"))) for _ in range(2)]
    while not core.running:
        await asyncio.sleep(0.001)
    await asyncio.wait_for(batcher.aclose(), 5)
    results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    assert [type(result) for result in results] == [EngineError, EngineError]
    assert core.frees == 1


async def test_nothing_is_served_after_closing(core: ScriptedCore) -> None:
    """Closing twice is harmless; asking afterwards is an error."""
    batcher = Batcher(core, 1)
    await soon(batcher, "1")
    await batcher.aclose()
    await batcher.aclose()
    with pytest.raises(EngineError, match="closed"):
        await batcher.submit(asking("1"))
    assert core.frees == 1


async def test_closing_frees_a_model_that_was_never_asked(core: ScriptedCore) -> None:
    """The model is loaded before the first request, so it is freed without one."""
    await Batcher(core, 1).aclose()
    assert core.frees == 1


def test_a_batcher_serves_one_event_loop_after_another(core: ScriptedCore) -> None:
    """Each caller is answered on its own loop."""
    batcher = Batcher(core, CAPACITY)
    assert asyncio.run(soon(batcher, "2")) == ["re 2"]
    assert asyncio.run(soon(batcher, "3")) == ["re 3"]
    asyncio.run(batcher.aclose())
