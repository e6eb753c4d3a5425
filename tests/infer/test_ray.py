"""The ray engine: replicas and nodes that die in the middle, and what the cluster has room for."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from spar.config import DecodeConfig
from spar.errors import EngineError, PromptRefused, UsageError
from spar.infer.decode import decode
from spar.infer.engine import Deployment, Engine, Request, Sampling
from spar.infer.engines.fake import FakeEngine
from spar.infer.engines.ray import cluster
from spar.infer.engines.ray import engine as ray_engine
from spar.infer.engines.ray import supervisor as seat_module
from spar.infer.engines.ray.cluster import Need
from spar.infer.engines.ray.engine import Fleet, RayEngine, plan_fleet
from spar.infer.summary import Summary
from spar.listener import Listener
from spar.manifest import Manifest
from spar.store import RunStore, read_trees
from spar.types import Message, SearchTree
from tests.fakes import World, make_prompt, make_settings, real_roles, timeless
from tests.infer.fixture_ray import (
    CPU,
    add_node,
    open_counting,
    open_lacking,
    open_mortal,
    open_telling,
    open_world,
    plan,
    until,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PROMPTS = 24


def ask(text: str, tree: int = 0) -> list[Request]:
    """One request."""
    return [Request((Message(role="user", content=text),), Sampling(seed=1), tree)]


@asynccontextmanager
async def opened(
    opener: Callable[..., Engine], replicas: int, need: Need = CPU
) -> AsyncIterator[tuple[RayEngine, list[str]]]:
    """Replicas of what the opener opens, and what the engine tells."""
    heard: list[str] = []
    cluster.join("")
    engine = RayEngine(Fleet(plan(opener), need, replicas, 60.0), heard.append)
    try:
        yield engine, heard
    finally:
        await engine.aclose()


class Trees(Listener):
    """Calls a function with each tree."""

    def __init__(self, on_tree: Callable[[SearchTree], None]) -> None:
        self._on_tree = on_tree

    def tree(self, tree: SearchTree) -> None:
        """Call it."""
        self._on_tree(tree)


async def search(
    engine: Any, directory: Path, on_tree: Callable[[int], None] = lambda _: None
) -> list[SearchTree]:
    """Decode some prompts with BFS; the trees that were written, by prompt."""
    prompts = [make_prompt(f"Write line {i}.", f"p{i:02}") for i in range(PROMPTS)]
    written: list[str] = []

    def count(tree: SearchTree) -> None:
        written.append(tree.prompt.id)
        on_tree(len(written))

    with RunStore.open(directory, Manifest(spar_version="0", config={})) as store:
        settings = make_settings("bfs")
        roles = real_roles(engine)
        await decode(prompts, roles, settings, store, summary=Summary(), listener=Trees(count))
    assert sorted(written) == [prompt.id for prompt in prompts]
    return sorted(map(timeless, read_trees(directory)), key=lambda tree: tree.prompt.id)


async def test_a_killed_replica_loses_no_tree(ray_nodes: Any, tmp_path: Path) -> None:
    """Its trees go on elsewhere and come out as in an undisturbed run; it is restarted."""
    calm = await search(FakeEngine(World()), tmp_path / "calm")
    async with opened(open_world, 2) as (engine, heard):
        victim = int(engine.seats[0].state.description)

        def kill(written: int) -> None:
            if written == 3:
                os.kill(victim, signal.SIGKILL)

        assert await search(engine, tmp_path / "killed", kill) == calm
        await until(lambda: int(engine.seats[0].state.description) != victim)
    losses = [line for line in heard if "was lost" in line]
    assert len(losses) == 1
    assert losses[0].startswith("replica 1 on")
    assert losses[0].endswith("it is being restarted")


async def test_a_lost_node_loses_no_tree(ray_nodes: Any, tmp_path: Path) -> None:
    """The remaining replicas answer everything; the lost one comes back with a new node."""
    import ray as untyped

    ray: Any = untyped
    # What earlier tests took is given back a moment after; the contract's engine may keep two.
    await until(lambda: ray.available_resources().get("CPU") in (2, 4))
    each = int(ray.available_resources()["CPU"]) // 2
    third = add_node(ray_nodes, num_cpus=each)
    calm = await search(FakeEngine(World()), tmp_path / "calm")
    async with opened(open_world, 3, Need("CPU", each)) as (engine, heard):

        def remove(written: int) -> None:
            if written == 3:
                ray_nodes.remove_node(third)

        assert await search(engine, tmp_path / "lost", remove) == calm
        assert len(engine.live) == 2
        third = add_node(ray_nodes, num_cpus=each)
        await until(lambda: len(engine.live) == 3)
    ray_nodes.remove_node(third)
    assert any("was lost" in line for line in heard)


async def test_cancelling_the_caller_drops_the_work(ray_nodes: Any) -> None:
    """The replica's engine sees the cancellation, and the caller its own."""
    async with opened(open_telling, 1) as (engine, heard):
        task = asyncio.create_task(engine.generate(ask("hold")))
        await engine.generate(ask("go on"))
        assert engine.seats[0].in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine.seats[0].in_flight == 0
        for _ in range(200):
            await engine.generate(ask("go on"))
            if heard:
                break
            await asyncio.sleep(0.05)
    assert heard == ["dropped"]


@pytest.mark.parametrize("fate", ["die", "break"])
async def test_what_kills_every_replica_stops_the_run(
    ray_nodes: Any,
    monkeypatch: pytest.MonkeyPatch,
    fate: str,
) -> None:
    """After some lives without an answer, process or engine broken, the seat is given up."""
    monkeypatch.setattr(seat_module, "_BARREN_LIVES", 2)
    async with opened(open_mortal, 1) as (engine, heard):
        with pytest.raises(EngineError, match=r"no replica is left: replica 1 .*failed 2 times"):
            await engine.generate(ask(fate))
        assert engine.capacity == 0
    assert heard[-1].endswith("it is given up")


async def test_an_engine_that_breaks_is_replaced(ray_nodes: Any) -> None:
    """One that answers at first and then fails is started anew; the request goes with the others."""
    async with opened(open_mortal, 1) as (engine, heard):
        await engine.generate(ask("live"))
        assert [r.text for r in await engine.generate(ask("break if asked before"))] == ["alive"]
    assert len(heard) == 1
    assert "its engine failed: broken; its 1 request goes again" in heard[0]


async def test_a_refused_prompt_costs_no_replica(ray_nodes: Any) -> None:
    """Its caller is told; the replica lives on, and nothing is asked again."""
    async with opened(open_mortal, 1) as (engine, heard):
        for _ in range(4):
            with pytest.raises(PromptRefused, match="not this one"):
                await engine.generate(ask("refuse"))
            assert len(engine.live) == 1
        assert [reply.text for reply in await engine.generate(ask("live"))] == ["alive"]
    assert heard == []


async def test_prefix_caches_add_up(ray_nodes: Any) -> None:
    """Over the replicas, those that died included; nothing where none has one."""
    async with opened(open_counting, 2) as (engine, _):
        await engine.generate([ask(f"say {i}", tree=i)[0] for i in range(1, 7)])
        assert engine.prefix_cache == (60, 24)
        seat = engine.seats[0]
        victim = int(seat.state.description)
        os.kill(victim, signal.SIGKILL)
        await until(lambda: seat.live and int(seat.state.description) != victim)
        assert engine.prefix_cache == (60, 24)
        await engine.generate([ask(f"say {i}", tree=i)[0] for i in range(1, 7)])
        assert engine.prefix_cache == (120, 48)
    async with opened(open_world, 1) as (engine, _):
        await engine.generate(ask("one"))
        assert engine.prefix_cache == (0, 0)


async def test_a_replica_that_cannot_be_closed_keeps_no_other_open(
    ray_nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All replicas end and the cluster is left, whatever goes wrong on the way."""

    def fail() -> None:
        raise RuntimeError("it cannot be closed")

    users = cluster._membership.users
    async with opened(open_world, 2) as (engine, _):
        monkeypatch.setattr(engine.seats[0], "begin_closing", fail)
        with pytest.raises(RuntimeError, match="cannot be closed"):
            await engine.aclose()
        assert engine.live == []
        assert cluster._membership.users == users


def test_no_room_for_any_replica_stops_the_run(
    ray_nodes: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the time to wait for it is over."""
    monkeypatch.setattr(ray_engine, "_START_SECONDS", 1.0)
    with pytest.raises(EngineError, match="no room for any replica for 1 s"):
        RayEngine(Fleet(plan(open_world), Need("CPU", 3), 1, 0.0), print)


async def test_a_tree_stays_on_one_replica(ray_nodes: Any) -> None:
    """All requests of a tree reach one replica; trees are shared out evenly; replies keep order."""
    async with opened(open_world, 2) as (engine, _):
        seen: dict[int, set[int]] = {}
        for seat in engine.seats:
            inner = seat.ask

            async def watch(requests: Any, seat: Any = seat, inner: Any = inner) -> Any:
                for request in requests:
                    seen.setdefault(request.tree, set()).add(seat.number)
                return await inner(requests)

            seat.ask = watch  # type: ignore[method-assign]
        mixed = [ask(f"ask {i}", tree=1 + i % 6)[0] for i in range(30)]
        replies = await engine.generate(mixed)
        again = [(await engine.generate([request]))[0] for request in mixed]
    assert replies == again == await FakeEngine(World()).generate(mixed)
    assert sorted(map(len, seen.values())) == [1] * 6
    assert sorted(n for (n,) in seen.values()) == [1, 1, 1, 2, 2, 2]


async def test_a_replica_says_why_it_cannot_open(ray_nodes: Any) -> None:
    """An error whose constructor takes several arguments arrives as one line and stops the start."""
    with pytest.raises(UsageError, match="the hf engine needs the package 'torch'"):
        RayEngine(Fleet(plan(open_lacking), CPU, 1, 60.0), print)


def test_more_replicas_than_the_cluster_holds_are_refused(ray_nodes: Any) -> None:
    """At once, with what is needed and what there is."""
    config = DecodeConfig(replicas=99, replica_engine="hf")
    with pytest.raises(UsageError, match=r"--replicas 99: each needs 1 CPU .* has 2 \+ 2"):
        plan_fleet(Deployment("m"), config)
