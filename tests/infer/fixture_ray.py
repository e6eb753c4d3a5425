"""A small Ray cluster that tests share, and the engines that its replicas run.

`conftest.py` of this folder imports the fixtures.
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
from spar.infer.engine import (
    Completion,
    Continuation,
    Deployment,
    Engine,
    Likelihood,
    NoteCallback,
    Request,
)
from spar.infer.engines.fake import FakeEngine
from spar.infer.engines.ray.cluster import ResourceRequest, load_ray
from spar.infer.engines.ray.replica import ReplicaSpec
from tests.fakes import World
from tests.infer.fixture_vllm import SharedEngine

_WAIT_SECONDS = 90


@pytest.fixture(scope="module")
def ray_nodes() -> Iterator[Any]:
    """A cluster of two nodes on this machine, with two nominal CPUs each; this process is connected."""
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


def add_node(nodes: Any, num_cpus: int, num_gpus: int = 0) -> Any:
    """Add a node with a small object store."""
    return nodes.add_node(
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        object_store_memory=80 * 1024**2,
        include_dashboard=False,
    )


@pytest.fixture(scope="module")
def ray_module_engine(ray_nodes: Any, tiny_model: Path) -> Iterator[Engine]:
    """Two hf replicas of the tiny model."""
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
def ray_engine(ray_module_engine: Engine) -> SharedEngine:
    """The shared ray engine, for one test."""
    return SharedEngine(ray_module_engine)


def replica_spec(opener: Callable[..., Engine]) -> ReplicaSpec:
    """A replica that opens one of the engines below."""
    return ReplicaSpec(
        f"{opener.__module__}:{opener.__name__}", Deployment("world"), DecodeConfig()
    )


ONE_CPU = ResourceRequest("CPU", 1)


def open_world(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> FakeEngine:
    """Replies after a delay, as a `World` does; its description is its process id."""
    engine = FakeEngine(World(), latency=0.02)
    engine.description = str(os.getpid())
    return engine


def open_mortal(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> FakeEngine:
    """Ends its process, breaks its engine, or refuses a prompt, as the prompt says."""
    served: list[str] = []

    def reply(request: Request) -> str:
        prompt = request.messages[-1].content
        if prompt == "die":
            os._exit(1)
        if prompt == "break" or (prompt == "break if used before" and served):
            raise EngineError("broken")
        if prompt == "refuse":
            raise PromptRefused("not this one")
        served.append(prompt)
        return "alive"

    return FakeEngine(reply)


def open_lacking(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> FakeEngine:
    """Raises that a package is missing."""
    raise MissingExtra("torch", "hf", "the hf engine")


def open_crowded(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> FakeEngine:
    """Finds no free memory the first time; the model's name is a file that says so."""
    tried = Path(deployment.model)
    if not tried.exists():
        tried.touch()
        raise EngineError("Free memory on device cuda:0 is less than desired")
    return FakeEngine(World())


class CachingEngine(FakeEngine):
    """Reports ten tokens looked up in a prefix cache per request, and four hits."""

    mean_batch = 0.0
    prefix_cache = (0, 0)

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order."""
        queried, hits = self.prefix_cache
        self.prefix_cache = queried + 10 * len(requests), hits + 4 * len(requests)
        return await super().generate(requests)


def open_counting(
    deployment: Deployment, config: DecodeConfig, note: NoteCallback
) -> CachingEngine:
    """Has a prefix cache; its description is its process id."""
    engine = CachingEngine(World())
    engine.description = str(os.getpid())
    return engine


class ScoringEngine(FakeEngine):
    """Scores by the length of a text, and names its process in the number of tokens."""

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One likelihood per continuation, in order; the text "die" ends the process."""
        if any(each.text == "die" for each in continuations):
            os._exit(1)
        return [Likelihood(-float(len(each.text)), False, os.getpid()) for each in continuations]


def open_scoring(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> ScoringEngine:
    """Scores texts."""
    return ScoringEngine(World())


class CancellationNotingEngine(FakeEngine):
    """Never replies to the prompt "hang", and notes when such a call is cancelled."""

    def __init__(self, note: NoteCallback) -> None:
        super().__init__(World())
        self._note = note

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order, or never."""
        if requests[0].messages[0].content == "hang":
            try:
                await asyncio.Event().wait()
            finally:
                self._note("cancelled")
        return await super().generate(requests)


def open_hanging(
    deployment: Deployment, config: DecodeConfig, note: NoteCallback
) -> CancellationNotingEngine:
    """Notes cancelled calls."""
    return CancellationNotingEngine(note)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fails after a minute and a half."""
    end = time.monotonic() + _WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        await asyncio.sleep(0.05)
