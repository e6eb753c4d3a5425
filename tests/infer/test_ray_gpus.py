"""Two models on a Ray cluster of eight GPUs, which are not there: Ray believes in any number that it is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spar.config import DecodeConfig
from spar.errors import UsageError
from spar.infer.engine import Deployment
from spar.infer.engines.ray import cluster, plan
from spar.infer.engines.ray.plan import place_replicas
from spar.listener import Listener
from spar.run.decoding import run_decode, source_of
from spar.store import read_trees
from spar.types import SearchTree
from tests.fakes import make_prompt, timeless
from tests.infer.fixture_ray import add_node

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ACTOR, REFINER = Deployment("org/actor"), Deployment("org/refiner")
FAKE = "tests.infer.fixture_ray:open_world"
SETTINGS: dict[str, Any] = {
    "strategy": "bfs",
    "actor_model": "org/actor",
    "refiner_model": "org/refiner",
}


@pytest.fixture(scope="module")
def eight_gpus() -> Iterator[None]:
    """A cluster of two nodes with four GPUs each; this process is connected to it."""
    pytest.importorskip("ray")
    ray = cluster.load_ray("")
    from ray.cluster_utils import Cluster

    nodes: Any = Cluster()
    for _ in range(2):
        add_node(nodes, num_cpus=2, num_gpus=4)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def fake_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas take a GPU each and run a fake engine."""
    monkeypatch.setattr(plan, "_replica_engine", lambda config, has_gpus: (FAKE, has_gpus))


def replicated(replicas: int, **settings: Any) -> DecodeConfig:
    """Two models on a cluster."""
    return DecodeConfig(
        engine="ray", replicas=replicas, **{"replica_engine": "hf"} | SETTINGS | settings
    )


class Notes(Listener):
    """Keeps the notes of a run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        """Keep it."""
        self.lines.append(line)


async def search(config: DecodeConfig, out: Path, listener: Listener) -> list[SearchTree]:
    """The trees of a run with some prompts, without the digest of its settings, which name the engine."""
    source = source_of([make_prompt(f"Write line {i}.", f"p{i}") for i in range(12)])
    await run_decode(config, source, out=out, listener=listener)
    trees = [timeless(tree).model_copy(update={"config": ""}) for tree in read_trees(out)]
    return sorted(trees, key=lambda tree: tree.prompt.id)


@pytest.mark.parametrize(
    ("replicas", "settings", "expected"),
    [
        (4, {}, "side by side"),
        (5, {}, "in turn"),
        (8, {}, "in turn"),
        (1, {"replica_engine": "vllm", "engine_args": {"tensor_parallel_size": 4}}, "side by side"),
        (2, {"replica_engine": "vllm", "engine_args": {"tensor_parallel_size": 3}}, "in turn"),
        (2, {"device": "cpu"}, "side by side"),
        (3, {"device": "cpu"}, "in turn"),
    ],
)
def test_models_whose_replicas_all_find_a_gpu_run_side_by_side(
    eight_gpus: None, replicas: int, settings: dict[str, Any], expected: str
) -> None:
    """A replica cannot span nodes, so that eight GPUs hold no four replicas of three."""
    placed = place_replicas((ACTOR, REFINER), replicated(replicas, **settings))
    assert placed.arrangement == expected


async def test_two_models_with_eight_replicas_each_take_turns(
    eight_gpus: None, fake_replicas: None, tmp_path: Path
) -> None:
    """All drafts first, then the search on the same GPUs; the trees are those of one engine for both."""
    notes = Notes()
    trees = await search(replicated(8), tmp_path / "ray", notes)
    fake = DecodeConfig(engine=FAKE, **SETTINGS)
    assert trees == await search(fake, tmp_path / "fake", Listener())
    assert any(
        "2 models: drafts first, then the search" in line
        and "take 16 GPUs, and 4 + 4 of the Ray cluster's are free" in line
        for line in notes.lines
    )
    assert sum(": 8 Ray replicas, each" in line for line in notes.lines) == 2


async def test_models_that_cannot_take_turns_are_refused(eight_gpus: None, tmp_path: Path) -> None:
    """The actor's judges too, or judge and refiner are two models that do not fit together."""
    for more in ({"judge_model": "org/actor"}, {"judge_model": "org/judge"}):
        with pytest.raises(UsageError, match=r"use fewer --replicas"):
            await search(replicated(8, **more), tmp_path / more["judge_model"], Listener())
