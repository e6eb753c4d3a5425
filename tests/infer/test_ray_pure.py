"""The parts of the ray engine that need no cluster: affinity, room on nodes, settings, errors as data."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import pytest

from spar import hardware
from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT
from spar.errors import (
    EngineError,
    MissingExtra,
    PromptRefused,
    PromptTooLong,
    SparError,
    UsageError,
)
from spar.infer.engine import Deployment
from spar.infer.engines import packages
from spar.infer.engines.affinity import Affinity
from spar.infer.engines.ray import cluster
from spar.infer.engines.ray.cluster import ResourceRequest
from spar.infer.engines.ray.engine import open_ray
from spar.infer.engines.ray.plan import check_replicas, plan_replicas
from spar.infer.engines.ray.replica import RemoteError


def test_missing_ray_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"\[ray\]"):
        cluster.load_ray("auto")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PromptTooLong("too long"), PromptTooLong),
        (PromptRefused("not this one"), PromptRefused),
        (EngineError("broke"), EngineError),
        (MissingExtra("vllm", "vllm", "the vllm engine"), UsageError),
        (SparError("odd"), SparError),
    ],
)
def test_an_error_survives_pickling(error: SparError, kind: type) -> None:
    """With its type and message."""
    back = pickle.loads(pickle.dumps(RemoteError.from_error(error))).to_error()
    assert type(back) is kind
    assert str(back) == str(error)


def test_affinity_moves_a_tree_when_its_replica_is_gone() -> None:
    """To the least loaded one, where it stays when the old one is back."""
    affinity: Affinity[str] = Affinity()
    assert affinity.pick(1, {"a": 3, "b": 2}) == "b"
    assert affinity.pick(1, {"a": 0, "b": 9}) == "b"
    assert affinity.pick(1, {"a": 5, "c": 4}) == "c"
    assert affinity.pick(1, {"a": 0, "b": 0, "c": 7}) == "c"


def test_affinity_spreads_requests_without_a_tree_and_ties() -> None:
    """Tree 0 is not remembered; equally loaded replicas take turns."""
    affinity: Affinity[str] = Affinity()
    assert [affinity.pick(0, {"a": 1, "b": 0}) for _ in range(3)] == ["b"] * 3
    assert [affinity.pick(tree, {"a": 0, "c": 0}) for tree in range(1, 5)] == ["a", "c"] * 2


def test_affinity_forgets_the_least_recently_used_tree() -> None:
    """Memory is bounded; a forgotten tree is assigned again."""
    affinity: Affinity[str] = Affinity(max_trees=2)
    for tree in (1, 2, 1, 3):
        affinity.pick(tree, {"a": 0})
    moved = {tree: affinity.pick(tree, {"a": 9, "b": 0}) for tree in (1, 3, 2)}
    assert moved == {1: "a", 3: "a", 2: "b"}


@pytest.mark.parametrize(
    ("amount", "nodes", "expected"),
    [(1, [4, 2], 6), (2, [4, 3, 1], 3), (4, [3, 3], 0), (0.3, [0.9], 3), (1, [], 0)],
)
def test_max_replicas(amount: float, nodes: list[float], expected: int) -> None:
    """A replica cannot span nodes."""
    assert cluster.max_replicas(amount, nodes) == expected


@pytest.mark.parametrize(
    ("replicas", "nodes", "threads"), [(2, [8, 8], 8), (3, [8, 8], 4), (4, [2, 2], 1), (5, [2], 1)]
)
def test_threads_per_replica(replicas: int, nodes: list[float], threads: int) -> None:
    """As many as leave room for all replicas, at least one."""
    assert cluster.threads_per_replica(replicas, nodes) == threads


@pytest.mark.parametrize(
    ("settings", "share", "resources"),
    [
        ({}, 1.0, ResourceRequest("GPU", 1)),
        ({}, 0.4, ResourceRequest("GPU", 0.4)),
        ({"engine_args": {"tensor_parallel_size": 2}}, 0.4, ResourceRequest("GPU", 2)),
        ({"device": "cpu"}, 1.0, ResourceRequest("CPU", 1)),
    ],
)
def test_replicas_use_gpus_if_the_cluster_has_any(
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    share: float,
    resources: ResourceRequest,
) -> None:
    """As many as the model's parallelism needs, or its share of one; none with --device cpu."""
    monkeypatch.setattr(cluster, "node_amounts", lambda _: [4.0, 4.0])
    config = DecodeConfig(replicas=2, replica_engine="vllm", **settings)
    plan = plan_replicas(Deployment("m", share=share), config)
    assert plan.resources == resources
    assert plan.spec.num_threads == (4 if resources.resource == "CPU" else 0)
    assert not plan.spec.embedded


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"replica_engine": "hf", "engine_args": {"max_num_seqs": 9}}, "--engine-arg"),
        ({"replica_engine": "hf", "ray_address": "auto", "adapter": {"actor": "x"}}, "--adapter"),
        ({"engine_args": {"max_num_seqs": 9}, "device": "cpu"}, "--engine-arg"),
        ({"speculative_decoding": "on"}, "--speculative-decoding on"),
    ],
)
def test_settings_for_vllm_are_refused_before_a_cluster_is_joined(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], flag: str
) -> None:
    """If the replicas run hf, by setting or because there is no GPU."""
    monkeypatch.setattr(cluster, "join", lambda _: pytest.fail("a cluster was joined"))
    monkeypatch.setattr(hardware, "has_gpu", lambda: False)
    monkeypatch.setattr(packages, "has_package", lambda _: True)
    with pytest.raises(UsageError, match=f"{flag} needs replicas that run vllm, not hf; use"):
        open_ray(Deployment("m"), DecodeConfig(**settings), print)


@pytest.mark.parametrize(
    "settings", [{"replica_engine": "vllm"}, {"replica_engine": "auto", "ray_address": "auto"}]
)
def test_settings_for_vllm_are_checked_again_on_the_cluster(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    """A cluster at an address may have GPUs; without any they are refused after it is joined."""
    monkeypatch.setattr(hardware, "has_gpu", lambda: False)
    monkeypatch.setattr(hardware, "has_package", lambda _: True)
    monkeypatch.setattr(packages, "has_package", lambda _: True)
    config = DecodeConfig(engine_args={"max_num_seqs": 9}, **settings)
    check_replicas(config)
    monkeypatch.setattr(cluster, "node_amounts", lambda name: [4.0] if name == "CPU" else [])
    if config.replica_engine == "vllm":
        assert plan_replicas(Deployment("m"), config).spec.engine == "vllm"
    else:
        with pytest.raises(UsageError, match="not hf"):
            plan_replicas(Deployment("m"), config)


def test_check_room_names_required_and_available_resources() -> None:
    """In one line."""
    with pytest.raises(UsageError, match=r"each needs 2 GPUs .* has 3 \+ 1 GPUs, room for 1"):
        cluster.check_room(ResourceRequest("GPU", 2), 2, [3, 1])
    with pytest.raises(UsageError, match=r"has 0 GPUs, room for 0"):
        cluster.check_room(ResourceRequest("GPU", 1), 1, [])


def test_the_embedded_model_is_loaded_from_each_machines_installation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its folder may differ between machines."""
    monkeypatch.setattr(cluster, "node_amounts", lambda _: [4.0])
    assert plan_replicas(Deployment(str(CHECKPOINT)), DecodeConfig(device="cpu")).spec.embedded
