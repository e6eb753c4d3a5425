"""The servers of one engine: which server a tree uses, and which servers are up.

A tree stays on the server that was least loaded at its first request, so that this server's prefix cache
is reused. Each server has a circuit breaker: after repeated connection failures its circuit opens, its
trees move to the other servers at once, and it is probed with GET /models until it responds. A server that
asks for a long pause, or refuses again and again, cools down: its trees move as well, and it gets requests
again when the time is over. A request that fails repeatedly for other reasons moves its tree too.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from spar.infer.engine import NoteCallback
from spar.infer.engines.affinity import Affinity
from spar.infer.engines.openai.addresses import Key
from spar.infer.engines.openai.concurrency_limit import AdaptiveLimiter
from spar.infer.engines.openai.connection_pool import (
    ConnectionLost,
    ConnectionPool,
    RequestFailed,
    RequestTimeout,
    Unreachable,
)
from spar.infer.engines.openai.replies import Capabilities
from spar.infer.engines.openai.retry import MIN_ATTEMPTS

_FAILURE_WEIGHTS: dict[type[RequestFailed], int] = {
    Unreachable: 2,
    ConnectionLost: 1,
    RequestTimeout: 1,
}
_FAILURE_THRESHOLD = 4
_MIN_COOLDOWN, _MAX_COOLDOWN = 3.0, 600.0
_REFUSAL_THRESHOLD = 32
_PROBE_TIMEOUT, _MAX_PROBE_INTERVAL = 10.0, 5.0


@dataclass(slots=True, eq=False)
class Server:
    """One server, what is known about it, and the state of its circuit breaker."""

    url: str
    key: Key
    pool: ConnectionPool
    limiter: AdaptiveLimiter = field(default_factory=AdaptiveLimiter)
    capabilities: Capabilities = field(default_factory=Capabilities)
    circuit_open: bool = False
    """Whether it is considered down and gets no requests."""
    opened_at: float = 0.0
    """When its circuit last opened, by the monotonic clock."""
    failure_score: int = 0
    """Weighted connection failures since its last response."""
    last_failure: str = ""
    """Message of the last of them."""
    responded_at: float = 0.0
    """When it last responded, with whatever status, by the monotonic clock."""
    replied_at: float = 0.0
    """When it last completed a request of the run, by the monotonic clock."""
    cooldown_until: float = 0.0
    """Until then it gets requests only if no other server is available, by the monotonic clock."""
    refusals: int = 0
    """Requests it has refused for now (such as HTTP 429) since its last reply."""
    refusing_since: float = 0.0
    """When it refused the first of these, by the monotonic clock."""
    noted: set[str] = field(default_factory=set)
    """Notes already made about it."""

    def lacks(self, name: str) -> bool:
        """Whether it is known not to support a field of a request."""
        return name in self.capabilities.unsupported


class ServerPool:
    """Assigns trees to servers and tracks which servers are up.

    Parameters
    ----------
    note:
        Called when a server goes down and when it is back.
    probe_interval:
        Seconds before the first probe of a server that is down; doubles with each further one.
    """

    def __init__(
        self, servers: Sequence[Server], note: NoteCallback, probe_interval: float
    ) -> None:
        self.all = tuple(servers)
        self._note, self._probe_interval = note, probe_interval
        self._affinity = Affinity[Server]()
        self._probes: set[asyncio.Task[None]] = set()
        self._recovered = asyncio.Event()

    @property
    def live(self) -> list[Server]:
        """Servers whose circuit is closed."""
        return [server for server in self.all if not server.circuit_open]

    @property
    def available(self) -> list[Server]:
        """Live servers that are not cooling down."""
        now = time.monotonic()
        return [server for server in self.live if server.cooldown_until <= now]

    @property
    def down_since(self) -> float:
        """When the last server went down, if all are down, by the monotonic clock."""
        return max(server.opened_at for server in self.all)

    @property
    def refusing_seconds(self) -> float:
        """How long every live server has refused several requests and served none; 0.0 if one has not."""
        live = self.live
        if not live or any(server.refusals < MIN_ATTEMPTS for server in live):
            return 0.0
        return time.monotonic() - max(server.refusing_since for server in live)

    def select(self, tree: int) -> Server | None:
        """The server for a tree's requests; None while all are down. Tree 0 means no tree."""
        if len(self.all) == 1:
            return None if self.all[0].circuit_open else self.all[0]
        loads = {server: _load(server) for server in self.available or self.live}
        return self._affinity.pick(tree, loads) if loads else None

    def move_tree(self, tree: int, server: Server) -> None:
        """Move a tree away from a server, if another one is available."""
        others = {other: _load(other) for other in self.available if other is not server}
        if tree and others and self.select(tree) is server:
            self._affinity.pick(tree, others)

    async def wait_for_recovery(self, timeout: float) -> None:
        """Wait until a server is back, at most `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._recovered.wait()
        except TimeoutError:
            return

    def record_refusal(self, server: Server, retry_after: float) -> None:
        """A server refused a request for now.

        It cools down if it asks for a long pause, or has refused many requests and served none.

        Parameters
        ----------
        retry_after:
            Seconds after which it wants the request again; 0 if it does not say.
        """
        now = time.monotonic()
        if not server.refusals:
            server.refusing_since = now
        server.refusals += 1
        if retry_after >= _MIN_COOLDOWN or server.refusals >= _REFUSAL_THRESHOLD:
            cooldown = min(max(retry_after, _MIN_COOLDOWN), _MAX_COOLDOWN)
            server.cooldown_until = max(server.cooldown_until, now + cooldown)
            if self.available:
                server.limiter.reroute_waiting()

    def record_reply(self, server: Server) -> None:
        """A server completed a request of the run."""
        server.refusals, server.replied_at = 0, time.monotonic()

    def record_response(self, server: Server) -> None:
        """A server responded, with whatever status."""
        server.failure_score, server.responded_at = 0, time.monotonic()

    def record_failure(self, server: Server, error: RequestFailed) -> None:
        """A server did not respond; enough of these open its circuit."""
        server.failure_score += _FAILURE_WEIGHTS[type(error)]
        server.last_failure = str(error)
        if server.circuit_open or server.failure_score < _FAILURE_THRESHOLD:
            return
        server.circuit_open, server.opened_at = True, time.monotonic()
        self._recovered.clear()
        next_step = "its trees move to the other servers" if self.live else "its requests wait"
        self._note(f"{server.url}: down, {error}; {next_step}")
        server.limiter.reroute_waiting()
        task = asyncio.get_running_loop().create_task(self._probe(server))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def aclose(self) -> None:
        """Stop probing, close the connections, and reroute waiting requests."""
        probes = tuple(self._probes)
        for task in probes:
            task.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        self._recovered.set()
        for server in self.all:
            server.limiter.reroute_waiting()
            await server.pool.aclose()

    async def _probe(self, server: Server) -> None:
        interval = self._probe_interval
        while server.circuit_open:
            await asyncio.sleep(interval * random.uniform(0.5, 1.0))
            interval = min(2 * interval, _MAX_PROBE_INTERVAL)
            try:
                response = await server.pool.send("/models", None, _PROBE_TIMEOUT)
            except RequestFailed:
                continue
            server.circuit_open = response.status >= 500
        server.failure_score = 0
        self._recovered.set()
        self._note(f"{server.url}: back up")
        for other in self.live:
            if other not in self.available:
                other.limiter.reroute_waiting()


def _load(server: Server) -> float:
    return server.limiter.load / server.limiter.limit
