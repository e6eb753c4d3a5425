"""Joining and leaving a Ray cluster, and its free resources.

Several engines of one process share the connection. The last one to leave closes it, and with it a cluster
that was started here; a connection that existed before is left open.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spar.errors import MissingExtra, UsageError, first_line

_CONNECT_TIMEOUT = 10.0
_OBJECT_STORE_BYTES = 80 * 1024**2
_ALLOW_OTHER_HOSTS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@dataclass(slots=True)
class _Connection:
    """This process's connection to a cluster."""

    num_users: int = 0
    is_ours: bool = False
    """Whether `join` opened it."""


_connection = _Connection()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """What a replica takes of its node."""

    resource: str
    """CPU or GPU, Ray's names."""
    amount: float

    def __str__(self) -> str:
        return f"{self.amount:g} {self.resource}{'s' if self.amount > 1 else ''}"


def join(address: str) -> None:
    """Connect to a cluster, or start one that only this machine can reach. Blocks.

    Parameters
    ----------
    address:
        auto, host:port, or "" for a new cluster on this machine. Ignored if this process is already
        connected.

    Raises
    ------
    MissingExtra
        Ray is not installed.
    UsageError
        There is no cluster at the address, or it cannot be joined.
    """
    with _lock:
        ray = load_ray(address)
        if not ray.is_initialized():
            _connect(ray, address)
            _connection.is_ours = True
        _connection.num_users += 1


def load_ray(address: str) -> Any:
    """Import ray, without log output and usage statistics.

    Raises
    ------
    MissingExtra
        Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns of a change
    if not address:
        os.environ.setdefault(
            _ALLOW_OTHER_HOSTS, "0"
        )  # read at import; keeps the cluster on 127.0.0.1
    try:
        import ray
    except ImportError as error:
        raise MissingExtra(error.name or "ray", "ray", "the ray engine") from error
    return ray


def leave() -> None:
    """Undo one `join`. Blocks."""
    import ray

    with _lock:
        _connection.num_users -= 1
        if _connection.is_ours and not _connection.num_users:
            _connection.is_ours = False
            ray.shutdown()
            _set_worker_logs(True)


def node_amounts(resource: str) -> list[float]:
    """The amount of a resource on each live node that has it, largest first."""
    import ray

    nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]  # ray is typed in parts
    amounts = [node["Resources"].get(resource, 0.0) for node in nodes if node["Alive"]]
    return sorted(filter(None, amounts), reverse=True)


def free_amounts(resource: str) -> list[float]:
    """The amount of a resource that no process has taken on each live node that has some, largest first."""
    from ray._private.state import available_resources_per_node

    nodes: Any = available_resources_per_node()  # type: ignore[no-untyped-call]
    return sorted(filter(None, (free.get(resource, 0.0) for free in nodes.values())), reverse=True)


def check_room(request: ResourceRequest, num_replicas: int, nodes: Sequence[float]) -> None:
    """Raise `UsageError` if the replicas do not fit on the nodes with these amounts of the resource."""
    room = max_replicas(request.amount, nodes)
    if room < num_replicas:
        available = " + ".join(f"{amount:g}" for amount in nodes) or "0"
        raise UsageError(
            f"--replicas {num_replicas}: each needs {request} on one node, and the Ray cluster has "
            f"{available} {request.resource}s, room for {room}; use fewer replicas or add nodes"
        )


def max_replicas(amount: float, nodes: Sequence[float]) -> int:
    """How many replicas fit if each takes an amount of one node."""
    return sum(int(node / amount + 1e-9) for node in nodes)


def threads_per_replica(num_replicas: int, nodes: Sequence[float]) -> int:
    """Most CPU threads per replica with which all replicas fit on the nodes' CPUs, at least 1."""
    num_threads = 1
    while max_replicas(num_threads + 1, nodes) >= num_replicas:
        num_threads += 1
    return num_threads


def _connect(ray: Any, address: str) -> None:
    logging.getLogger("ray").setLevel(logging.ERROR)
    _set_worker_logs(False)
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
        reason = first_line(error).split(". ", 1)[0].rstrip(".")
        cluster = f"--ray-address {address}" if address else "a Ray cluster on this machine"
        raise UsageError(
            f"{cluster}: cannot connect ({reason}); pass auto, the host:port of "
            "`ray start --head`, or no address to start a cluster on this machine"
        ) from error


def _set_worker_logs(enabled: bool) -> None:
    # Ray prints a message for each dead worker to standard output, whatever its settings are.
    from ray._private import worker

    worker._worker_logs_enabled = enabled


def _reachable(address: str) -> str:
    """The cluster's host:port, after a test connection; Ray itself would wait for it forever."""
    from ray._private.services import canonicalize_bootstrap_address

    if "://" in address:
        raise ValueError("expected the cluster's own address, not a Ray client URL")
    resolved = canonicalize_bootstrap_address(address)
    if resolved is None:  # RAY_ADDRESS=local
        raise ConnectionError("RAY_ADDRESS names no cluster")
    host, _, port = resolved.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT):
        return resolved
