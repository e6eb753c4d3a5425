"""A small Ray cluster that tests share, and what its replicas run.

A test module takes the fixtures by importing them by name.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from spar.config import DecodeConfig
from spar.errors import EngineError, MissingExtra, PromptRefused
from spar.infer.engine import Completion, Deployment, Engine, NoteCallback, Request
from spar.infer.engines.fake import FakeEngine
from spar.infer.engines.ray.cluster import Need, load_ray
from spar.infer.engines.ray.replica import Plan
from tests.fakes import World
from tests.infer.fixture_vllm import Lent

_WAIT_SECONDS = 90


@pytest.fixture(scope="module")
def ray_nodes() -> Iterator[Any]:
    """Two nodes on this machine, of two CPUs in name each; this process is connected to them."""
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    ray = load_ray("")
    from ray.cluster_utils import Cluster

    nodes: Any = Cluster()  # ray is typed in parts
    for _ in range(2):
        add_node(nodes, num_cpus=2)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def add_node(nodes: Any, num_cpus: int) -> Any:
    """One more node, with little memory for objects."""
    return nodes.add_node(
        num_cpus=num_cpus, object_store_memory=80 * 1024**2, include_dashboard=False
    )


@pytest.fixture(scope="module")
def ray_module_engine(ray_nodes: Any, tiny_model: Path) -> Iterator[Engine]:
    """Two replicas of hf on the tiny model."""
    from spar.infer.engines.ray.engine import open_ray

    settings: dict[str, Any] = {
        "device": "cpu",
        "max_batch_size": 8,
        "replica_engine": "hf",
        "replicas": 2,
    }
    engine = open_ray(Deployment(str(tiny_model)), DecodeConfig(**settings), lambda _: None)
    yield engine
    asyncio.run(engine.aclose())


@pytest.fixture
def ray_engine(ray_module_engine: Engine) -> Lent:
    """The shared ray engine, for one test."""
    return Lent(ray_module_engine)


def plan(opener: Callable[..., Engine]) -> Plan:
    """What a replica opens by one of the functions below."""
    return Plan(f"{opener.__module__}:{opener.__name__}", Deployment("world"), DecodeConfig())


CPU = Need("CPU", 1)


def open_world(deployment: Deployment, config: DecodeConfig, tell: NoteCallback) -> FakeEngine:
    """Takes its time, as a world replies, and describes itself by its process's id."""
    engine = FakeEngine(World(), latency=0.02)
    engine.description = str(os.getpid())
    return engine


def open_mortal(deployment: Deployment, config: DecodeConfig, tell: NoteCallback) -> FakeEngine:
    """Its process ends, its engine breaks, or it refuses a prompt, when it is asked for that."""
    asked: list[str] = []

    def reply(request: Request) -> str:
        wish = request.messages[-1].content
        if wish == "die":
            os._exit(1)
        if wish == "break" or (wish == "break if asked before" and asked):
            raise EngineError("broken")
        if wish == "refuse":
            raise PromptRefused("not this one")
        asked.append(wish)
        return "alive"

    return FakeEngine(reply)


def open_lacking(deployment: Deployment, config: DecodeConfig, tell: NoteCallback) -> FakeEngine:
    """Lacks a package."""
    raise MissingExtra("torch", "hf", "the hf engine")


class Counting(FakeEngine):
    """Looks ten tokens of each request up in a prefix cache, and finds four of them."""

    mean_batch = 0.0
    prefix_cache = (0, 0)

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order."""
        queried, hit = self.prefix_cache
        self.prefix_cache = queried + 10 * len(requests), hit + 4 * len(requests)
        return await super().generate(requests)


def open_counting(deployment: Deployment, config: DecodeConfig, tell: NoteCallback) -> Counting:
    """Has a prefix cache, and describes itself by its process's id."""
    engine = Counting(World())
    engine.description = str(os.getpid())
    return engine


class Telling(FakeEngine):
    """Holds what it is told to hold, and tells of each such call that is cancelled."""

    def __init__(self, tell: NoteCallback) -> None:
        super().__init__(World())
        self._tell = tell

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order, or never."""
        if requests[0].messages[0].content == "hold":
            try:
                await asyncio.Event().wait()
            finally:
                self._tell("dropped")
        return await super().generate(requests)


def open_telling(deployment: Deployment, config: DecodeConfig, tell: NoteCallback) -> Telling:
    """Tells of cancelled calls."""
    return Telling(tell)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something to become true; a slow machine is given time."""
    end = time.monotonic() + _WAIT_SECONDS
    while not true():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.05)
