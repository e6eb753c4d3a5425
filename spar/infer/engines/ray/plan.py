"""What a model needs of a Ray cluster, and whether several models find room on it at the same time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spar.embedded import CHECKPOINT
from spar.errors import UsageError
from spar.infer.engine import Accepts, Deployment, Placement
from spar.infer.engines.gpus import num_gpus
from spar.infer.engines.packages import check_installed
from spar.infer.engines.ray import cluster
from spar.infer.engines.ray.cluster import ResourceRequest
from spar.infer.engines.ray.replica import ReplicaSpec
from spar.plugins import ENGINES

if TYPE_CHECKING:
    from spar.config import DecodeConfig

_FREE_SECONDS = 5.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """The replicas to run."""

    spec: ReplicaSpec
    resources: ResourceRequest
    """What each replica takes of its node."""
    num_replicas: int
    retry_for: float
    """Seconds for which requests wait while no replica is live or loading its model."""


def check_replicas(config: DecodeConfig) -> None:
    """Refuse settings that the engine of the replicas does not have, as far as is known without a cluster.

    A cluster at an address is assumed to have GPUs; one on this machine has this machine's.

    Raises
    ------
    MissingExtra
        Ray, or what a replica on this machine needs, is not installed.
    UsageError
        The engine that the replicas run does not have a setting.
    """
    from spar.hardware import has_gpu

    check_installed("ray", "ray", config)
    engine, _ = _replica_engine(config, bool(config.ray_address) or has_gpu())
    _check_settings(engine, config)
    validate = ENGINES.spec(engine).validate
    if (
        validate is not None and not config.ray_address
    ):  # else the other machines may have more packages
        validate(config)


def plan_replicas(deployment: Deployment, config: DecodeConfig) -> ReplicaPlan:
    """The replicas to run on the cluster that was joined.

    Raises
    ------
    UsageError
        It has no room for them, or the engine that they run does not have a setting.
    """
    engine, use_gpu = _replica_engine(config, bool(cluster.node_amounts("GPU")))
    _check_settings(engine, config)
    if use_gpu:
        resources = ResourceRequest("GPU", _gpus_per_replica(deployment, config))
        config = config.model_copy(update={"device": "auto"})  # Ray shows each replica its own GPUs
    else:
        resources = ResourceRequest("CPU", 1)
    nodes = cluster.node_amounts(resources.resource)
    cluster.check_room(resources, config.replicas, nodes)
    spec = ReplicaSpec(
        engine=engine,
        deployment=deployment,
        config=config,
        embedded=deployment.model == str(CHECKPOINT),
        num_threads=0 if use_gpu else cluster.threads_per_replica(config.replicas, nodes),
    )
    return ReplicaPlan(spec, resources, config.replicas, config.retry_for)


def place_replicas(deployments: Sequence[Deployment], config: DecodeConfig) -> Placement:
    """Whether the cluster has room for the replicas of all models at the same time. Blocks.

    Raises
    ------
    MissingExtra
        Ray is not installed.
    UsageError
        There is no such cluster, or one model alone does not fit on it.
    """
    cluster.join(config.ray_address)
    try:
        plans = [plan_replicas(deployment, config) for deployment in deployments]
        resource = plans[0].resources.resource
        amounts = [plan.resources.amount for plan in plans for _ in range(plan.num_replicas)]
        # What was closed a moment ago is reported as free a moment later.
        deadline = time.monotonic() + _FREE_SECONDS * _fit(amounts, cluster.node_amounts(resource))
        while not (fits := _fit(amounts, free := cluster.free_amounts(resource))):
            if time.monotonic() >= deadline:
                break
            time.sleep(_POLL_SECONDS)
    finally:
        cluster.leave()
    each = f"{config.replicas} replicas of {plans[0].resources}"
    why = (
        f"{len(deployments)} models in {each} each take {sum(amounts):g} {resource}s, and "
        f"{' + '.join(f'{amount:g}' for amount in free) or '0'} of the Ray cluster's are free"
    )
    return Placement("side by side" if fits else "in turn", why)


def _fit(amounts: Sequence[float], nodes: Sequence[float]) -> bool:
    """Whether all amounts find a node, where each goes to the first with room, the largest first."""
    free = list(nodes)
    for amount in sorted(amounts, reverse=True):
        roomy = [i for i, rest in enumerate(free) if rest + 1e-9 >= amount]
        if not roomy:
            return False
        free[roomy[0]] -= amount
    return True


def _replica_engine(config: DecodeConfig, has_gpus: bool) -> tuple[str, bool]:
    """Name of the engine that each replica runs, and whether it uses a GPU."""
    from spar.hardware import has_package

    use_gpu = has_gpus and config.device != "cpu"
    if config.replica_engine != "auto":
        return config.replica_engine, use_gpu
    return ("vllm" if use_gpu and has_package("vllm") else "hf"), use_gpu


def _check_settings(engine: str, config: DecodeConfig) -> None:
    accepts = ENGINES.spec(engine).accepts
    flags: dict[str, tuple[Accepts, bool]] = {
        "--engine-arg": ("engine_args", bool(config.engine_args)),
        "--adapter": ("adapter", bool(config.adapter)),
        "--speculative-decoding on": (
            "speculative_decoding",
            config.speculative_decoding == "on",
        ),
    }
    for flag, (group, is_set) in flags.items():
        if is_set and group not in accepts:
            raise UsageError(
                f"{flag} needs replicas that run vllm, not {engine}; "
                f"use --replica-engine vllm, or leave {flag} out"
            )


def _gpus_per_replica(deployment: Deployment, config: DecodeConfig) -> float:
    num = num_gpus(config.engine_args)
    # Ray can share one GPU between actors, but not several.
    return deployment.share if num == 1 else num
