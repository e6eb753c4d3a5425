"""The supervisor of one replica: a thread that starts a Ray actor and restarts it when it dies.

The thread creates the actor, has it open its model, and waits for its death; then it creates another one,
wherever the cluster has room. A replica that repeatedly dies before it completes a request, or that cannot
open its model, is not restarted again. Ray's own `max_restarts` is not enough for that: it counts restarts
over the actor's whole life, not failures in a row, and does not notice an engine that breaks in a living
actor.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from spar.errors import EngineError, PromptRefused, SparError, UsageError
from spar.infer.engine import Completion, Continuation, Likelihood, NoteCallback, Request
from spar.infer.engines.ray.cluster import ResourceRequest
from spar.infer.engines.ray.replica import (
    RemoteError,
    Replica,
    ReplicaResponse,
    ReplicaSpec,
    ReplicaState,
)

ReplicaStatus = Literal["pending", "loading", "live", "failed"]
"""Waiting for room on the cluster, loading its model, serving requests, or not to be restarted."""

MAX_FAILED_STARTS = 3
"""A replica that dies this often in a row without completing a request is not restarted."""

_MAX_CONCURRENT_CALLS = 10_000
_CLOSE_TIMEOUT = 10.0
_MAX_REASON_LENGTH = 300
_PENDING_NOTE_SECONDS = 15.0
_POLL_SECONDS = 0.5
_RESTART_DELAY = 0.3


class ReplicaLost(Exception):
    """The replica died or broke before it responded; another one can serve the request."""


class ReplicaSupervisor:
    """Keeps one replica running.

    Parameters
    ----------
    number:
        Number of the replica, from 1.
    spec:
        What the replica opens.
    resources:
        What it takes of a node.
    note:
        Called on deaths and restarts, from the supervisor's own thread.
    """

    def __init__(
        self, number: int, spec: ReplicaSpec, resources: ResourceRequest, note: NoteCallback
    ) -> None:
        self.number = number
        self.status: ReplicaStatus = "pending"
        self.state = ReplicaState()
        """The last reported state of the replica's engine."""
        self.node = ""
        """Hostname of the machine it runs on."""
        self.in_flight = 0
        """Requests that wait for its response."""
        self.error: SparError | None = None
        """Why it is not restarted."""
        self._spec, self._resources, self._note = spec, resources, note
        self._actor: Any = None
        self._lock = threading.Lock()
        self._has_responded, self._loss_reason, self._num_lost = False, "", 0
        self._past_prefix_cache = (0, 0)
        self._noted: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"spar-ray-{number}", daemon=True)

    @property
    def live(self) -> bool:
        """Whether the replica serves requests."""
        return self._actor is not None

    @property
    def name(self) -> str:
        """Name of the replica, for messages."""
        return f"replica {self.number}{f' on {self.node}' if self.node else ''}"

    @property
    def prefix_cache(self) -> tuple[int, int]:
        """Prompt tokens looked up in prefix caches, and hits, over all restarts."""
        (queried, hits), (past_queried, past_hits) = (
            self.state.prefix_cache,
            self._past_prefix_cache,
        )
        return queried + past_queried, hits + past_hits

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order; cancelling the caller cancels the work.

        Raises
        ------
        ReplicaLost
            There was no response: it died, or its engine failed and it is being restarted.
        PromptRefused
            A prompt does not fit, or the engine refuses it; the replica continues.
        """
        return await self._respond(
            lambda actor: actor.generate.remote(list(requests)), len(requests)
        )

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One likelihood per continuation, in order; cancelling the caller cancels the work.

        Raises
        ------
        ReplicaLost
            As for `generate`.
        UsageError
            The engine of the replicas cannot score.
        """
        count = len(continuations)
        return await self._respond(lambda actor: actor.score.remote(list(continuations)), count)

    async def _respond(self, submit: Callable[[Any], Any], count: int) -> list[Any]:
        """The results of a call on the replica.

        Parameters
        ----------
        submit:
            Calls the actor; returns Ray's reference to the response.
        count:
            Requests in the call.
        """
        from ray.exceptions import RayError

        actor = self._actor
        if actor is None:
            raise ReplicaLost(f"{self.name} is not running")
        self.in_flight += count
        try:
            response = await _call(submit, actor)
            if isinstance(response, RemoteError):
                error = response.to_error()
                self._has_responded |= isinstance(error, PromptRefused)
                raise error
        except PromptRefused:
            raise
        except (RayError, EngineError) as error:
            self._num_lost += count
            raise ReplicaLost(self._abandon(actor, error)) from error
        finally:
            self.in_flight -= count
        self._has_responded = True
        self._update(response.state)
        return list(response.results)

    def begin_closing(self) -> Any:
        """Have the replica free its model; returns the Ray reference to wait for, None without a replica."""
        actor = self._actor
        return None if actor is None else actor.close.remote()

    def close(self) -> None:
        """Kill the replica and end the thread."""
        self._closing.set()
        self._thread.join(_CLOSE_TIMEOUT)

    def _abandon(self, actor: Any, error: Exception) -> str:
        """Kill a replica that failed; returns the reason."""
        engine_failed = isinstance(error, EngineError)
        reason = f"its engine failed: {error}" if engine_failed else death_reason(error)
        with self._lock:
            if actor is self._actor:
                self._actor, self._loss_reason = None, reason
                _kill(actor)
        return f"{self.name}: {reason}"

    def _run(self) -> None:
        import ray

        failed_starts = 0
        while ray.is_initialized():
            reason = self._run_replica()
            # Callers notice the loss on their own; by then their requests are counted.
            if self._closing.wait(_RESTART_DELAY):
                return
            failed_starts = 0 if self._has_responded else failed_starts + 1
            if failed_starts >= MAX_FAILED_STARTS:
                self.error = EngineError(
                    f"{self.name} failed to start {failed_starts} times in a row: {reason}"
                )
            if self.error is not None:
                self.status = "failed"
                self._note(f"{self.error}; it is not restarted")
                return
            plural = "s" if self._num_lost > 1 else ""
            retried = f"; retrying its {self._num_lost} request{plural}" if self._num_lost else ""
            self._note(f"{self.name} was lost: {reason}{retried}; restarting it")

    def _run_replica(self) -> str:
        """Run one replica from its start to its death; returns why it died."""
        from ray.exceptions import RayError

        self.status, self.node = "pending", ""
        self._past_prefix_cache = self.prefix_cache
        self.state = replace(self.state, prefix_cache=(0, 0))
        self._has_responded, self._loss_reason, self._num_lost = False, "", 0
        actor = _create_actor(self._spec, self._resources)
        try:
            self.node = self._wait(actor.hostname.remote(), note_after=_PENDING_NOTE_SECONDS)
            self.status = "loading"
            opened = self._wait(actor.open.remote())
            if isinstance(opened, RemoteError):
                error = opened.to_error()
                if isinstance(error, UsageError):
                    self.error = error
                return str(error)
            self._update(opened)
            self._actor, self.status = actor, "live"
            self._wait(actor.wait_forever.remote())
        except RayError as error:
            self.error = _not_installed(error, self.name)
            return self._loss_reason or death_reason(error)
        finally:
            with self._lock:
                self._actor, self.status = None, "pending"
            _kill(actor)
        return "it was closed"

    def _wait(self, ref: Any, note_after: float = float("inf")) -> Any:
        """The result of a call; None if the supervisor is closed meanwhile.

        Parameters
        ----------
        note_after:
            Seconds after which a note says that the cluster has no room.
        """
        import ray

        waited = 0.0
        while not self._closing.is_set() and ray.is_initialized():
            if ray.wait([ref], timeout=_POLL_SECONDS)[0]:
                return ray.get(ref)
            waited += _POLL_SECONDS
            if waited >= note_after:
                note_after = float("inf")
                self._note(f"{self.name} waits for {self._resources} to become free on the cluster")
        return None

    def _update(self, state: ReplicaState | None) -> None:
        if state is None:
            return
        self.state = state
        for note in state.notes:
            # All replicas run the same engine: the notes of the first are enough, each once.
            if self.number == 1 and note not in self._noted:
                self._noted.add(note)
                self._note(note)


def death_reason(error: Exception) -> str:
    """Why a replica died: the last line of Ray's message, without its guesses at the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return last.split(" Some common causes", 1)[0][:_MAX_REASON_LENGTH].rstrip(".")


async def _call(submit: Callable[[Any], Any], actor: Any) -> ReplicaResponse[Any] | RemoteError:
    import ray
    from ray.exceptions import RayError

    ref = submit(actor)
    try:
        response: ReplicaResponse[Any] | RemoteError = await ref
    except asyncio.CancelledError:
        with contextlib.suppress(RayError):
            ray.cancel(ref)
        raise
    return response


def _create_actor(spec: ReplicaSpec, resources: ResourceRequest) -> Any:
    import ray

    return (
        ray.remote(Replica)
        .options(
            num_cpus=resources.amount if resources.resource == "CPU" else 0,
            num_gpus=resources.amount if resources.resource == "GPU" else 0,
            max_concurrency=_MAX_CONCURRENT_CALLS,
            scheduling_strategy="SPREAD",
        )
        .remote(spec)
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
        f"{name} cannot import spar; install the same version of spar on every node of the cluster"
    )
