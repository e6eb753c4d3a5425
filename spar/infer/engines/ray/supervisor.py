"""A seat: the place of one replica on a Ray cluster, and the thread that keeps the place filled.

The thread makes an actor, has it open its model, and waits for its death; then it makes another one,
wherever the cluster has room. A replica that dies again and again without a single answer, or that
cannot open its model, gives its seat up.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from spar.errors import EngineError, PromptRefused, SparError, UsageError
from spar.infer.engine import Completion, NoteCallback, Request
from spar.infer.engines.ray.cluster import Need
from spar.infer.engines.ray.replica import Answer, Plan, Refusal, Replica, State

Stage = Literal["waiting", "opening", "live", "gone"]
"""Waiting for room on the cluster, opening its model, answering, or given up."""

_BARREN_LIVES = 3
_CALLS_AT_ONCE = 10_000
_CLOSE_SECONDS = 10.0
_MOST_LETTERS = 300
_PATIENCE_SECONDS = 15.0
_POLL_SECONDS = 0.5
_SETTLE_SECONDS = 0.3


class ReplicaLost(Exception):
    """The replica died or broke before it answered; another one can answer in its place."""


class Seat:
    """Keeps one replica alive.

    Parameters
    ----------
    number:
        From 1, as people see it.
    plan:
        What the replica opens.
    need:
        What it takes of a node.
    tell:
        Told of deaths and restarts, from the seat's own thread.
    """

    def __init__(self, number: int, plan: Plan, need: Need, note: NoteCallback) -> None:
        self.number = number
        self.stage: Stage = "waiting"
        self.state = State()
        """What the engine last said of itself."""
        self.node = ""
        """Name of the machine that it is on."""
        self.in_flight = 0
        """Requests that wait for its answer."""
        self.error: SparError | None = None
        """Why the seat was given up."""
        self._plan, self._need, self._tell = plan, need, note
        self._actor: Any = None
        self._lock = threading.Lock()
        self._answered, self._broken, self._lost = False, "", 0
        self._ended = (0, 0)
        self._noted: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._mind, name=f"spar-ray-{number}", daemon=True)

    @property
    def live(self) -> bool:
        """Whether its replica answers."""
        return self._actor is not None

    @property
    def name(self) -> str:
        """The replica's name for people."""
        return f"replica {self.number}{f' on {self.node}' if self.node else ''}"

    @property
    def prefix_cache(self) -> tuple[int, int]:
        """Prompt tokens that its replicas looked up in their prefix caches, and those found there."""
        (queried, hit), (ended_queried, ended_hit) = self.state.prefix_cache, self._ended
        return queried + ended_queried, hit + ended_hit

    def start(self) -> None:
        """Begin to fill the seat."""
        self._thread.start()

    async def ask(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order; cancelling the caller cancels the work.

        Raises
        ------
        ReplicaLost
            There was no answer: it died, or its engine failed and it is being replaced.
        PromptRefused
            A request does not fit, or the engine will not serve it; the replica lives on.
        """
        from ray.exceptions import RayError

        actor = self._actor
        if actor is None:
            raise ReplicaLost(f"{self.name} is gone")
        self.in_flight += len(requests)
        try:
            return self._read(await _reply(actor, requests))
        except PromptRefused:
            raise
        except (RayError, EngineError) as error:
            self._lost += len(requests)
            raise ReplicaLost(self._lose(actor, error)) from error
        finally:
            self.in_flight -= len(requests)

    def begin_closing(self) -> Any:
        """Have the model freed; returns what to wait for, None where there is nothing."""
        actor = self._actor
        return None if actor is None else actor.close.remote()

    def close(self) -> None:
        """End the replica, and leave the seat empty."""
        self._closing.set()
        self._thread.join(_CLOSE_SECONDS)

    def _read(self, reply: Answer | Refusal) -> list[Completion]:
        if isinstance(reply, Refusal):
            error = reply.error()
            self._answered |= isinstance(error, PromptRefused)
            raise error
        self._answered = True
        self._learn(reply.state)
        return list(reply.completions)

    def _lose(self, actor: Any, error: Exception) -> str:
        """Ask this replica nothing more; returns what became of it."""
        failed = isinstance(error, EngineError)
        reason = f"its engine failed: {error}" if failed else brief(error)
        with self._lock:
            if actor is self._actor:
                self._actor, self._broken = None, reason
                _kill(actor)
        return f"{self.name}: {reason}"

    def _mind(self) -> None:
        import ray

        barren = 0
        while ray.is_initialized():
            reason = self._live()
            # Callers learn of the loss on their own; what they lost is counted by then.
            if self._closing.wait(_SETTLE_SECONDS):
                return
            barren = 0 if self._answered else barren + 1
            if barren >= _BARREN_LIVES:
                self.error = EngineError(f"{self.name} failed {barren} times in a row: {reason}")
            if self.error is not None:
                self.stage = "gone"
                self._tell(f"{self.error}; it is given up")
                return
            self._tell(f"{self.name} was lost: {reason}{self._again()}; it is being restarted")

    def _again(self) -> str:
        if not self._lost:
            return ""
        return (
            "; its 1 request goes again"
            if self._lost == 1
            else f"; its {self._lost} requests go again"
        )

    def _live(self) -> str:
        """One replica from its birth to its end; returns why it ended."""
        from ray.exceptions import RayError

        self.stage, self.node = "waiting", ""
        self._ended = self.prefix_cache
        self.state = replace(self.state, prefix_cache=(0, 0))
        self._answered, self._broken, self._lost = False, "", 0
        actor = _make_actor(self._plan, self._need)
        try:
            self.node = self._wait(actor.place.remote(), patience=_PATIENCE_SECONDS)
            self.stage = "opening"
            opened = self._wait(actor.open.remote())
            if isinstance(opened, Refusal):
                return self._refused(opened)
            self._learn(opened)
            self._actor, self.stage = actor, "live"
            self._wait(actor.stay.remote())
        except RayError as error:
            self.error = _not_installed(error, self.name)
            return self._broken or brief(error)
        finally:
            with self._lock:
                self._actor, self.stage = None, "waiting"
            _kill(actor)
        return "it was closed"

    def _wait(self, ref: Any, patience: float = float("inf")) -> Any:
        """What a call returns, None once the seat is closed; says so when patience is exhausted."""
        import ray

        waited = 0.0
        while not self._closing.is_set() and ray.is_initialized():
            if ray.wait([ref], timeout=_POLL_SECONDS)[0]:
                return ray.get(ref)
            waited += _POLL_SECONDS
            if waited >= patience:
                patience = float("inf")
                self._tell(
                    f"{self.name} waits for {self._need} that the Ray cluster lacks just now"
                )
        return None

    def _refused(self, refusal: Refusal) -> str:
        error = refusal.error()
        if isinstance(error, UsageError):
            self.error = error
        return str(error)

    def _learn(self, state: State | None) -> None:
        if state is not None:
            self.state = state
            for note in state.notes:
                self._note(note)

    def _note(self, note: str) -> None:
        # The replicas are alike: what one of them has to say once is enough.
        if self.number == 1 and note not in self._noted:
            self._noted.add(note)
            self._tell(note)


def brief(error: Exception) -> str:
    """Why a replica died, in one line: the last that Ray says of it, without its guesses."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return last.split(" Some common causes", 1)[0][:_MOST_LETTERS].rstrip(".")


async def _reply(actor: Any, requests: Sequence[Request]) -> Answer | Refusal:
    import ray
    from ray.exceptions import RayError

    ref = actor.generate.remote(list(requests))
    try:
        reply: Answer | Refusal = await ref
    except asyncio.CancelledError:
        with contextlib.suppress(RayError):
            ray.cancel(ref)
        raise
    return reply


def _make_actor(plan: Plan, need: Need) -> Any:
    import ray

    return (
        ray.remote(Replica)
        .options(
            num_cpus=need.amount if need.resource == "CPU" else 0,
            num_gpus=need.amount if need.resource == "GPU" else 0,
            max_concurrency=_CALLS_AT_ONCE,
            scheduling_strategy="SPREAD",
        )
        .remote(plan)
    )


def _kill(actor: Any) -> None:
    import ray
    from ray.exceptions import RayError

    with contextlib.suppress(RayError):
        ray.kill(actor)


def _not_installed(error: Exception, name: str) -> UsageError | None:
    if "No module named 'spar" not in str(error):
        return None
    return UsageError(
        f"{name} cannot import spar; install the same spar on every node of the cluster"
    )
