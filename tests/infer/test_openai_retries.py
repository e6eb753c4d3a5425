"""Retries of the openai engine: the window, the number of attempts, refusing servers, and moves."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from spar.errors import EngineError, PromptRefused
from spar.infer.engines.openai.concurrency_limit import INITIAL_LIMIT
from spar.infer.engines.openai.connection_pool import ConnectionLost
from spar.infer.engines.openai.retry import RetryPolicy, TransientError
from tests.answers import Fault, Script, error_body
from tests.infer.openai_helpers import SETTINGS, ask, connect, votes
from tests.infer.test_openai_concurrency import unreachable_servers
from tests.servers import ScriptedServer

FAILURE = TransientError("HTTP 500", "HTTP 500")
WAIT = TransientError("HTTP 503", "HTTP 503", retry_after=60.0)


def many_requests(num: int) -> list[Any]:
    """One request for each of many trees."""
    return [vote for i in range(num) for vote in votes(1, f"q{i}", tree=i + 1)]


def failed_before(failures: int, seconds: float, queued: float = 0.0) -> RetryPolicy:
    """The policy of a request with a window of 10 s that first failed so long ago."""
    first = time.monotonic() - seconds
    return RetryPolicy(10.0, 0.01, first, first, queued, failures)


def test_retries_end_with_the_window() -> None:
    """The message has the time and the number of attempts."""
    with pytest.raises(EngineError, match=r"HTTP 500; gave up after 8 failed attempts in 1\d\d"):
        failed_before(7, 100).next_delay("url", FAILURE, 0.0)


@pytest.mark.parametrize(
    ("window", "failures", "refusing_seconds", "ending"),
    [
        (10.0, 7, 0.0, "gave up after 8 failed attempts in 100.0 s (--retry-for 10)"),
        (500.0, 1, 501.0, "gave up after 501.0 s in which no request was served (--retry-for 500)"),
        (0.0, 0, 0.0, "not retried (--retry-for 0)"),
    ],
)
def test_the_message_says_why_the_retries_ended(
    window: float, failures: int, refusing_seconds: float, ending: str
) -> None:
    """Two attempts in a short time are no reason to end them, and a window of no length has none."""
    policy = replace(failed_before(failures, 100), window=window)
    with pytest.raises(EngineError, match=rf"^url: HTTP 500; {re.escape(ending)}$"):
        policy.next_delay("url", FAILURE, refusing_seconds)


def test_waiting_for_servers_is_no_attempt() -> None:
    """A request that was never sent, since every server was down, has failed no attempt."""
    policy = RetryPolicy(10.0, 0.01, created_at=time.monotonic() - 30)
    with pytest.raises(EngineError, match=r"gave up after 2\d\.\d s in which no server was up \("):
        policy.time_left("url", "unreachable", time.monotonic() - 25)
    policy = RetryPolicy(0.0, 0.01)
    with pytest.raises(EngineError, match=r"unreachable; not retried"):
        policy.time_left("url", "unreachable", time.monotonic())


def test_queue_time_does_not_count() -> None:
    """Nor does it make the next attempt immediate."""
    assert 0 <= failed_before(7, 100, queued=95).next_delay("url", FAILURE, 0.0) <= 5


def test_a_request_is_attempted_at_least_four_times() -> None:
    """However long an attempt takes, unless the server sets the time of the next."""
    assert failed_before(2, 100).next_delay("url", FAILURE, 0.0) >= 0
    with pytest.raises(EngineError):
        failed_before(3, 100).next_delay("url", FAILURE, 0.0)
    with pytest.raises(EngineError):
        failed_before(2, 100).next_delay("url", WAIT, 0.0)


def test_servers_that_refuse_every_request_end_the_retries() -> None:
    """Even for a request that was mostly queued, but not at its first failure."""
    with pytest.raises(EngineError):
        failed_before(1, 100, queued=100).next_delay("url", FAILURE, 11.0)
    assert failed_before(0, 0).next_delay("url", FAILURE, 11.0) >= 0


def test_queue_time_before_the_first_failure_is_ignored() -> None:
    """Only queue time after it extends the window."""
    policy = RetryPolicy(10.0, 0.01)
    policy.add_queue_time(1000.0)
    assert policy.queued_seconds == 0
    policy.next_delay("url", FAILURE, 0.0)
    policy.add_queue_time(5.0)
    assert policy.queued_seconds == 5


async def test_refusing_seconds_needs_several_refusals_of_every_live_server() -> None:
    """It runs from the first of them to the next reply."""
    servers = unreachable_servers(2, [])
    one, other = servers.all
    for server in servers.all:
        assert servers.refusing_seconds == 0
        for _ in range(5):
            servers.record_refusal(server, 0.0)
    one.refusing_since -= 100
    other.refusing_since -= 50
    assert 50 <= servers.refusing_seconds < 90
    servers.record_reply(other)
    assert servers.refusing_seconds == 0
    await servers.aclose()


async def test_retries_go_before_first_attempts() -> None:
    """So a queue many windows long exhausts no request's retries."""
    failed: Counter[str] = Counter()
    order: list[str] = []

    def fail_once(body: dict[str, Any]) -> tuple[int, Any] | None:
        text = body["messages"][0]["content"]
        order.append(text)
        failed[text] += 1
        return (500, error_body("oops")) if failed[text] == 1 else None

    settings = replace(SETTINGS, retry_for=0.05, initial_backoff=0.001, initial_concurrency=4)
    script = Script(answer=fail_once, seconds=0.01)
    with ScriptedServer(script) as server:
        engine = connect(server, settings=replace(settings, max_concurrency=4))
        replies = await ask(engine, many_requests(100))
    assert len(replies) == 100
    again = [len(order) - 1 - order[::-1].index(text) - order.index(text) for text in failed]
    assert sorted(again)[50] < 30


async def test_timeouts_are_attempted_four_times() -> None:
    """Although a single attempt takes longer than the window."""
    settings = replace(SETTINGS, timeout=0.1, retry_for=0.05)
    with ScriptedServer(Script(fault_share=1.0, faults=("stall",))) as server:
        with pytest.raises(EngineError, match="4 failed attempts"):
            await ask(connect(server, settings=settings), votes(1))
        assert server.num_requests == 4


async def test_a_prompt_that_always_times_out_is_a_fault_of_its_tree() -> None:
    """As one over which a model never ends: the run goes on, since others are served."""

    class Endless(ScriptedServer):
        def draw_fault(self, body: dict[str, Any]) -> Fault | None:
            return "stall" if body["messages"][0]["content"] == "endless" else None

    settings = replace(SETTINGS, timeout=0.5, retry_for=0.05)
    with Endless(Script()) as server:
        engine = connect(server, settings=settings)
        endless = asyncio.ensure_future(engine.generate(votes(1, "endless")))
        while server.num_requests < 2:  # since its first failure, the run's others are completed
            await asyncio.sleep(0.01)
        assert await engine.generate(votes(1))
        with pytest.raises(PromptRefused, match=r"no response in 0\.5 s.*other prompts are served"):
            await endless
        assert await ask(engine, votes(1))


async def test_replies_that_all_come_too_late_end_the_run() -> None:
    """A short harmless prompt in time does not show that a time-out is long enough for the run's own."""

    class Slow(ScriptedServer):
        def draw_fault(self, body: dict[str, Any]) -> Fault | None:
            return "stall" if body["messages"][0]["content"].startswith("essay") else None

    settings = replace(SETTINGS, timeout=0.2, retry_for=0.05)
    with Slow(Script()) as server:
        engine = connect(server, settings=settings)
        essays = [vote for i in range(3) for vote in votes(1, f"essay {i}", tree=i + 1)]
        with pytest.raises(EngineError, match=r"no response in 0\.2 s \(--timeout\); gave up"):
            await ask(engine, essays)


async def test_timeouts_beside_replies_do_not_open_the_circuit() -> None:
    """A server that replies to others meanwhile is busy, not down: fewer requests are sent at once."""
    notes: list[str] = []
    script = Script(seconds=0.02, fault_share=0.1, faults=("stall",))
    with ScriptedServer(script) as server:
        engine = connect(server, settings=replace(SETTINGS, timeout=1.5), notes=notes)
        assert len(await ask(engine, many_requests(60))) == 60
    assert any("no response in 1.5 s" in note for note in notes)
    assert not any("down" in note for note in notes)
    assert engine.capacity < INITIAL_LIMIT


async def test_a_server_that_refuses_every_request_ends_the_run_after_a_window() -> None:
    """Not after every waiting request has been attempted."""
    settings = replace(SETTINGS, retry_for=0.5, initial_concurrency=16)
    script = Script(fault_share=1.0, faults=("503",), retry_after="60")
    with ScriptedServer(script) as server:
        with pytest.raises(EngineError, match="HTTP 503"):
            await ask(connect(server, settings=settings), many_requests(60))
        assert server.num_requests <= 32


@pytest.mark.parametrize("retry_after", ["60", "0.1", ""])
async def test_requests_move_away_from_a_refusing_server(retry_after: str) -> None:
    """At once if it asks for a long pause, else after enough refusals."""
    script = Script(fault_share=1.0, faults=("503",), retry_after=retry_after)
    settings = replace(SETTINGS, initial_concurrency=16)
    with ScriptedServer(script) as refusing, ScriptedServer(Script(seconds=0.01)) as other:
        async with asyncio.timeout(25):
            replies = await ask(connect(refusing, other, settings=settings), many_requests(120))
        assert len(replies) == 120
        assert other.num_requests == 120
        assert refusing.num_requests <= (16 if retry_after == "60" else 60)


async def test_failures_between_responses_do_not_open_the_circuit() -> None:
    """A server that responds now and then is live."""
    servers = unreachable_servers(1, [])
    for _ in range(50):
        servers.record_failure(servers.all[0], ConnectionLost("lost"))
        servers.record_response(servers.all[0])
    assert servers.live
    assert servers.select(1) is servers.all[0]
