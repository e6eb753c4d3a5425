"""The ray engine: replicas and nodes that die during a run, and the room on the cluster."""

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
from spar.infer.engine import Continuation, Deployment, Engine, Request, Sampling
from spar.infer.engine_wrappers import scorer
from spar.infer.engines.fake import FakeEngine
from spar.infer.engines.ray import cluster, supervisor
from spar.infer.engines.ray import engine as ray_engine
from spar.infer.engines.ray.cluster import ResourceRequest
from spar.infer.engines.ray.engine import RayEngine
from spar.infer.engines.ray.plan import ReplicaPlan, plan_replicas
from spar.infer.engines.ray.replica import ReplicaSpec
from spar.infer.summary import Summary
from spar.listener import Listener
from spar.manifest import Manifest
from spar.store import RunStore, read_trees
from spar.types import Message, SearchTree
from tests.fakes import World, make_prompt, make_settings, real_roles, timeless
from tests.infer.fixture_ray import (
    ONE_CPU,
    add_node,
    open_counting,
    open_crowded,
    open_hanging,
    open_lacking,
    open_mortal,
    open_scoring,
    open_world,
    replica_spec,
    wait_until,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PROMPTS = 24


def request(text: str, tree: int = 0) -> list[Request]:
    """A list of one request."""
    return [Request((Message(role="user", content=text),), Sampling(seed=1), tree)]


@asynccontextmanager
async def opened(
    opener: Callable[..., Engine], num_replicas: int, resources: ResourceRequest = ONE_CPU
) -> AsyncIterator[tuple[RayEngine, list[str]]]:
    """An engine whose replicas use an opener, and its notes."""
    notes: list[str] = []
    cluster.join("")
    engine = RayEngine(
        ReplicaPlan(replica_spec(opener), resources, num_replicas, 60.0), notes.append
    )
    try:
        yield engine, notes
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
    """Decode some prompts with BFS; returns the trees that were written, by prompt."""
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
    """Its trees continue on the other one and equal those of an undisturbed run; it is restarted."""
    undisturbed = await search(FakeEngine(World()), tmp_path / "undisturbed")
    async with opened(open_world, 2) as (engine, notes):
        victim = int(engine.replicas[0].state.description)

        def kill(written: int) -> None:
            if written == 3:
                os.kill(victim, signal.SIGKILL)

        assert await search(engine, tmp_path / "killed", kill) == undisturbed
        await wait_until(lambda: int(engine.replicas[0].state.description) != victim)
    losses = [line for line in notes if "was lost" in line]
    assert len(losses) == 1
    assert losses[0].startswith("replica 1 on")
    assert losses[0].endswith("restarting it")


async def test_a_lost_node_loses_no_tree(ray_nodes: Any, tmp_path: Path) -> None:
    """The remaining replicas serve everything; the lost one is restarted on a new node."""
    import ray as untyped

    ray: Any = untyped
    # Resources of earlier tests are freed with a delay; the engine of the contract tests may hold two CPUs.
    await wait_until(lambda: ray.available_resources().get("CPU") in (2, 4))
    each = int(ray.available_resources()["CPU"]) // 2
    third = add_node(ray_nodes, num_cpus=each)
    undisturbed = await search(FakeEngine(World()), tmp_path / "undisturbed")
    async with opened(open_world, 3, ResourceRequest("CPU", each)) as (engine, notes):

        def remove(written: int) -> None:
            if written == 3:
                ray_nodes.remove_node(third)

        assert await search(engine, tmp_path / "lost", remove) == undisturbed
        assert len(engine.live) == 2
        third = add_node(ray_nodes, num_cpus=each)
        await wait_until(lambda: len(engine.live) == 3)
    ray_nodes.remove_node(third)
    assert any("was lost" in line for line in notes)


async def test_cancelling_the_caller_cancels_the_work(ray_nodes: Any) -> None:
    """In the replica's engine too."""
    async with opened(open_hanging, 1) as (engine, notes):
        task = asyncio.create_task(engine.generate(request("hang")))
        await engine.generate(request("reply"))
        assert engine.replicas[0].in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine.replicas[0].in_flight == 0
        for _ in range(200):
            await engine.generate(request("reply"))
            if notes:
                break
            await asyncio.sleep(0.05)
    assert notes == ["cancelled"]


@pytest.mark.parametrize("fate", ["die", "break"])
async def test_a_request_that_kills_every_replica_ends_the_run(
    ray_nodes: Any,
    monkeypatch: pytest.MonkeyPatch,
    fate: str,
) -> None:
    """After repeated deaths without a completed request, of the process or the engine."""
    monkeypatch.setattr(supervisor, "MAX_FAILED_STARTS", 2)
    async with opened(open_mortal, 1) as (engine, notes):
        with pytest.raises(
            EngineError, match=r"no replica is left: replica 1 .*failed to start 2 times"
        ):
            await engine.generate(request(fate))
        assert engine.capacity == 0
    assert notes[-1].endswith("it is not restarted")


async def test_a_replica_whose_engine_breaks_is_restarted(ray_nodes: Any) -> None:
    """Its requests are retried."""
    async with opened(open_mortal, 1) as (engine, notes):
        await engine.generate(request("reply"))
        assert [r.text for r in await engine.generate(request("break if used before"))] == ["alive"]
    assert len(notes) == 1
    assert "its engine failed: broken; retrying its 1 request" in notes[0]


async def test_a_refused_prompt_does_not_end_the_replica(ray_nodes: Any) -> None:
    """Its caller gets the error; nothing is retried."""
    async with opened(open_mortal, 1) as (engine, notes):
        for _ in range(4):
            with pytest.raises(PromptRefused, match="not this one"):
                await engine.generate(request("refuse"))
            assert len(engine.live) == 1
        assert [reply.text for reply in await engine.generate(request("reply"))] == ["alive"]
    assert notes == []


async def test_prefix_caches_add_up(ray_nodes: Any) -> None:
    """Over all replicas and restarts; (0, 0) without a cache."""
    async with opened(open_counting, 2) as (engine, _):
        await engine.generate([request(f"say {i}", tree=i)[0] for i in range(1, 7)])
        assert engine.prefix_cache == (60, 24)
        replica = engine.replicas[0]
        victim = int(replica.state.description)
        os.kill(victim, signal.SIGKILL)
        await wait_until(lambda: replica.live and int(replica.state.description) != victim)
        assert engine.prefix_cache == (60, 24)
        await engine.generate([request(f"say {i}", tree=i)[0] for i in range(1, 7)])
        assert engine.prefix_cache == (120, 48)
    async with opened(open_world, 1) as (engine, _):
        await engine.generate(request("one"))
        assert engine.prefix_cache == (0, 0)


async def test_likelihoods_come_from_all_replicas(ray_nodes: Any) -> None:
    """In order; the answers to one question from one replica, and from another one when that dies."""
    asked = [Continuation(f"question {i}", "a" * n) for i in range(6) for n in (1, 2, 3)]
    async with opened(open_scoring, 2) as (engine, _):
        found = await scorer(engine).score(asked)
        assert [-each.logprob for each in found] == [len(each.text) for each in asked]
        replicas = [{each.tokens for each in found[i : i + 3]} for i in range(0, 18, 3)]
        assert [len(each) for each in replicas] == [1] * 6
        assert sorted(replicas.count({pid}) for pid in set.union(*replicas)) == [3, 3]
        doomed = asyncio.create_task(engine.score([Continuation("", "die")]))
        await wait_until(lambda: len(engine.live) < 2)
        again = await scorer(engine).score(asked)
        assert [each.logprob for each in again] == [each.logprob for each in found]
        doomed.cancel()


async def test_all_replicas_are_closed_if_one_fails_to_close(
    ray_nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the cluster is left."""

    def fail() -> None:
        raise RuntimeError("it cannot be closed")

    users = cluster._connection.num_users
    async with opened(open_world, 2) as (engine, _):
        monkeypatch.setattr(engine.replicas[0], "begin_closing", fail)
        with pytest.raises(RuntimeError, match="cannot be closed"):
            await engine.aclose()
        assert engine.live == []
        assert cluster._connection.num_users == users


def test_a_cluster_without_room_ends_the_run(
    ray_nodes: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the timeout."""
    monkeypatch.setattr(ray_engine, "_START_TIMEOUT", 1.0)
    with pytest.raises(EngineError, match="no room for a replica for 1 s"):
        RayEngine(ReplicaPlan(replica_spec(open_world), ResourceRequest("CPU", 3), 1, 0.0), print)


async def test_a_tree_stays_on_one_replica(ray_nodes: Any) -> None:
    """All requests of a tree reach one replica; trees are spread evenly; completions are in order."""
    async with opened(open_world, 2) as (engine, _):
        seen: dict[int, set[int]] = {}
        for replica in engine.replicas:
            generate = replica.generate

            async def watch(requests: Any, replica: Any = replica, generate: Any = generate) -> Any:
                for request in requests:
                    seen.setdefault(request.tree, set()).add(replica.number)
                return await generate(requests)

            replica.generate = watch  # type: ignore[method-assign]
        mixed = [request(f"ask {i}", tree=1 + i % 6)[0] for i in range(30)]
        replies = await engine.generate(mixed)
        again = [(await engine.generate([request]))[0] for request in mixed]
    assert replies == again == await FakeEngine(World()).generate(mixed)
    assert sorted(map(len, seen.values())) == [1] * 6
    assert sorted(n for (n,) in seen.values()) == [1, 1, 1, 2, 2, 2]


async def test_an_error_while_opening_ends_the_start(ray_nodes: Any) -> None:
    """Even one whose constructor takes several arguments arrives with its message."""
    with pytest.raises(UsageError, match="the hf engine needs the package 'torch'"):
        RayEngine(ReplicaPlan(replica_spec(open_lacking), ONE_CPU, 1, 60.0), print)


async def test_a_replica_whose_memory_is_held_tries_again(ray_nodes: Any, tmp_path: Path) -> None:
    """What another process holds may be free at the next attempt."""
    crowded = f"{open_crowded.__module__}:{open_crowded.__name__}"
    spec = ReplicaSpec(crowded, Deployment(str(tmp_path / "tried")), DecodeConfig())
    notes: list[str] = []
    cluster.join("")
    engine = RayEngine(ReplicaPlan(spec, ONE_CPU, 1, 60.0), notes.append)
    assert len(await engine.generate(request("one"))) == 1
    await engine.aclose()
    assert len(notes) == 1
    assert "was lost: Free memory on device" in notes[0]
    assert notes[0].endswith("restarting it")


def test_more_replicas_than_the_cluster_holds_are_refused(ray_nodes: Any) -> None:
    """At once, with the required and the available resources."""
    config = DecodeConfig(replicas=99, replica_engine="hf")
    with pytest.raises(UsageError, match=r"--replicas 99: each needs 1 CPU .* has 2 \+ 2"):
        plan_replicas(Deployment("m"), config)
