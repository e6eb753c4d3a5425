"""What the ray engine decides without a cluster: homes of trees, room on nodes, errors as data."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import pytest

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
from spar.infer.engines.affinity import Affinity
from spar.infer.engines.ray import cluster
from spar.infer.engines.ray.cluster import Need
from spar.infer.engines.ray.engine import check_replicas, open_ray, plan_fleet
from spar.infer.engines.ray.replica import Refusal
from spar.run import resolve as deploy


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
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
def test_an_error_survives_the_way_between_processes(error: SparError, kind: type) -> None:
    """Its kind and its message do."""
    back = pickle.loads(pickle.dumps(Refusal.of(error))).error()
    assert type(back) is kind
    assert str(back) == str(error)


def test_affinity_gives_a_tree_a_new_home_when_its_own_is_gone() -> None:
    """Where there is least to do; and it stays there when the old one is back."""
    affinity: Affinity[str] = Affinity()
    assert affinity.pick(1, {"a": 3, "b": 2}) == "b"
    assert affinity.pick(1, {"a": 0, "b": 9}) == "b"
    assert affinity.pick(1, {"a": 5, "c": 4}) == "c"
    assert affinity.pick(1, {"a": 0, "b": 0, "c": 7}) == "c"


def test_affinity_shares_out_what_is_no_tree_or_equally_busy() -> None:
    """Tree 0 has no home; equals take turns."""
    affinity: Affinity[str] = Affinity()
    assert [affinity.pick(0, {"a": 1, "b": 0}) for _ in range(3)] == ["b"] * 3
    assert [affinity.pick(tree, {"a": 0, "c": 0}) for tree in range(1, 5)] == ["a", "c"] * 2


def test_affinity_forgets_the_tree_asked_for_longest_ago() -> None:
    """Memory is bounded: a forgotten tree is placed anew."""
    affinity: Affinity[str] = Affinity(remembered=2)
    for tree in (1, 2, 1, 3):
        affinity.pick(tree, {"a": 0})
    moved = {tree: affinity.pick(tree, {"a": 9, "b": 0}) for tree in (1, 3, 2)}
    assert moved == {1: "a", 3: "a", 2: "b"}


@pytest.mark.parametrize(
    ("amount", "nodes", "places"),
    [(1, [4, 2], 6), (2, [4, 3, 1], 3), (4, [3, 3], 0), (0.3, [0.9], 3), (1, [], 0)],
)
def test_a_replica_takes_what_it_needs_of_one_node(
    amount: float, nodes: list[float], places: int
) -> None:
    """Remainders on different nodes do not add up."""
    assert cluster.num_places(amount, nodes) == places


@pytest.mark.parametrize(
    ("replicas", "nodes", "threads"), [(2, [8, 8], 8), (3, [8, 8], 4), (4, [2, 2], 1), (5, [2], 1)]
)
def test_replicas_share_the_threads_there_are(
    replicas: int, nodes: list[float], threads: int
) -> None:
    """As many each as leave room for all of them, and one at least."""
    assert cluster.threads_each(replicas, nodes) == threads


@pytest.mark.parametrize(
    ("settings", "share", "need"),
    [
        ({}, 1.0, Need("GPU", 1)),
        ({}, 0.4, Need("GPU", 0.4)),
        ({"engine_args": {"tensor_parallel_size": 2}}, 0.4, Need("GPU", 2)),
        ({"device": "cpu"}, 1.0, Need("CPU", 1)),
    ],
)
def test_a_replica_takes_gpus_where_there_are_any(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], share: float, need: Need
) -> None:
    """As many as one copy of the model spans, or its share of one; none for a CPU's replica."""
    monkeypatch.setattr(cluster, "amounts", lambda _: [4.0, 4.0])
    config = DecodeConfig(replicas=2, replica_engine="vllm", **settings)
    fleet = plan_fleet(Deployment("m", share=share), config)
    assert fleet.need == need
    assert fleet.plan.threads == (4 if need.resource == "CPU" else 0)
    assert not fleet.plan.embedded


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"replica_engine": "hf", "engine_args": {"max_num_seqs": 9}}, "--engine-arg"),
        ({"replica_engine": "hf", "ray_address": "auto", "adapter": {"actor": "x"}}, "--adapter"),
        ({"engine_args": {"max_num_seqs": 9}, "device": "cpu"}, "--engine-arg"),
        ({"speculative_decoding": "on"}, "--speculative-decoding on"),
    ],
)
def test_what_only_vllm_can_do_is_refused_before_a_cluster_is_started(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], flag: str
) -> None:
    """Where replicas are to run hf, or will since there is no GPU."""
    monkeypatch.setattr(cluster, "join", lambda _: pytest.fail("a cluster was joined"))
    monkeypatch.setattr(deploy, "has_gpu", lambda: False)
    with pytest.raises(UsageError, match=f"{flag} needs replicas that run vllm, not hf; give"):
        open_ray(Deployment("m"), DecodeConfig(**settings), print)


@pytest.mark.parametrize(
    "settings", [{"replica_engine": "vllm"}, {"replica_engine": "auto", "ray_address": "auto"}]
)
def test_what_vllm_can_do_waits_for_the_cluster(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    """One at an address may have GPUs; where it has none, that is found out and refused then."""
    monkeypatch.setattr(deploy, "has_gpu", lambda: False)
    monkeypatch.setattr(deploy, "has_package", lambda _: True)
    config = DecodeConfig(engine_args={"max_num_seqs": 9}, **settings)
    check_replicas(config)
    monkeypatch.setattr(cluster, "amounts", lambda name: [4.0] if name == "CPU" else [])
    if config.replica_engine == "vllm":
        assert plan_fleet(Deployment("m"), config).plan.opener == "vllm"
    else:
        with pytest.raises(UsageError, match="not hf"):
            plan_fleet(Deployment("m"), config)


def test_a_lack_of_room_names_both_sides() -> None:
    """What a replica needs and what the nodes have."""
    with pytest.raises(UsageError, match=r"each needs 2 GPUs .* has 3 \+ 1 GPUs: room for 1"):
        cluster.check_room(Need("GPU", 2), 2, [3, 1])
    with pytest.raises(UsageError, match=r"has 0 GPUs: room for 0"):
        cluster.check_room(Need("GPU", 1), 1, [])


def test_the_embedded_model_is_each_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder may be elsewhere on another machine."""
    monkeypatch.setattr(cluster, "amounts", lambda _: [4.0])
    assert plan_fleet(Deployment(str(CHECKPOINT)), DecodeConfig(device="cpu")).plan.embedded
