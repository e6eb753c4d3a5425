"""A response cache: an equal request is answered from it, in any process, and nothing else is."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from spar.errors import EngineError, UsageError
from spar.infer.engine import Completion, Continuation, Request, Sampling, TokenLogprobs
from spar.infer.engine_wrappers import InstrumentedEngine
from spar.infer.engines.fake import FakeEngine
from spar.infer.response_cache import (
    BUSY_SECONDS,
    REPEATABLE,
    CachedEngine,
    ResponseCache,
    check_file,
)
from spar.types import Message

HOT = Sampling(temperature=0.7, seed=3)


def request(text: str = "Write a line.", sampling: Sampling = HOT, adapter: str = "") -> Request:
    """A request of one turn."""
    return Request((Message(role="user", content=text),), sampling, adapter=adapter)


def opened(path: Path, namespace: str = "model") -> tuple[FakeEngine, CachedEngine]:
    """An engine whose replies tell how many it gave, and the cached one around it."""
    fake = FakeEngine(lambda _: f"reply {len(fake.requests)}")
    return fake, CachedEngine(InstrumentedEngine(fake), ResponseCache(path), namespace)


async def test_an_equal_request_is_answered_from_the_file(tmp_path: Path) -> None:
    """By another engine that opens it later, too, and with what the first reply cost."""
    fake, engine = opened(tmp_path / "a" / "cache.db")
    first = await engine.generate([request(), request("Another.")])
    assert [reply.text for reply in first] == ["reply 2", "reply 2"]
    again, other = opened(tmp_path / "a" / "cache.db")
    assert await other.generate([request(), request("A third."), request("Another.")]) == [
        first[0],
        Completion("reply 1", "stop", first[0].prompt_tokens - 1, 2),
        first[1],
    ]
    assert len(fake.requests) == 2
    assert [sent.messages[0].content for sent in again.requests] == ["A third."]
    assert (other.requests, other.hits) == (3, 2)


@pytest.mark.parametrize(
    "other",
    [
        request("Write a line. "),
        request(sampling=replace(HOT, seed=4)),
        request(sampling=replace(HOT, temperature=0.8)),
        request(sampling=replace(HOT, max_tokens=7)),
        request(sampling=replace(HOT, chat_template_args={"enable_thinking": False})),
        request(adapter="lora"),
        replace(request(), plain=True),
    ],
)
async def test_a_request_that_differs_is_asked(tmp_path: Path, other: Request) -> None:
    """In anything that may change its reply."""
    fake, engine = opened(tmp_path / "cache.db")
    await engine.generate([request()])
    await engine.generate([other])
    assert len(fake.requests) == 2


async def test_another_model_is_asked(tmp_path: Path) -> None:
    """Though the request is the same."""
    _, engine = opened(tmp_path / "cache.db")
    await engine.generate([request()])
    fake, engine = opened(tmp_path / "cache.db", namespace="another model")
    await engine.generate([request()])
    assert len(fake.requests) == 1


async def test_what_is_drawn_afresh_is_not_stored(tmp_path: Path) -> None:
    """A temperature without a seed; greedily there is nothing to draw."""
    fake, engine = opened(tmp_path / "cache.db")
    drawn, greedy = request(sampling=replace(HOT, seed=None)), request(sampling=Sampling())
    for _ in range(2):
        await engine.generate([drawn, greedy])
    assert [sent.sampling for sent in fake.requests] == [
        drawn.sampling,
        greedy.sampling,
        drawn.sampling,
    ]


class Refusing(FakeEngine):
    """Gives no text, and says why."""

    async def generate(self, requests: object) -> list[Completion]:
        """One completion without a text."""
        self.requests.append(request())
        return [Completion("", "stop", 3, 0, empty_reason="the content filter")]


async def test_a_refused_reply_is_asked_again(tmp_path: Path) -> None:
    """A server's filter may decide otherwise."""
    fake = Refusing(lambda _: "")
    engine = CachedEngine(fake, ResponseCache(tmp_path / "cache.db"), "model")
    for _ in range(2):
        await engine.generate([request()])
    assert len(fake.requests) == 2


class Telling(FakeEngine):
    """Gives log-probabilities beside its text, and half of a character in it."""

    async def generate(self, requests: object) -> list[Completion]:
        """One completion with everything that one can have."""
        top = {"Y": -0.125, "\ud83d": -2.5}
        logprobs = (TokenLogprobs("Y", top), TokenLogprobs("es", {}))
        return [Completion("Yes \ud83d", "length", 3, 2, logprobs, cached_tokens=2)]


async def test_a_reply_is_read_back_as_it_was(tmp_path: Path) -> None:
    """With its log-probabilities, whatever its characters."""
    cache = ResponseCache(tmp_path / "cache.db")
    (told,) = await CachedEngine(Telling(lambda _: ""), cache, "model").generate([request()])
    (read,) = await CachedEngine(FakeEngine(lambda _: ""), cache, "model").generate([request()])
    assert read == told
    assert read.cached_tokens == 2


async def test_scores_are_cached_too(tmp_path: Path) -> None:
    """A continuation after the same context is scored once."""
    one, two = Continuation("1 + 1 =", " 2"), Continuation("1 + 1 =", " 3")
    _, engine = opened(tmp_path / "cache.db")
    first = await engine.score([one, two])
    assert await engine.score([two, one]) == first[::-1]
    assert (engine.requests, engine.hits) == (4, 2)


def test_several_threads_write_at_once(tmp_path: Path) -> None:
    """Each through a connection of its own, as processes have them."""

    def fill(number: int) -> None:
        cache = ResponseCache(tmp_path / "cache.db")
        for each in range(50):
            cache.put({f"{number}-{each}": {"n": number}})
        cache.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(4)))
    found = ResponseCache(tmp_path / "cache.db").get(
        [f"{n}-{e}" for n in range(4) for e in range(50)]
    )
    assert [value["n"] for value in found] == [n for n in range(4) for _ in range(50)]


def test_processes_may_make_the_file_at_the_same_time(tmp_path: Path) -> None:
    """None of them is told that it is locked."""
    code = "import sys, pathlib; from spar.infer.response_cache import ResponseCache as C; C(pathlib.Path(sys.argv[1])).close()"
    for number in range(3):
        command = [sys.executable, "-c", code, str(tmp_path / f"{number}.db")]
        started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
        assert [process.communicate()[1] for process in started] == [""] * 4


def test_a_check_of_the_file_leaves_the_locks_of_an_open_cache(tmp_path: Path) -> None:
    """Without them the next process to close the file takes it for its own, removes its log and ruins it."""
    path = tmp_path / "cache.db"
    cache = ResponseCache(path)
    cache.put({"a": {"n": 1}})
    check_file(path)
    code = "import sys, pathlib; from spar.infer.response_cache import ResponseCache as C; C(pathlib.Path(sys.argv[1])).close()"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.with_name("cache.db-wal").exists()
    cache.put({"b": {"n": 2}})
    cache.close()
    assert ResponseCache(path).get(["a", "b"]) == [{"n": 1}, {"n": 2}]


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A text, a database of others and a folder; an empty file is taken."""
    text, other, empty = (tmp_path / name for name in ("a.txt", "b.db", "c.db"))
    text.write_text("A note of one's own. " * 20)
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE mine (key TEXT)")
    empty.touch()
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(UsageError, match="that is no response cache, but another file"):
            ResponseCache(path)
        assert path.read_bytes() == before
    with pytest.raises(UsageError, match=f"--response-cache {tmp_path}: "):
        ResponseCache(tmp_path)
    ResponseCache(empty).close()
    check_file(empty)


def test_a_write_that_is_held_up_is_put_off(tmp_path: Path) -> None:
    """Who asks meanwhile is answered at once, and nothing is lost."""
    cache = ResponseCache(tmp_path / "cache.db")
    other = sqlite3.connect(tmp_path / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    for number in range(100):
        cache.put({f"{number}": {"n": number}})
        assert cache.get([f"{number}", "x"]) == [{"n": number}, None]
    assert time.monotonic() - start < 20 * BUSY_SECONDS
    other.execute("COMMIT")
    cache.close()
    values = ResponseCache(tmp_path / "cache.db").get([f"{number}" for number in range(100)])
    assert values == [{"n": number} for number in range(100)]


async def test_what_cannot_come_again_is_not_stored(tmp_path: Path) -> None:
    """A server draws a seed for a request without one."""
    fake, engine = opened(tmp_path / "cache.db")
    token = REPEATABLE.set(False)
    for _ in range(2):
        await engine.generate([request()])
    REPEATABLE.reset(token)
    assert len(fake.requests) == 2
    await engine.generate([request()])
    assert len(fake.requests) == 3


async def test_a_cache_that_fails_does_not_end_the_run(tmp_path: Path) -> None:
    """The requests are asked, and a line says so once."""
    notes: list[str] = []
    cache = ResponseCache(tmp_path / "cache.db", notes.append)
    fake = FakeEngine(lambda _: "reply")
    engine = CachedEngine(fake, cache, "model")
    await engine.generate([request()])
    cache._database.close()  # as a disk that went away
    for _ in range(2):
        await engine.generate([request()])
    assert len(fake.requests) == 3
    assert len(notes) == 1
    assert notes[0].endswith("; the run goes on without the response cache")


async def test_replies_of_another_version_are_asked_again(tmp_path: Path) -> None:
    """Values that make no completion count as none."""
    fake, engine = opened(tmp_path / "cache.db")
    await engine.generate([request()])
    engine.cache._database.execute("UPDATE replies SET reply = '{\"words\": 3}'")
    await engine.generate([request()])
    assert len(fake.requests) == 2


class Held(FakeEngine):
    """Answers when it is let go, or fails."""

    def __init__(self) -> None:
        super().__init__(lambda _: f"reply {len(self.requests)}")
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.error: EngineError | None = None

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Wait, then reply."""
        self.asked.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return await FakeEngine.generate(self, requests)


def two_runs(path: Path) -> tuple[Held, CachedEngine, CachedEngine]:
    """One model, and two runs beside each other with one cache."""
    held, cache = Held(), ResponseCache(path)
    return held, CachedEngine(held, cache, "model"), CachedEngine(held, cache, "model")


async def test_runs_beside_each_other_ask_once(tmp_path: Path) -> None:
    """Who comes second waits for the reply to the first."""
    held, one, two = two_runs(tmp_path / "cache.db")
    first = asyncio.ensure_future(one.generate([request(), request("Another.")]))
    await held.asked.wait()
    second = asyncio.ensure_future(two.generate([request("Another."), request("Third.")]))
    await asyncio.sleep(0)
    held.go.set()
    assert (await first)[1] == (await second)[0]
    assert len(held.requests) == 3
    assert (one.hits, two.hits) == (0, 1)
    assert not one.cache.in_flight


async def test_who_waits_asks_itself_where_the_other_run_is_cancelled(tmp_path: Path) -> None:
    """And where two wait, one of them does."""
    held, one, two = two_runs(tmp_path / "cache.db")
    first = asyncio.ensure_future(one.generate([request()]))
    await held.asked.wait()
    waiting = [asyncio.ensure_future(two.generate([request()])) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    held.go.set()
    assert await waiting[0] == await waiting[1]
    assert len(held.requests) == 1
    assert (two.requests, two.hits) == (2, 1)


async def test_who_waits_may_be_cancelled(tmp_path: Path) -> None:
    """The other run gets its reply all the same."""
    held, one, two = two_runs(tmp_path / "cache.db")
    first = asyncio.ensure_future(one.generate([request()]))
    await held.asked.wait()
    second = asyncio.ensure_future(two.generate([request()]))
    await asyncio.sleep(0)
    second.cancel()
    held.go.set()
    assert [reply.text for reply in await first] == ["reply 1"]
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_an_error_is_raised_by_each_run(tmp_path: Path) -> None:
    """Nothing is stored, and nothing stays in flight."""
    held, one, two = two_runs(tmp_path / "cache.db")
    held.error = EngineError("out of memory")
    runs = [asyncio.ensure_future(engine.generate([request()])) for engine in (one, two)]
    await held.asked.wait()
    held.go.set()
    for run in runs:
        with pytest.raises(EngineError, match="out of memory"):
            await run
    assert not one.cache.in_flight
