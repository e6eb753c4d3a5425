"""The `ray` engine: replicas of a model as Ray actors, over however many machines a cluster has.

A tree stays on one replica. A replica that dies is replaced, and what it had not answered is asked
again of a live one: a seeded request gets the same text, and its caller gets one answer. Every node of
the cluster needs spar, installed as it is here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spar.embedded import CHECKPOINT
from spar.errors import EngineError, SparError, UsageError
from spar.infer.engine import Accepts, Completion, Deployment, NoteCallback, Request
from spar.infer.engines.affinity import Affinity
from spar.infer.engines.ray import cluster
from spar.infer.engines.ray.cluster import Need
from spar.infer.engines.ray.replica import Plan
from spar.infer.engines.ray.supervisor import ReplicaLost, Seat
from spar.plugins import ENGINES

if TYPE_CHECKING:
    from spar.config import DecodeConfig

_CLOSE_SECONDS = 10.0
_MOST_MOVES = 5
_POLL_SECONDS = 0.1
_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """The replicas to run."""

    plan: Plan
    need: Need
    replicas: int
    retry_seconds: float
    """How long to go on with no replica that lives or opens its model."""


def open_ray(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> RayEngine:
    """Join or start a cluster and open the replicas on it.

    Raises
    ------
    MissingExtra
        Ray, or what a replica needs, is not installed.
    UsageError
        There is no such cluster, it has no room for the replicas, or they cannot load the model; or a
        setting is not for the engine that they run.
    """
    check_replicas(config)
    cluster.join(config.ray_address)
    try:
        return RayEngine(plan_fleet(deployment, config), note)
    except BaseException:
        cluster.leave()
        raise


def check_replicas(config: DecodeConfig) -> None:
    """Refuse what only vLLM can do where the replicas run hf, as far as that is known without a
    cluster: one at an address is taken to have GPUs, one of this machine's own has this machine's.

    Raises
    ------
    UsageError
        A setting is not for the engine that the replicas run.
    """
    from spar.hardware import has_gpu

    _refuse_options(_inner_engine(config, bool(config.ray_address) or has_gpu())[0], config)


def plan_fleet(deployment: Deployment, config: DecodeConfig) -> Fleet:
    """What to run on the cluster that was joined.

    Raises
    ------
    UsageError
        It has no room for that, or a setting is not for the engine that the replicas run.
    """
    name, wants_gpu = _inner_engine(config, bool(cluster.amounts("GPU")))
    _refuse_options(name, config)
    need = Need("GPU", _gpus_each(deployment, config)) if wants_gpu else Need("CPU", 1)
    nodes = cluster.amounts(need.resource)
    cluster.check_room(need, config.replicas, nodes)
    if wants_gpu:
        config = config.model_copy(update={"device": "auto"})  # Ray shows each its own GPUs only
    plan = Plan(
        opener=name,
        deployment=deployment,
        config=config,
        embedded=deployment.model == str(CHECKPOINT),
        threads=0 if wants_gpu else cluster.threads_each(config.replicas, nodes),
    )
    return Fleet(plan, need, config.replicas, config.retry_for)


class RayEngine:
    """Replicas on a Ray cluster that this process has joined; closing the engine leaves it.

    Blocks until the replicas that the cluster has room for have opened their model.

    Raises
    ------
    SparError
        A replica cannot open its model.
    """

    def __init__(self, fleet: Fleet, note: NoteCallback) -> None:
        self.model = fleet.plan.deployment.model
        self._fleet = fleet
        self._affinity: Affinity[Seat] = Affinity()
        self._closed = False
        self._hopeless_since: float | None = None
        numbers = range(1, fleet.replicas + 1)
        self.seats = [Seat(n, fleet.plan, fleet.need, note) for n in numbers]
        """One a replica."""
        try:
            self._start()
        except BaseException:
            self._close_seats()
            raise

    @property
    def live(self) -> list[Seat]:
        """Seats whose replica answers."""
        return [seat for seat in self.seats if seat.live]

    @property
    def capacity(self) -> int:
        """Requests that the live replicas can work on at once; 0 where nothing limits one."""
        rooms = [seat.state.capacity for seat in self.live]
        return sum(rooms) if all(rooms) else 0

    @property
    def description(self) -> str:
        """How many replicas there are, where, and what each runs."""
        live = self.live or self.seats
        nodes = len({seat.node for seat in live})
        places = f" on {nodes} machines" if nodes > 1 else ""
        return f"{len(self.live)} replicas by Ray{places}, each {live[0].state.description}"

    @property
    def prefix_cache(self) -> tuple[int, int]:
        """Prompt tokens that all replicas looked up in their prefix caches, and those found there."""
        counts = [seat.prefix_cache for seat in self.seats]
        return sum(queried for queried, _ in counts), sum(hit for _, hit in counts)

    @property
    def mean_batch(self) -> float:
        """Mean rows a decoding step of a replica."""
        means = [seat.state.mean_batch for seat in self.live]
        return sum(means) / len(means) if means else 0.0

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order, from the replicas that their trees are on."""
        return await self._serve(requests, moves=0)

    async def aclose(self) -> None:
        """Free the models, end the replicas and leave the cluster."""
        if not self._closed:
            self._closed = True
            try:
                await asyncio.to_thread(self._close_seats)
            finally:
                await asyncio.to_thread(cluster.leave)

    async def _serve(self, requests: Sequence[Request], moves: int) -> list[Completion]:
        await self._some_live()
        shares = self._deal(requests)
        if len(shares) == 1:
            return await self._ask(next(iter(shares)), requests, moves)
        tasks = [
            asyncio.ensure_future(self._ask(seat, [requests[i] for i in share], moves))
            for seat, share in shares.items()
        ]
        try:
            answers = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        order = [i for share in shares.values() for i in share]
        found = dict(zip(order, (reply for part in answers for reply in part), strict=True))
        return [found[i] for i in range(len(requests))]

    async def _ask(self, seat: Seat, requests: Sequence[Request], moves: int) -> list[Completion]:
        try:
            return await seat.ask(requests)
        except ReplicaLost as lost:
            if moves >= _MOST_MOVES:
                raise EngineError(f"a request lost {moves + 1} replicas in turn: {lost}") from lost
        return await self._serve(requests, moves + 1)

    async def _some_live(self) -> None:
        while self._closed or not self.live:
            if self._closed:
                raise EngineError("the engine is closed")
            self._check_hope()
            await asyncio.sleep(_POLL_SECONDS)

    def _deal(self, requests: Sequence[Request]) -> dict[Seat, list[int]]:
        """Live seat to the positions of its requests."""
        loads = {seat: seat.in_flight for seat in self.live}
        shares: dict[Seat, list[int]] = {}
        for i, request in enumerate(requests):
            seat = self._affinity.pick(request.tree, loads)
            loads[seat] += 1
            shares.setdefault(seat, []).append(i)
        return shares

    def _start(self) -> None:
        for seat in self.seats:
            seat.start()
        end = time.monotonic() + _START_SECONDS
        while not self._started(time.monotonic() > end):
            self._check_hope()
            time.sleep(_POLL_SECONDS / 2)

    def _started(self, patience_ended: bool) -> bool:
        for seat in self.seats:
            if seat.error is not None:
                raise seat.error
        stages = {seat.stage for seat in self.seats}
        return stages == {"live"} or (patience_ended and stages == {"live", "waiting"})

    def _check_hope(self) -> None:
        """Raise once no replica lives or opens its model, and none is to be expected."""
        stages = {seat.stage for seat in self.seats}
        if stages == {"gone"}:
            raise EngineError(f"no replica is left: {self._last_error()}")
        if stages & {"live", "opening"}:
            self._hopeless_since = None
            return
        now = time.monotonic()
        self._hopeless_since = self._hopeless_since or now
        # To restart takes some seconds itself, however little patience there is.
        patience = max(self._fleet.retry_seconds, _START_SECONDS)
        if now - self._hopeless_since > patience:
            raise EngineError(f"the Ray cluster had no room for any replica for {patience:g} s")

    def _last_error(self) -> SparError | None:
        return next((seat.error for seat in reversed(self.seats) if seat.error), None)

    def _close_seats(self) -> None:
        import ray

        try:
            closing = [ref for seat in self.seats if (ref := seat.begin_closing()) is not None]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_SECONDS)
        finally:
            for seat in self.seats:
                seat.close()


def _inner_engine(config: DecodeConfig, has_gpus: bool) -> tuple[str, bool]:
    """Name of the engine that each replica runs, and whether it wants a GPU."""
    from spar.hardware import has_package

    wants_gpu = has_gpus and config.device != "cpu"
    if config.replica_engine != "auto":
        return config.replica_engine, wants_gpu
    return ("vllm" if wants_gpu and has_package("vllm") else "hf"), wants_gpu


def _refuse_options(name: str, config: DecodeConfig) -> None:
    accepts = ENGINES.spec(name).accepts
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
                f"{flag} needs replicas that run vllm, not {name}; "
                f"give --replica-engine vllm, or leave {flag} out"
            )


def _gpus_each(deployment: Deployment, config: DecodeConfig) -> float:
    sizes = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    gpus = 1
    for name in sizes:
        gpus *= int(config.engine_args.get(name, 1))
    # Ray splits one GPU, not several: models side by side on more of them cannot be asked for.
    return deployment.share if gpus == 1 else gpus
