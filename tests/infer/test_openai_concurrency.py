"""The adaptive limit in virtual time: growth, decrease, order; and the servers that trees are on."""

from __future__ import annotations

import asyncio
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from simulated import VirtualLoop

from spar.infer.engines.openai.addresses import Key
from spar.infer.engines.openai.concurrency_limit import AdaptiveLimiter, Rerouted
from spar.infer.engines.openai.connection_pool import (
    ConnectionLost,
    ConnectionPool,
    Unreachable,
)
from spar.infer.engines.openai.retry import MIN_ATTEMPTS
from spar.infer.engines.openai.servers import Server, ServerPool

TOKEN_SECONDS = 0.01


def in_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    """Run to completion on a virtual clock."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


async def flood(
    limiter: AdaptiveLimiter,
    num_replies: int,
    slowdown: Callable[[int], float],
    spread: float = 0.8,
) -> None:
    """1500 callers, long-tailed replies; a token takes `slowdown(in flight)` times longer."""
    dice = random.Random(0)
    left = iter(range(num_replies))

    async def caller() -> None:
        for _ in left:
            tokens = max(1, round(math.exp(dice.gauss(4, spread))))
            permit = await limiter.acquire(1)
            await asyncio.sleep(tokens * TOKEN_SECONDS * slowdown(limiter.in_flight))
            limiter.release(permit, tokens)

    await asyncio.gather(*(caller() for _ in range(1500)))


@dataclass(slots=True)
class SlotServer:
    """A server with few slots, first come first served; replies take 30 s or the given seconds, long-tailed."""

    slots: int
    reply_seconds: float
    timeout: float = 600.0
    cached_share: float = 0.0
    """Share of requests that are answered at once."""
    limits: list[int] = field(default_factory=list)
    """The limit after each reply."""

    async def serve(self, num_replies: int) -> tuple[AdaptiveLimiter, Counter[int]]:
        """Answer as many requests, all there from the start; the limiter, and timeouts by request."""
        limiter, timeouts = AdaptiveLimiter(), Counter[int]()
        free, dice = asyncio.Semaphore(self.slots), random.Random(0)

        async def generate(tokens: int) -> None:
            async with free:
                await asyncio.sleep(self.reply_seconds * tokens / 55)

        async def caller(number: int) -> None:
            tokens = max(1, round(math.exp(dice.gauss(4, 0.5))))
            while True:
                permit = await limiter.acquire(1, is_retry=number in timeouts)
                cached = dice.random() < self.cached_share
                try:
                    async with asyncio.timeout(self.timeout):
                        await (asyncio.sleep(0.01) if cached else generate(tokens))
                except TimeoutError:
                    timeouts[number] += 1
                    limiter.back_off_after_timeout(permit)
                    limiter.release(permit)
                else:
                    limiter.release(permit, tokens)
                    self.limits.append(limiter.limit)
                    return

        await asyncio.gather(*(caller(number) for number in range(num_replies)))
        return limiter, timeouts


@pytest.mark.parametrize(("slots", "seconds"), [(1, 30.0), (1, 60.0), (4, 10.0), (4, 30.0)])
def test_a_wide_start_times_out_few_times_at_a_small_slow_server(
    slots: int, seconds: float
) -> None:
    """The limit falls within a few replies, so that no request is abandoned more often than it is retried."""
    server = SlotServer(slots, seconds)

    async def serve() -> None:
        _, timeouts = await server.serve(400)
        assert max(timeouts.values(), default=0) < MIN_ATTEMPTS
        assert statistics.median(server.limits) <= 32
        assert asyncio.get_running_loop().time() < 400 * seconds / slots * 1.25

    in_virtual_time(serve())


@pytest.mark.parametrize(("slots", "at_most"), [(256, 210), (1024, 105)])
def test_replies_from_a_cache_are_not_taken_for_the_pace_of_a_server(
    slots: int, at_most: float
) -> None:
    """Where they make the others look queued and the limit falls, it grows again at once."""
    server = SlotServer(slots, 5.0, cached_share=0.3)

    async def serve() -> None:
        limiter, _ = await server.serve(8000)
        assert limiter.limit >= slots
        assert asyncio.get_running_loop().time() < at_most  # 124 and 31 s of work

    in_virtual_time(serve())


def test_a_short_run_is_not_limited_at_a_server_with_room() -> None:
    """A first wave of 256 replies is sent at once, and the next is no smaller."""
    server = SlotServer(256, 5.0)

    async def serve() -> None:
        await server.serve(512)
        assert min(server.limits) >= 256

    in_virtual_time(serve())


def test_a_timeout_lowers_the_limit_to_what_was_served_in_time() -> None:
    """Or halves it, if nothing was."""

    async def time_out(num_replied: int) -> int:
        limiter = AdaptiveLimiter(64)
        permits = [await limiter.acquire(1) for _ in range(64)]
        for permit in permits[:num_replied]:
            await asyncio.sleep(10)
            limiter.release(permit, 50)
        await asyncio.sleep(100 - 10 * num_replied)
        for permit in permits[num_replied:]:
            limiter.back_off_after_timeout(permit)
            limiter.release(permit)
        return limiter.limit

    async def both() -> None:
        assert await time_out(0) == 32
        assert await time_out(6) <= 4

    in_virtual_time(both())


@pytest.mark.parametrize("spread", [0.0, 0.8, 1.5])
def test_the_limit_grows_to_its_maximum_while_latency_holds(spread: float) -> None:
    """Long-tailed lengths do not stop it."""
    limiter = AdaptiveLimiter()
    in_virtual_time(flood(limiter, 8000, lambda _: 1.0, spread))
    assert limiter.limit == limiter.max_limit


def test_the_limit_grows_while_throughput_does() -> None:
    """A batch of 256 at 1.5 times the latency has far more throughput."""
    limiter = AdaptiveLimiter(max_limit=256)
    in_virtual_time(flood(limiter, 6000, lambda n: 1 + n / 512))
    assert limiter.limit == 256


@pytest.mark.parametrize("slots", [20, 100])
def test_the_limit_stops_growing_at_a_saturated_server(slots: int) -> None:
    """It ends near the server's own batch size."""
    limiter = AdaptiveLimiter()
    in_virtual_time(flood(limiter, 12000, lambda n: max(1.0, n / slots)))
    assert slots * 0.6 <= limiter.limit <= slots * 4.5


def test_an_unused_limit_does_not_grow() -> None:
    """Capacity that was never used is not assumed."""

    async def trickle() -> None:
        limiter = AdaptiveLimiter(16)
        for _ in range(500):
            permit = await limiter.acquire(1)
            await asyncio.sleep(1)
            limiter.release(permit, 50)
        assert limiter.limit == 16

    in_virtual_time(trickle())


def test_overload_halves_the_limit_once_per_round_trip() -> None:
    """Errors of all requests sent before the decrease count once."""

    async def refuse() -> None:
        limiter = AdaptiveLimiter(64)
        permits = [await limiter.acquire(1) for _ in range(64)]
        await asyncio.sleep(1)
        for permit in permits:
            limiter.back_off(permit)
            limiter.release(permit)
        assert limiter.limit == 32
        permit = await limiter.acquire(1)
        await asyncio.sleep(1)
        limiter.back_off(permit)
        limiter.release(permit)
        assert limiter.limit == 16

    in_virtual_time(refuse())


def test_the_limit_recovers_after_an_overload() -> None:
    """Step by step, towards where the overload happened."""

    async def recover() -> None:
        limiter = AdaptiveLimiter(64, max_limit=128)
        permit = await limiter.acquire(1)
        await asyncio.sleep(1)
        limiter.back_off(permit)
        limiter.release(permit)
        seen = [limiter.limit]
        for _ in range(5):
            await flood(limiter, 400, lambda _: 1.0)
            seen.append(limiter.limit)
        assert seen[0] == 32
        assert seen == sorted(seen)
        assert 60 <= seen[-1] <= 128

    in_virtual_time(recover())


def test_a_pause_delays_every_request() -> None:
    """No permit is granted before it is over."""

    async def wait() -> None:
        limiter, clock = AdaptiveLimiter(), asyncio.get_running_loop().time
        limiter.pause(30)
        await asyncio.gather(*(limiter.acquire(1) for _ in range(5)))
        assert clock() >= 30

    in_virtual_time(wait())


def test_permits_are_granted_first_come_first_served() -> None:
    """A cancelled waiter holds no permit."""

    async def queue() -> None:
        limiter, served = AdaptiveLimiter(1), []
        permit = await limiter.acquire(1)

        async def caller(name: str) -> None:
            mine = await limiter.acquire(1)
            served.append(name)
            limiter.release(mine)

        tasks = [asyncio.ensure_future(caller(name)) for name in ["a", "b", "cancelled", "c", "d"]]
        await asyncio.sleep(0)
        tasks[2].cancel()
        limiter.release(permit)
        await asyncio.wait(tasks)
        assert served == ["a", "b", "c", "d"]
        assert (limiter.in_flight, limiter.load) == (0, 0)

    in_virtual_time(queue())


def test_retries_are_granted_before_first_attempts() -> None:
    """Each in order of arrival."""

    async def queue() -> None:
        limiter, served = AdaptiveLimiter(1), []
        permit = await limiter.acquire(1)

        async def caller(name: str) -> None:
            mine = await limiter.acquire(1, is_retry=name.startswith("retry"))
            served.append(name)
            limiter.release(mine)

        names = ["new 1", "retry 1", "new 2", "retry 2"]
        tasks = [asyncio.ensure_future(caller(name)) for name in names]
        await asyncio.sleep(0)
        limiter.release(permit)
        await asyncio.wait(tasks)
        assert served == ["retry 1", "retry 2", "new 1", "new 2"]

    in_virtual_time(queue())


@pytest.mark.parametrize("rerouted", [False, True])
def test_cancelled_waiters_are_not_counted(rerouted: bool) -> None:
    """At once, whoever waits before and after; nor subtracted twice when all are rerouted."""

    async def leave() -> None:
        limiter = AdaptiveLimiter(1)
        await limiter.acquire(1)
        tasks = [asyncio.ensure_future(limiter.acquire(3)) for _ in range(5)]
        await asyncio.sleep(0)
        assert limiter.load == 16
        for task in tasks[1:4]:
            task.cancel()
        if rerouted:
            limiter.reroute_waiting()
        await asyncio.wait(tasks[1:4])
        assert limiter.load == (1 if rerouted else 7)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limiter.load == 1

    in_virtual_time(leave())


def test_unpaused_seconds_stop_during_pauses() -> None:
    """Overlapping pauses count once."""

    async def pauses() -> None:
        limiter = AdaptiveLimiter()
        start = limiter.unpaused_seconds
        limiter.pause(10)
        await asyncio.sleep(4)
        limiter.pause(10)
        limiter.pause(1)
        assert limiter.unpaused_seconds - start == pytest.approx(0)
        await asyncio.sleep(13)
        assert limiter.unpaused_seconds - start == pytest.approx(3)

    in_virtual_time(pauses())


def test_a_permit_granted_to_a_cancelled_waiter_is_returned() -> None:
    """Granted and cancelled in the same turn of the event loop."""

    async def race() -> None:
        limiter = AdaptiveLimiter(1)
        permit = await limiter.acquire(1)
        waiting = asyncio.ensure_future(limiter.acquire(1))
        await asyncio.sleep(0)
        limiter.release(permit)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert limiter.in_flight == 0
        assert (await limiter.acquire(1)).weight == 1

    in_virtual_time(race())


def test_a_request_above_the_limit_is_admitted_alone() -> None:
    """One request may ask for more replies than the limit."""

    async def big() -> None:
        limiter = AdaptiveLimiter(2)
        first = await limiter.acquire(5)
        second = asyncio.ensure_future(limiter.acquire(5))
        await asyncio.sleep(0)
        assert not second.done()
        limiter.release(first)
        assert (await second).weight == 5

    in_virtual_time(big())


def unreachable_servers(num: int, notes: list[str]) -> ServerPool:
    """Servers at unreachable addresses."""
    urls = [f"http://127.0.0.1:9/{i}" for i in range(num)]
    return ServerPool(
        [Server(url, Key(), ConnectionPool(url), AdaptiveLimiter(16)) for url in urls],
        notes.append,
        1e6,
    )


async def test_a_tree_stays_on_its_server_until_that_goes_down() -> None:
    """Trees spread over the servers; those of a dead server move at once, the others stay."""
    notes: list[str] = []
    servers = unreachable_servers(3, notes)
    homes = {tree: servers.select(tree) for tree in range(1, 31)}
    assert [sum(home is server for home in homes.values()) for server in servers.all] == [10] * 3
    assert all(servers.select(tree) is home for tree, home in homes.items())
    dead = servers.all[0]
    waiting = asyncio.ensure_future(dead.limiter.acquire(1))
    for _ in range(2):
        servers.record_failure(dead, Unreachable("refused"))
    assert dead not in servers.live
    for tree, home in homes.items():
        assert servers.select(tree) is not dead
        assert home is dead or servers.select(tree) is home
    assert len(notes) == 1
    await servers.aclose()
    await asyncio.wait([waiting])


async def test_requests_waiting_for_a_dead_server_are_rerouted() -> None:
    """They raise `Rerouted`."""
    servers = unreachable_servers(2, [])
    dead = servers.all[0]
    for _ in range(4):
        await dead.limiter.acquire(4)
    waiting = asyncio.ensure_future(dead.limiter.acquire(1))
    await asyncio.sleep(0)
    for _ in range(4):
        servers.record_failure(dead, ConnectionLost("lost"))
    with pytest.raises(Rerouted):
        await waiting
    await servers.aclose()
