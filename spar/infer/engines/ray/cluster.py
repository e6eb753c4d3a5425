"""Joining a Ray cluster, and what room it has.

Several engines of one process share the connection; the last one to leave ends it, and with it a
cluster that was started here. A connection that was there before is left as it was.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spar.errors import MissingExtra, UsageError

_CONNECT_SECONDS = 10.0
_OBJECT_STORE_BYTES = 80 * 1024**2
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@dataclass(slots=True)
class _Membership:
    users: int = 0
    ours: bool = False


_membership = _Membership()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Need:
    """What a replica takes of its node."""

    resource: str
    """CPU or GPU, as Ray calls them."""
    amount: float

    def __str__(self) -> str:
        return f"{self.amount:g} {self.resource}{'s' if self.amount > 1 else ''}"


def join(address: str) -> None:
    """Connect to a cluster, or start one that only this machine can reach.

    Parameters
    ----------
    address:
        auto, host:port, or "" for a cluster of this machine's own. Without effect where this
        process is connected already.

    Raises
    ------
    MissingExtra
        Ray is not installed.
    UsageError
        There is no cluster at the address, or one that cannot be joined.
    """
    with _lock:
        ray = load_ray(address)
        if not ray.is_initialized():
            _connect(ray, address)
            _membership.ours = True
        _membership.users += 1


def load_ray(address: str) -> Any:
    """Import ray, quiet and without usage statistics.

    Raises
    ------
    MissingExtra
        Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of a change
    if not address:
        os.environ.setdefault(_LOOPBACK, "0")  # read at import; an own cluster keeps to 127.0.0.1
    try:
        import ray
    except ImportError as error:
        raise MissingExtra(error.name or "ray", "ray", "the ray engine") from error
    return ray


def leave() -> None:
    """Undo one `join`."""
    import ray

    with _lock:
        _membership.users -= 1
        if _membership.ours and not _membership.users:
            _membership.ours = False
            ray.shutdown()
            _let_ray_print(True)


def amounts(resource: str) -> list[float]:
    """What each live node has of a resource, most first; nodes without it are left out."""
    import ray

    nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]  # ray is typed in parts
    found = [node["Resources"].get(resource, 0.0) for node in nodes if node["Alive"]]
    return sorted(filter(None, found), reverse=True)


def check_room(need: Need, replicas: int, nodes: Sequence[float]) -> None:
    """Raise `UsageError` unless the nodes' amounts of the needed resource hold the replicas."""
    room = num_places(need.amount, nodes)
    if room < replicas:
        has = " + ".join(f"{amount:g}" for amount in nodes) or "0"
        raise UsageError(
            f"--replicas {replicas}: each needs {need} on one node, and the Ray cluster has {has} "
            f"{need.resource}s: room for {room}; give fewer replicas or add nodes"
        )


def num_places(amount: float, nodes: Sequence[float]) -> int:
    """How many replicas fit that each take an amount of one node."""
    return sum(int(node / amount + 1e-9) for node in nodes)


def threads_each(replicas: int, nodes: Sequence[float]) -> int:
    """Most CPU threads a replica such that as many replicas fit on the nodes' CPUs, at least 1."""
    threads = 1
    while num_places(threads + 1, nodes) >= replicas:
        threads += 1
    return threads


def _connect(ray: Any, address: str) -> None:
    logging.getLogger("ray").setLevel(logging.ERROR)
    _let_ray_print(False)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address:
            ray.init(address=_reachable(address), **quiet)
        else:
            ray.init(
                address="local",  # "" would follow RAY_ADDRESS
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                **quiet,
            )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0].split(". ", 1)[0].rstrip(".")
        where = f"--ray-address {address}" if address else "a Ray cluster of this machine's own"
        raise UsageError(
            f"{where}: cannot be used ({reason}); give auto, the host:port of "
            "`ray start --head`, or nothing for a cluster of this machine's own"
        ) from error


def _let_ray_print(allowed: bool) -> None:
    # Whatever it is told, Ray prints of each dead worker on standard output, among the results.
    from ray._private import worker

    worker._worker_logs_enabled = allowed


def _reachable(address: str) -> str:
    """The cluster's host:port, which takes a connection; Ray itself would wait for it for ever."""
    from ray._private.services import canonicalize_bootstrap_address

    if "://" in address:
        raise ValueError("only the cluster's own address will do, no client's")
    found = canonicalize_bootstrap_address(address)
    if found is None:  # RAY_ADDRESS=local
        raise ConnectionError("RAY_ADDRESS names no cluster")
    host, _, port = found.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS):
        return found
