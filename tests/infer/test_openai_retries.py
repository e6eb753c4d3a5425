"""How long the openai engine asks again: windows, tries, servers that refuse, and those that could help."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from spar.errors import EngineError
from spar.infer.engines.openai.connection_pool import Cut, Lanes, TimedOut
from spar.infer.engines.openai.retry import Patience, Retry
from tests.answers import Script, error_body
from tests.infer.asking import SETTINGS, ask, connect, votes
from tests.infer.test_openai_concurrency import replicas
from tests.servers import ScriptedServer

FAILURE = Retry("HTTP 500", "HTTP 500")
WAIT = Retry("HTTP 503", "HTTP 503", wait=60.0)


def crowd(num: int) -> list[Any]:
    """Requests of many trees."""
    return [vote for i in range(num) for vote in votes(1, f"q{i}", tree=i + 1)]


def after(tries: int, seconds: float, queued: float = 0.0) -> Patience:
    """The patience of a request with a window of 10 s that first failed so long ago."""
    first = time.monotonic() - seconds
    return Patience(10.0, 0.01, first, first, queued, tries)


def test_the_window_ends_the_tries() -> None:
    """With the time and the number of tries in the message."""
    with pytest.raises(EngineError, match=r"HTTP 500; given up after 8 failed tries in 1\d\d"):
        after(7, 100).delay("url", FAILURE, 0.0)


def test_time_in_our_own_queue_is_not_in_the_window() -> None:
    """Nor a reason to send the next try at once."""
    assert 0 <= after(7, 100, queued=95).delay("url", FAILURE, 0.0) <= 5


def test_four_tries_at_least() -> None:
    """However long one takes; but a server that names a time would make them last for ever."""
    assert after(2, 100).delay("url", FAILURE, 0.0) >= 0
    with pytest.raises(EngineError):
        after(3, 100).delay("url", FAILURE, 0.0)
    with pytest.raises(EngineError):
        after(2, 100).delay("url", WAIT, 0.0)


def test_servers_that_serve_nobody_end_it() -> None:
    """Even for a request that was mostly queued, though not at its first failure."""
    with pytest.raises(EngineError):
        after(1, 100, queued=100).delay("url", FAILURE, 11.0)
    assert after(0, 0).delay("url", FAILURE, 11.0) >= 0


def test_only_time_since_the_first_failure_is_taken_from_the_window() -> None:
    """Queues before it were no failure, so they cannot make up for later time."""
    patience = Patience(10.0, 0.01)
    patience.queue(1000.0)
    assert patience.queued == 0
    patience.delay("url", FAILURE, 0.0)
    patience.queue(5.0)
    assert patience.queued == 5


async def test_how_long_servers_have_refused_everybody() -> None:
    """From the first of several refusals to the next reply, and only where all live ones do."""
    servers = replicas(2, [])
    one, other = servers.all
    for server in servers.all:
        assert servers.refusing == 0
        for _ in range(5):
            servers.refused(server, 0.0)
    one.refuses_since -= 100
    other.refuses_since -= 50
    assert 50 <= servers.refusing < 90
    servers.gave_reply(other)
    assert servers.refusing == 0
    await servers.aclose()


async def test_a_busy_server_that_fails_now_and_then_serves_everybody() -> None:
    """Though the queue is many windows long: who failed is sent again before the others."""
    failed: Counter[str] = Counter()
    order: list[str] = []

    def fail_once(body: dict[str, Any]) -> tuple[int, Any] | None:
        text = body["messages"][0]["content"]
        order.append(text)
        failed[text] += 1
        return (500, error_body("oops")) if failed[text] == 1 else None

    settings = replace(SETTINGS, retry_seconds=0.05, backoff_seconds=0.001, first_places=4)
    script = Script(answer=fail_once, seconds=0.01)
    with ScriptedServer(script) as server:
        engine = connect(server, settings=replace(settings, most_places=4))
        replies = await ask(engine, crowd(100))
    assert len(replies) == 100
    again = [len(order) - 1 - order[::-1].index(text) - order.index(text) for text in failed]
    assert sorted(again)[50] < 30


async def test_a_request_that_stalls_is_tried_four_times() -> None:
    """Though a single try takes longer than the window."""
    settings = replace(SETTINGS, request_seconds=0.1, retry_seconds=0.05)
    with ScriptedServer(Script(fault_share=1.0, faults=("stall",))) as server:
        with pytest.raises(EngineError, match="4 failed tries"):
            await ask(connect(server, settings=settings), votes(1))
        assert server.num_requests == 4


async def test_a_server_that_refuses_everybody_ends_the_run_after_a_window() -> None:
    """Not after it was asked for each of those that wait."""
    settings = replace(SETTINGS, retry_seconds=0.5)
    script = Script(fault_share=1.0, faults=("503",), retry_after="60")
    with ScriptedServer(script) as server:
        with pytest.raises(EngineError, match="HTTP 503"):
            await ask(connect(server, settings=settings), crowd(60))
        assert server.num_requests <= 32


@pytest.mark.parametrize("retry_after", ["60", "0.1", ""])
async def test_those_who_wait_for_a_server_that_refuses_go_to_the_other(retry_after: str) -> None:
    """At once if it names a long time, else when it has refused often enough."""
    script = Script(fault_share=1.0, faults=("503",), retry_after=retry_after)
    with ScriptedServer(script) as refusing, ScriptedServer(Script(seconds=0.01)) as other:
        async with asyncio.timeout(25):
            replies = await ask(connect(refusing, other), crowd(120))
        assert len(replies) == 120
        assert other.num_requests == 120
        assert refusing.num_requests <= (16 if retry_after == "60" else 60)


async def test_failures_between_answers_kill_nobody() -> None:
    """A server that answers now and then is alive."""
    servers = replicas(1, [])
    for _ in range(50):
        servers.failed(servers.all[0], Cut("cut"))
        servers.answered(servers.all[0])
    assert servers.live
    assert servers.home(1) is servers.all[0]


async def test_a_client_whose_request_was_given_up_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its only connection may stay taken; one that gave an answer is used again."""
    make, made = Lanes._make, Counter[str]()

    def counted(lanes: Lanes) -> Any:
        made["clients"] += 1
        return make(lanes)

    monkeypatch.setattr(Lanes, "_make", counted)
    body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}).encode()
    with ScriptedServer(Script(fault_share=1.0, faults=("stall",)), keep=False) as server:
        lanes = Lanes(server.url, {})
        with pytest.raises(TimedOut):
            await lanes.ask("/chat/completions", body, 0.2)
        for _ in range(3):
            assert (await lanes.ask("/models", None, 20.0)).status == 200
        await lanes.aclose()
    assert made["clients"] == 2
