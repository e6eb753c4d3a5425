"""The `ray` engine: replicas of a model as Ray actors, on one or many machines of a cluster.

A tree stays on one replica. A replica that dies is restarted, and its unfinished requests are sent to
another one: a seeded request gets the same text there, and its caller gets one completion. Every node of
the cluster needs the same version of spar.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spar.embedded import CHECKPOINT
from spar.errors import EngineError, UsageError
from spar.infer.engine import Accepts, Completion, Deployment, NoteCallback, Request
from spar.infer.engines.affinity import Affinity
from spar.infer.engines.ray import cluster
from spar.infer.engines.ray.cluster import ResourceRequest
from spar.infer.engines.ray.replica import ReplicaSpec
from spar.infer.engines.ray.supervisor import ReplicaLost, ReplicaSupervisor
from spar.plugins import ENGINES

if TYPE_CHECKING:
    from spar.config import DecodeConfig

_CLOSE_TIMEOUT = 10.0
_MAX_REPLICAS_LOST = 6
_POLL_SECONDS = 0.1
_START_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """The replicas to run."""

    spec: ReplicaSpec
    resources: ResourceRequest
    """What each replica takes of its node."""
    num_replicas: int
    retry_for: float
    """Seconds for which requests wait while no replica is live or loading its model."""


def open_ray(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> RayEngine:
    """Join or start a cluster and open the replicas on it. Blocks.

    Raises
    ------
    MissingExtra
        Ray, or a package that a replica needs, is not installed.
    UsageError
        There is no such cluster, it has no room for the replicas, they cannot load the model, or the
        engine that they run does not have a setting.
    """
    check_replicas(config)
    cluster.join(config.ray_address)
    try:
        return RayEngine(plan_replicas(deployment, config), note)
    except BaseException:
        cluster.leave()
        raise


def check_replicas(config: DecodeConfig) -> None:
    """Refuse settings that the engine of the replicas does not have, as far as is known without a cluster.

    A cluster at an address is assumed to have GPUs; one on this machine has this machine's.

    Raises
    ------
    UsageError
        The engine that the replicas run does not have a setting.
    """
    from spar.hardware import has_gpu

    engine, _ = _replica_engine(config, bool(config.ray_address) or has_gpu())
    _check_settings(engine, config)


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


class RayEngine:
    """Replicas on a Ray cluster that this process has joined; closing the engine leaves it.

    Blocks until the replicas that the cluster has room for have loaded their model.

    Raises
    ------
    SparError
        A replica cannot load its model.
    """

    def __init__(self, plan: ReplicaPlan, note: NoteCallback) -> None:
        self.model = plan.spec.deployment.model
        self._plan = plan
        self._affinity: Affinity[ReplicaSupervisor] = Affinity()
        self._closed = False
        self._no_replica_since: float | None = None
        numbers = range(1, plan.num_replicas + 1)
        self.replicas = [ReplicaSupervisor(n, plan.spec, plan.resources, note) for n in numbers]
        try:
            self._start()
        except BaseException:
            self._close_replicas()
            raise

    @property
    def live(self) -> list[ReplicaSupervisor]:
        """Replicas that serve requests."""
        return [replica for replica in self.replicas if replica.live]

    @property
    def capacity(self) -> int:
        """Requests that the live replicas can work on at once; 0 if one of them has no limit."""
        capacities = [replica.state.capacity for replica in self.live]
        return sum(capacities) if all(capacities) else 0

    @property
    def description(self) -> str:
        """Number of replicas and machines, and what each replica runs."""
        replicas = self.live or self.replicas
        num_nodes = len({replica.node for replica in replicas})
        nodes = f" on {num_nodes} machines" if num_nodes > 1 else ""
        return f"{len(self.live)} Ray replicas{nodes}, each {replicas[0].state.description}"

    @property
    def prefix_cache(self) -> tuple[int, int]:
        """Prompt tokens looked up in the prefix caches of all replicas, and hits."""
        counts = [replica.prefix_cache for replica in self.replicas]
        return sum(queried for queried, _ in counts), sum(hits for _, hits in counts)

    @property
    def mean_batch(self) -> float:
        """Mean number of sequences per decoding step of one replica."""
        means = [replica.state.mean_batch for replica in self.live]
        return sum(means) / len(means) if means else 0.0

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order, from the replicas that their trees are on."""
        return await self._serve(requests, num_lost=0)

    async def aclose(self) -> None:
        """Free the models, end the replicas and leave the cluster."""
        if not self._closed:
            self._closed = True
            try:
                await asyncio.to_thread(self._close_replicas)
            finally:
                await asyncio.to_thread(cluster.leave)

    async def _serve(self, requests: Sequence[Request], num_lost: int) -> list[Completion]:
        """Send requests to their replicas; `num_lost` counts replicas lost with these requests."""
        while self._closed or not self.live:
            if self._closed:
                raise EngineError("the engine is closed")
            self._check_recovery()
            await asyncio.sleep(_POLL_SECONDS)
        indexes = self._assign(requests)
        if len(indexes) == 1:
            return await self._send(next(iter(indexes)), requests, num_lost)
        tasks = [
            asyncio.ensure_future(self._send(replica, [requests[i] for i in assigned], num_lost))
            for replica, assigned in indexes.items()
        ]
        try:
            parts = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        order = [i for assigned in indexes.values() for i in assigned]
        completions = dict(zip(order, (each for part in parts for each in part), strict=True))
        return [completions[i] for i in range(len(requests))]

    async def _send(
        self, replica: ReplicaSupervisor, requests: Sequence[Request], num_lost: int
    ) -> list[Completion]:
        try:
            return await replica.generate(requests)
        except ReplicaLost as lost:
            if num_lost + 1 >= _MAX_REPLICAS_LOST:
                raise EngineError(
                    f"a request lost {num_lost + 1} replicas in a row: {lost}"
                ) from lost
        return await self._serve(requests, num_lost + 1)

    def _assign(self, requests: Sequence[Request]) -> dict[ReplicaSupervisor, list[int]]:
        """Live replica to the indexes of its requests."""
        loads = {replica: replica.in_flight for replica in self.live}
        indexes: dict[ReplicaSupervisor, list[int]] = {}
        for i, request in enumerate(requests):
            replica = self._affinity.pick(request.tree, loads)
            loads[replica] += 1
            indexes.setdefault(replica, []).append(i)
        return indexes

    def _start(self) -> None:
        """Start the replicas; wait until all are live, later until those with room on the cluster are."""
        for replica in self.replicas:
            replica.start()
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            for replica in self.replicas:
                if replica.error is not None:
                    raise replica.error
            statuses = {replica.status for replica in self.replicas}
            late = time.monotonic() > deadline
            if statuses == {"live"} or (late and statuses == {"live", "pending"}):
                return
            self._check_recovery()
            time.sleep(_POLL_SECONDS / 2)

    def _check_recovery(self) -> None:
        """Raise `EngineError` if no replica is live or loading, and none is expected to be."""
        statuses = {replica.status for replica in self.replicas}
        if statuses == {"failed"}:
            errors = [replica.error for replica in self.replicas if replica.error]
            raise EngineError(f"no replica is left: {errors[-1]}")
        if statuses & {"live", "loading"}:
            self._no_replica_since = None
            return
        now = time.monotonic()
        self._no_replica_since = self._no_replica_since or now
        # A restart takes some seconds itself, however short the retry window is.
        timeout = max(self._plan.retry_for, _START_TIMEOUT)
        if now - self._no_replica_since > timeout:
            raise EngineError(f"the Ray cluster had no room for a replica for {timeout:g} s")

    def _close_replicas(self) -> None:
        import ray

        try:
            refs = [
                ref for replica in self.replicas if (ref := replica.begin_closing()) is not None
            ]
            if refs:
                ray.wait(refs, num_returns=len(refs), timeout=_CLOSE_TIMEOUT)
        finally:
            for replica in self.replicas:
                replica.close()


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
    sizes = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    num_gpus = math.prod(int(config.engine_args.get(size, 1)) for size in sizes)
    # Ray can share one GPU between actors, but not several.
    return deployment.share if num_gpus == 1 else num_gpus
