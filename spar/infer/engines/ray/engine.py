"""The `ray` engine: replicas of a model as Ray actors, on one or many machines of a cluster.

A tree stays on one replica. A replica that dies is restarted, and its unfinished requests are sent to
another one: a seeded request gets the same text there, and its caller gets one completion. Every node of
the cluster needs the same version of spar.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from spar.errors import EngineError
from spar.infer.engine import (
    Completion,
    Continuation,
    Deployment,
    Likelihood,
    NoteCallback,
    Request,
)
from spar.infer.engines.affinity import Affinity
from spar.infer.engines.ray import cluster
from spar.infer.engines.ray.plan import ReplicaPlan, check_replicas, plan_replicas
from spar.infer.engines.ray.supervisor import ReplicaLost, ReplicaSupervisor

if TYPE_CHECKING:
    from spar.config import DecodeConfig

Item = TypeVar("Item")
T = TypeVar("T")

_CLOSE_TIMEOUT = 60.0
"""vLLM ends its processes itself within some seconds each; a replica that is killed meanwhile leaves theirs to
end, and their memory to be freed, after the cluster has given its GPUs to others."""
_MAX_REPLICAS_LOST = 6
_POLL_SECONDS = 0.1
_START_TIMEOUT = 30.0


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
    def structured_outputs(self) -> bool:
        """Whether the engine of the replicas reads `Sampling.structured_outputs`."""
        return (self.live or self.replicas)[0].state.structured_outputs

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
        """One completion per request, in order, from the replicas that their trees are on.

        A replica's replies come whole: `Request.on_text` is not called.
        """
        silent = [r if r.on_text is None else replace(r, on_text=None) for r in requests]
        return await self._serve(_GENERATE, silent)

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One likelihood per continuation, in order; those of one context come from one replica.

        Raises
        ------
        UsageError
            The engine of the replicas cannot score.
        """
        return await self._serve(_SCORE, continuations)

    async def aclose(self) -> None:
        """Free the models, end the replicas and leave the cluster."""
        if not self._closed:
            self._closed = True
            try:
                await asyncio.to_thread(self._close_replicas)
            finally:
                await asyncio.to_thread(cluster.leave)

    async def _serve(
        self, work: _Work[Item, T], items: Sequence[Item], num_lost: int = 0
    ) -> list[T]:
        """Send items to their replicas; `num_lost` counts replicas lost with these items."""
        while self._closed or not self.live:
            if self._closed:
                raise EngineError("the engine is closed")
            self._check_recovery()
            await asyncio.sleep(_POLL_SECONDS)
        indexes = self._assign(work, items)
        if len(indexes) == 1:
            return await self._send(work, next(iter(indexes)), items, num_lost)
        tasks = [
            asyncio.ensure_future(self._send(work, replica, [items[i] for i in assigned], num_lost))
            for replica, assigned in indexes.items()
        ]
        try:
            parts = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        order = [i for assigned in indexes.values() for i in assigned]
        results = dict(zip(order, (each for part in parts for each in part), strict=True))
        return [results[i] for i in range(len(items))]

    async def _send(
        self, work: _Work[Item, T], replica: ReplicaSupervisor, items: Sequence[Item], num_lost: int
    ) -> list[T]:
        try:
            return await work.call(replica, items)
        except ReplicaLost as lost:
            if num_lost + 1 >= _MAX_REPLICAS_LOST:
                raise EngineError(
                    f"a request lost {num_lost + 1} replicas in a row: {lost}"
                ) from lost
        return await self._serve(work, items, num_lost + 1)

    def _assign(
        self, work: _Work[Item, T], items: Sequence[Item]
    ) -> dict[ReplicaSupervisor, list[int]]:
        """Live replica to the indexes of its items."""
        loads = {replica: replica.in_flight for replica in self.live}
        indexes: dict[ReplicaSupervisor, list[int]] = {}
        previous: ReplicaSupervisor | None = None
        for i, item in enumerate(items):
            together = previous is not None and work.together(items[i - 1], item)
            replica = previous if together else None
            if replica is None:
                replica = previous = self._affinity.pick(work.tree(item), loads)
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


@dataclass(frozen=True, slots=True)
class _Work(Generic[Item, T]):
    """A kind of call on replicas: items in, as many results out."""

    call: Callable[[ReplicaSupervisor, Sequence[Item]], Awaitable[list[T]]]
    tree: Callable[[Item], int]
    """Admission number of an item's tree, 0 for none."""
    together: Callable[[Item, Item], bool] = lambda previous, item: False
    """Whether an item belongs on the replica of the one before it."""


_GENERATE: _Work[Request, Completion] = _Work(
    lambda replica, requests: replica.generate(requests), lambda request: request.tree
)
_SCORE: _Work[Continuation, Likelihood] = _Work(
    lambda replica, continuations: replica.score(continuations),
    lambda continuation: 0,
    lambda previous, continuation: previous.context == continuation.context,
)
