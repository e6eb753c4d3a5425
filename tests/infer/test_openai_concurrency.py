"""Places on a server, in virtual time: growth, refusals, order; and which server a tree asks."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from benchmarks.simulated import VirtualLoop
from spar.infer.engines.openai.concurrency_limit import Moved, Pacer
from spar.infer.engines.openai.connection_pool import Cut, Lanes, Unreachable
from spar.infer.engines.openai.replicas import Replica, Replicas
from spar.infer.engines.openai.servers import Key

TOKEN_SECONDS = 0.01


def in_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end on a clock that jumps."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


async def flood(
    pacer: Pacer, num_replies: int, slowdown: Callable[[int], float], spread: float = 0.8
) -> None:
    """More callers than places, long-tailed replies; a token takes `slowdown(in flight)` times longer."""
    dice = random.Random(0)
    left = iter(range(num_replies))

    async def caller() -> None:
        for _ in left:
            tokens = max(1, round(math.exp(dice.gauss(4, spread))))
            slot = await pacer.enter(1)
            await asyncio.sleep(tokens * TOKEN_SECONDS * slowdown(pacer.in_flight))
            pacer.leave(slot, tokens)

    await asyncio.gather(*(caller() for _ in range(1500)))


@pytest.mark.parametrize("spread", [0.0, 0.8, 1.5])
def test_places_grow_to_the_cap_while_latency_holds(spread: float) -> None:
    """Long-tailed lengths do not stop them."""
    pacer = Pacer()
    in_virtual_time(flood(pacer, 8000, lambda _: 1.0, spread))
    assert pacer.limit == pacer.cap


def test_places_grow_on_a_server_that_slows_down_a_little() -> None:
    """A batch of 256 that takes half as long again a token is well worth it."""
    pacer = Pacer(cap=256)
    in_virtual_time(flood(pacer, 6000, lambda n: 1 + n / 512))
    assert pacer.limit == 256


@pytest.mark.parametrize("slots", [20, 100])
def test_places_stop_growing_once_the_server_is_full(slots: int) -> None:
    """They end near what the server can do at once, not far above."""
    pacer = Pacer()
    in_virtual_time(flood(pacer, 12000, lambda n: max(1.0, n / slots)))
    assert slots * 0.6 <= pacer.limit <= slots * 4.5


def test_places_stay_where_few_are_wanted() -> None:
    """What was never tried is not assumed."""

    async def trickle() -> None:
        pacer = Pacer()
        for _ in range(500):
            slot = await pacer.enter(1)
            await asyncio.sleep(1)
            pacer.leave(slot, 50)
        assert pacer.limit == 16

    in_virtual_time(trickle())


def test_refusals_halve_the_places_once_a_round_trip() -> None:
    """All that was sent before the halving counts as one refusal."""

    async def refuse() -> None:
        pacer = Pacer(64)
        slots = [await pacer.enter(1) for _ in range(64)]
        await asyncio.sleep(1)
        for slot in slots:
            pacer.back_off(slot)
            pacer.leave(slot)
        assert pacer.limit == 32
        slot = await pacer.enter(1)
        await asyncio.sleep(1)
        pacer.back_off(slot)
        pacer.leave(slot)
        assert pacer.limit == 16

    in_virtual_time(refuse())


def test_places_come_back_after_a_refusal() -> None:
    """Step by step, towards where it happened."""

    async def recover() -> None:
        pacer = Pacer(64, cap=128)
        slot = await pacer.enter(1)
        await asyncio.sleep(1)
        pacer.back_off(slot)
        pacer.leave(slot)
        seen = [pacer.limit]
        for _ in range(5):
            await flood(pacer, 400, lambda _: 1.0)
            seen.append(pacer.limit)
        assert seen[0] == 32
        assert seen == sorted(seen)
        assert 60 <= seen[-1] <= 128

    in_virtual_time(recover())


def test_a_pause_holds_everyone() -> None:
    """Nobody gets a place before the server's time has passed."""

    async def wait() -> None:
        pacer, clock = Pacer(), asyncio.get_running_loop().time
        pacer.pause(30)
        await asyncio.gather(*(pacer.enter(1) for _ in range(5)))
        assert clock() >= 30

    in_virtual_time(wait())


def test_first_come_first_served() -> None:
    """Whoever waits is served by arrival; one who gave up holds nothing."""

    async def queue() -> None:
        pacer, served = Pacer(1), []
        slot = await pacer.enter(1)

        async def caller(name: str) -> None:
            mine = await pacer.enter(1)
            served.append(name)
            pacer.leave(mine)

        tasks = [asyncio.ensure_future(caller(name)) for name in ["a", "b", "gone", "c", "d"]]
        await asyncio.sleep(0)
        tasks[2].cancel()
        pacer.leave(slot)
        await asyncio.wait(tasks)
        assert served == ["a", "b", "c", "d"]
        assert (pacer.in_flight, pacer.load) == (0, 0)

    in_virtual_time(queue())


def test_who_was_sent_before_goes_first() -> None:
    """In their own order, and before all who were never sent."""

    async def queue() -> None:
        pacer, served = Pacer(1), []
        slot = await pacer.enter(1)

        async def caller(name: str) -> None:
            mine = await pacer.enter(1, again=name.startswith("again"))
            served.append(name)
            pacer.leave(mine)

        names = ["new 1", "again 1", "new 2", "again 2"]
        tasks = [asyncio.ensure_future(caller(name)) for name in names]
        await asyncio.sleep(0)
        pacer.leave(slot)
        await asyncio.wait(tasks)
        assert served == ["again 1", "again 2", "new 1", "new 2"]

    in_virtual_time(queue())


@pytest.mark.parametrize("evicted", [False, True])
def test_who_gave_up_in_the_queue_is_not_counted(evicted: bool) -> None:
    """At once, though others wait before and behind; nor counted off twice when all are sent away."""

    async def leave() -> None:
        pacer = Pacer(1)
        await pacer.enter(1)
        tasks = [asyncio.ensure_future(pacer.enter(3)) for _ in range(5)]
        await asyncio.sleep(0)
        assert pacer.load == 16
        for task in tasks[1:4]:
            task.cancel()
        if evicted:
            pacer.evict()
        await asyncio.wait(tasks[1:4])
        assert pacer.load == (1 if evicted else 7)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert pacer.load == 1

    in_virtual_time(leave())


def test_the_clock_of_an_open_server_stands_still_in_pauses() -> None:
    """Overlapping pauses count once."""

    async def pauses() -> None:
        pacer = Pacer()
        start = pacer.seconds_open
        pacer.pause(10)
        await asyncio.sleep(4)
        pacer.pause(10)
        pacer.pause(1)
        assert pacer.seconds_open - start == pytest.approx(0)
        await asyncio.sleep(13)
        assert pacer.seconds_open - start == pytest.approx(3)

    in_virtual_time(pauses())


def test_a_place_given_to_one_who_just_left_is_not_lost() -> None:
    """Cancelled in the very moment it is served."""

    async def race() -> None:
        pacer = Pacer(1)
        slot = await pacer.enter(1)
        waiting = asyncio.ensure_future(pacer.enter(1))
        await asyncio.sleep(0)
        pacer.leave(slot)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert pacer.in_flight == 0
        assert (await pacer.enter(1)).weight == 1

    in_virtual_time(race())


def test_more_votes_than_places_still_pass() -> None:
    """One request may want more replies than there are places; it then goes alone."""

    async def big() -> None:
        pacer = Pacer(2)
        first = await pacer.enter(5)
        second = asyncio.ensure_future(pacer.enter(5))
        await asyncio.sleep(0)
        assert not second.done()
        pacer.leave(first)
        assert (await second).weight == 5

    in_virtual_time(big())


def replicas(num: int, heard: list[str]) -> Replicas:
    """Servers that are nowhere."""
    urls = [f"http://127.0.0.1:9/{i}" for i in range(num)]
    return Replicas([Replica(url, Key(), Lanes(url, {})) for url in urls], heard.append, 1e6)


async def test_a_tree_stays_where_it_first_asked_until_that_server_dies() -> None:
    """Trees spread over the servers; those of a dead one move at once, the others stay."""
    heard: list[str] = []
    servers = replicas(3, heard)
    homes = {tree: servers.home(tree) for tree in range(1, 31)}
    assert [sum(home is server for home in homes.values()) for server in servers.all] == [10] * 3
    assert all(servers.home(tree) is home for tree, home in homes.items())
    dead = servers.all[0]
    waiting = asyncio.ensure_future(dead.pacer.enter(1))
    for _ in range(2):
        servers.failed(dead, Unreachable("refused"))
    assert dead not in servers.live
    for tree, home in homes.items():
        assert servers.home(tree) is not dead
        assert home is dead or servers.home(tree) is home
    assert len(heard) == 1
    await servers.aclose()
    await asyncio.wait([waiting])


async def test_who_waits_for_a_dead_server_is_sent_away() -> None:
    """Places on it are no longer to be had."""
    servers = replicas(2, [])
    dead = servers.all[0]
    for _ in range(4):
        await dead.pacer.enter(4)
    waiting = asyncio.ensure_future(dead.pacer.enter(1))
    await asyncio.sleep(0)
    for _ in range(4):
        servers.failed(dead, Cut("cut"))
    with pytest.raises(Moved):
        await waiting
    await servers.aclose()
