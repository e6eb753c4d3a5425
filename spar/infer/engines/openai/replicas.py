"""Several servers that hold the same model: which one a tree asks, and which of them are alive.

A tree stays on the server that had least to do when it first asked, so that this server's prefix
cache serves it. A server to which connections fail again and again is taken for dead: its trees go to
the others at once, and it is asked for its models now and then until it answers. The trees of one that
asks for a long pause, or refuses again and again, go to the others too. A request that fails for other reasons time and again takes
its tree to another server as well.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from spar.infer.engine import NoteCallback
from spar.infer.engines.affinity import Affinity
from spar.infer.engines.openai.capabilities import Abilities
from spar.infer.engines.openai.concurrency_limit import Pacer
from spar.infer.engines.openai.connection_pool import (
    Cut,
    Lanes,
    NoDescriptor,
    TimedOut,
    Unreachable,
)
from spar.infer.engines.openai.retry import FEWEST_TRIES
from spar.infer.engines.openai.servers import Key

_STRIKES = {Unreachable: 2, Cut: 1, TimedOut: 1}
_DEAD = 4
_LONG_PAUSE, _LONGEST_REST = 3.0, 600.0
_MANY_REFUSALS = 32
_PROBE_SECONDS, _SLOWEST_PROBE = 10.0, 5.0


@dataclass(slots=True, eq=False)
class Replica:
    """One server."""

    url: str
    key: Key
    lanes: Lanes
    pacer: Pacer = field(default_factory=Pacer)
    abilities: Abilities = field(default_factory=Abilities)
    up: bool = True
    strikes: int = 0
    """How bad its failures were since its last answer."""
    down_since: float = 0.0
    """When it was taken for dead, by the monotonic clock."""
    rests_until: float = 0.0
    """Until then others are asked if there are any, by the monotonic clock."""
    served: bool = False
    """Whether it ever gave a reply."""
    refusals: int = 0
    """How many requests it has refused for now since its last reply."""
    refuses_since: float = 0.0
    """When it refused the first of these, by the monotonic clock."""
    failure: str = ""
    """The last of them."""
    told: set[str] = field(default_factory=set)
    """What a person was told about it."""

    def lacks(self, name: str) -> bool:
        """Whether it is known to lack something."""
        return name in self.abilities.lacks


class Replicas:
    """The servers of one engine.

    Parameters
    ----------
    tell:
        Told when a server is taken for dead and when it is back.
    probe_seconds:
        Time before a dead server is first asked again; it doubles from then on.
    """

    def __init__(
        self, replicas: Sequence[Replica], note: NoteCallback, probe_seconds: float
    ) -> None:
        self.all = tuple(replicas)
        self._tell, self._probe_seconds = note, probe_seconds
        self._homes = Affinity[Replica]()
        self._probes: set[asyncio.Task[None]] = set()
        self._change = asyncio.Event()

    @property
    def live(self) -> list[Replica]:
        """Those that are not taken for dead."""
        return [replica for replica in self.all if replica.up]

    @property
    def awake(self) -> list[Replica]:
        """The live ones that do not rest."""
        now = time.monotonic()
        return [replica for replica in self.live if replica.rests_until <= now]

    @property
    def down_since(self) -> float:
        """When the last of them was taken for dead, where all are, by the monotonic clock."""
        return max(replica.down_since for replica in self.all)

    @property
    def refusing(self) -> float:
        """For how many seconds the live ones have served nobody and refused several; else 0."""
        live = self.live
        if not live or any(replica.refusals < FEWEST_TRIES for replica in live):
            return 0.0
        return time.monotonic() - max(replica.refuses_since for replica in live)

    def home(self, tree: int) -> Replica | None:
        """The server for a tree's requests, None while all are dead; tree 0 is no tree."""
        loads = {replica: _business(replica) for replica in self.awake or self.live}
        return self._homes.pick(tree, loads) if loads else None

    def move(self, tree: int, server: Replica) -> None:
        """Let a tree ask another server from now on, if there is one."""
        others = {r: _business(r) for r in self.awake if r is not server}
        if tree and others and self.home(tree) is server:
            self._homes.pick(tree, others)

    async def wait(self, seconds: float) -> None:
        """Until a server is back, or so many seconds have passed."""
        try:
            async with asyncio.timeout(seconds):
                await self._change.wait()
        except TimeoutError:
            return

    def refused(self, replica: Replica, wait: float) -> None:
        """It wants the request later, in `wait` seconds, 0 where it does not say.

        Others are asked meanwhile if these are many, or if it has refused a lot and served nothing.
        """
        now = time.monotonic()
        if not replica.refusals:
            replica.refuses_since = now
        replica.refusals += 1
        if wait >= _LONG_PAUSE or replica.refusals >= _MANY_REFUSALS:
            rest = min(max(wait, _LONG_PAUSE), _LONGEST_REST)
            replica.rests_until = max(replica.rests_until, now + rest)
            if self.awake:
                replica.pacer.evict()

    def gave_reply(self, replica: Replica) -> None:
        """It serves."""
        replica.served, replica.refusals = True, 0

    def answered(self, replica: Replica) -> None:
        """The server is alive."""
        replica.strikes = 0

    def failed(self, replica: Replica, error: Exception) -> None:
        """There was no answer; enough of that, and the server is taken for dead."""
        replica.strikes += _STRIKES[type(error)]
        replica.failure = str(error)
        if replica.up and replica.strikes >= _DEAD:
            replica.up, replica.down_since = False, time.monotonic()
            self._change.clear()
            others = (
                "its trees go to the other servers" if self.live else "its requests wait for it"
            )
            self._tell(f"{replica.url}: down, {error}; {others}")
            replica.pacer.evict()
            task = asyncio.get_running_loop().create_task(self._probe(replica))
            self._probes.add(task)
            task.add_done_callback(self._probes.discard)

    async def aclose(self) -> None:
        """Stop asking, close the connections, send away who waits."""
        probes = tuple(self._probes)
        for task in probes:
            task.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        self._change.set()
        for replica in self.all:
            replica.pacer.evict()
            await replica.lanes.aclose()

    async def _probe(self, replica: Replica) -> None:
        delay = self._probe_seconds
        while not replica.up:
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, _SLOWEST_PROBE)
            try:
                answer = await replica.lanes.ask("/models", None, _PROBE_SECONDS)
            except (NoDescriptor, Unreachable, Cut, TimedOut):
                continue
            replica.up = answer.status < 500
        replica.strikes = 0
        self._change.set()
        self._tell(f"{replica.url}: back")
        for other in self.live:
            if other not in self.awake:
                other.pacer.evict()


def _business(replica: Replica) -> float:
    return replica.pacer.load / replica.pacer.limit
