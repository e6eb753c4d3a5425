"""A session: models that stay loaded from one search to the next, in the event loop of another thread.

    with Session(load_decode("nano", {})) as session:
        tree = session.search(prompt, budget=7)
        summary = session.run(Job("", prompts), Path("runs/a"))

Loading a model blocks and a search keeps an event loop busy; neither happens in the caller's thread, which
may have a loop of its own (a notebook, the terminal browser). A caller that is interrupted while it waits
cancels the work that it waits for.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from spar.config import DecodeConfig
from spar.errors import EngineError, SparError, UsageError
from spar.infer.decode import search_prompt
from spar.infer.engine import TREE, Completion, Engine, Request
from spar.infer.roles import Roles
from spar.infer.search import SearchSettings
from spar.infer.summary import Summary
from spar.listener import Listener
from spar.manifest import Manifest
from spar.plugins import safe_name
from spar.run.blocking import (
    background_loop,
    in_thread,
    is_in_started_loop,
    running_loop,
    start_loop,
)
from spar.run.build import make_manifest, open_roles, search_settings
from spar.run.decoding import PromptLike, as_prompt
from spar.run.engine_pool import EnginePool
from spar.run.engines import Engines
from spar.run.job import Job
from spar.run.keywords import session_changes
from spar.run.placement import check_fit, memory_shares
from spar.run.prompt_checks import check_prompts, refuse_unrefinable
from spar.run.resolve import models, required_roles, resolve_config, shown_model
from spar.run.resume import PromptSource, load_summary
from spar.run.session import Run
from spar.run.session_listeners import InLoop, SessionActivity
from spar.store import RunStore
from spar.types import Prompt, Role, SearchTree

CLOSE_SECONDS = 30.0
"""An engine that takes longer to close is left to the end of the process."""

T = TypeVar("T")
C = TypeVar("C", bound=DecodeConfig)


@dataclass(frozen=True, slots=True)
class PreparedSearch:
    """What searches with some settings need: open models, and what their run is."""

    config: DecodeConfig
    """The resolved settings."""
    roles: Roles
    settings: SearchSettings
    manifest: Manifest
    """The manifest of a run of such searches."""
    room: Callable[[], int]
    """How many trees to have in flight at this moment, so that every engine is busy."""


class Session(Generic[C]):
    """Searches with the models of a configuration, loaded when they are first needed.

    Parameters
    ----------
    config:
        Settings of every search, unless a call changes them.
    listener:
        Receives the events of calls that name no listener of their own; searches at the same time are one activity.
    interactive:
        Whether one user waits for each search, so that latency counts more than throughput.
    """

    def __init__(
        self, config: C, listener: Listener = Listener(), *, interactive: bool = True
    ) -> None:
        self.config = config
        """The settings; resolved by the first `run`."""
        self._listener, self._interactive = listener, interactive
        self._pool = EnginePool()
        self._manifests: dict[str, Manifest] = {}
        """Digest to the manifest of the searches so far."""
        self._loading, self._starting = threading.Lock(), threading.Lock()
        self._engines: Engines | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._futures: set[Future[Any]] = set()
        self._closed = self._resolved = False
        self._numbers = count(1)
        self._activity = SessionActivity(lambda: self.generated_tokens)
        _OPEN.add(self)

    @property
    def description(self) -> str:
        """The models, each named once."""
        return ", ".join(dict.fromkeys(shown_model(m) for m in models(self.config).values()))

    @property
    def generated_tokens(self) -> int:
        """Tokens generated so far, as far as the engines count them before a reply has ended."""
        return sum(engine.generated_tokens for engine in tuple(self._pool.engines.values()))

    def search(
        self, prompt: PromptLike, listener: Listener | None = None, **changes: Any
    ) -> SearchTree:
        """Search one prompt and wait for the tree; `changes` are fields of the configuration.

        Raises
        ------
        EngineError, UsageError
            A model cannot be loaded or called.
        """
        changes = session_changes(self.config, changes)
        return self._wait(self._search(as_prompt(prompt), listener or self._listener, changes))

    async def search_async(
        self, prompt: PromptLike, listener: Listener | None = None, **changes: Any
    ) -> SearchTree:
        """Like `search`, from another event loop; the listener is called in the thread of that loop."""
        changes = session_changes(self.config, changes)
        events = InLoop(listener or self._listener, asyncio.get_running_loop())
        return await self._result(self._search(as_prompt(prompt), events, changes))

    def prepare(self, **changes: Any) -> PreparedSearch:
        """Load the models of searches with these settings, for `search_prepared`; `changes` as in `search`.

        Raises
        ------
        EngineError, UsageError
            A model cannot be loaded or called.
        """
        return self._wait(self._prepare(session_changes(self.config, changes), self._listener))

    async def prepare_async(self, **changes: Any) -> PreparedSearch:
        """Like `prepare`, from another event loop."""
        changes = session_changes(self.config, changes)
        return await self._result(self._prepare(changes, self._listener))

    async def check_prompt(self, prepared: PreparedSearch, prompt: Prompt) -> None:
        """Raise `UsageError` where the judge cannot judge a prompt, or the refiner refine for it."""
        await in_thread(lambda: _check_prompt(prepared.config, prompt, self._listener))

    async def search_prepared(
        self, prepared: PreparedSearch, prompt: Prompt, listener: Listener
    ) -> SearchTree:
        """Search a prompt that was checked, with models that are open, from another event loop.

        Cancelling this cancels the search and its requests. The listener is called in the thread of the caller's loop.
        """
        events = InLoop(listener, asyncio.get_running_loop())
        return await self._result(self._search_tree(prepared, prompt, events))

    async def complete(self, engine: Engine, requests: Sequence[Request]) -> list[Completion]:
        """Send requests to a model of this session, from another event loop; cancelling this cancels them."""
        return await self._result(_generate(engine, requests))

    def run(self, job: Job, directory: Path, listener: Listener | None = None) -> Summary:
        """Search every prompt of a job without a tree in its directory; returns the directory's totals.

        Raises
        ------
        UsageError
            A combination of settings that is not possible, or a directory with a run of other settings.
        RunStopped
            A request could not be served; what is written can be resumed.
        """
        return self._wait(self._run(job, directory, listener or self._listener))

    def store_tree(self, tree: SearchTree, folder: Path, source: str) -> Path:
        """Add a tree of this session to the run of its settings, `SOURCE-STRATEGY-BUDGET-DIGEST`.

        Raises
        ------
        UsageError
            The run has a tree of this prompt already.
        """
        manifest = self._manifests[tree.config]
        budget = manifest.config["budget"]
        directory = folder / f"{source}-{safe_name(tree.strategy)}-{budget}-{manifest.digest[:8]}"
        with RunStore.open(directory, manifest) as store:
            if tree.prompt.id in store.done:
                raise UsageError(f"{directory} already has a tree of this instruction and seed")
            store.append(tree)
            summary = load_summary(directory)
            summary.seconds += tree.seconds
            store.write_summary(summary.as_dict())
        return directory

    def close(self) -> None:
        """Cancel what is running and free the models; safe to call twice.

        A model that is still being loaded is freed once it is.
        """
        self._closed = True
        _OPEN.discard(self)
        if self._engines is not None:
            self._engines.closed = True
        with self._starting:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        for future in tuple(self._futures):
            future.cancel()
        closing = asyncio.run_coroutine_threadsafe(self._pool.aclose(lambda _: None), loop)
        with suppress(TimeoutError):
            closing.result(CLOSE_SECONDS)
        if loop is not background_loop():
            loop.call_soon_threadsafe(loop.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def _search(
        self, prompt: Prompt, listener: Listener, changes: dict[str, Any]
    ) -> SearchTree:
        config = self.config.changed(changes)
        await in_thread(lambda: _check_prompt(config, prompt, listener))
        prepared = await self._prepare(changes, listener)
        listener.note("the model is loaded")
        return await self._search_tree(prepared, prompt, listener)

    async def _search_tree(
        self, prepared: PreparedSearch, prompt: Prompt, listener: Listener
    ) -> SearchTree:
        TREE.set(next(self._numbers))
        with self._activity.search(listener) as report:
            tree = await search_prompt(prompt, prepared.roles, prepared.settings, listener)
            report(tree)
        return tree

    async def _prepare(self, changes: dict[str, Any], listener: Listener) -> PreparedSearch:
        return await in_thread(lambda: self._open(changes, listener))

    async def _run(self, job: Job, directory: Path, listener: Listener) -> Summary:
        if not self._resolved:
            self.config = await in_thread(lambda: resolve_config(self.config, listener.note))
            self._resolved = True
        config = self.config.changed(job.settings)
        source = PromptSource(lambda: iter(job.prompts), len(job.prompts))
        with RunStore.open(directory, make_manifest(config)) as store:
            return await Run(config, source, store, listener, job=job, pool=self._pool).execute()

    def _open(self, changes: dict[str, Any], listener: Listener) -> PreparedSearch:
        # A search that was cancelled may still be loading: the next one waits and finds its model.
        with self._loading:
            if self._closed:
                raise _closed()
            changed = self.config.changed(changes)
            roles = required_roles(changed)
            with _of_models():
                config, engines = self._load(changed, roles, listener)
            manifest = make_manifest(config)
            self._manifests[manifest.digest] = manifest
            settings = search_settings(config, manifest.digest)
            opened = open_roles(config, engines)
            return PreparedSearch(config, opened, settings, manifest, engines.room)

    def _load(
        self, config: DecodeConfig, roles: Sequence[Role], listener: Listener
    ) -> tuple[DecodeConfig, Engines]:
        config = resolve_config(config, listener.note, interactive=self._interactive, roles=roles)
        check_fit(config, roles, self._pool.engines)
        shares = memory_shares(config, roles)
        engines = Engines(config, listener.note, shares, roles=roles)
        self._pool.lend(engines)
        engines.check_kept()
        self._engines = engines
        if set(engines.needed.values()) - set(engines.engines):
            listener.note(engines.opening_note)
        for role in roles:
            engines.get(role)
        return config, engines

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._starting:  # callers in several threads share one loop
            if self._closed:
                work.close()
                raise _closed()
            if self._loop is None:
                nested = is_in_started_loop()
                self._loop = start_loop("spar-session") if nested else background_loop()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is not None and running_loop() is self._loop:
            work.close()
            raise UsageError(
                "a session was called from inside one of its own searches, which waits for the answer and so keeps the "
                "session from giving it; await search_async or prepare_async in an async function, or open another session"
            )
        future = self._submit(work)
        try:
            return future.result()
        except SparError:
            raise
        except CancelledError as error:
            raise _closed() from error
        except BaseException:  # Ctrl-C: end what is running before the caller goes on
            future.cancel()
            raise

    async def _result(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work in the session's loop, for a caller in another; cancelling this cancels the work."""
        future = self._submit(work)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if not self._closed or task is None or task.cancelling():
                raise
            raise _closed() from error


def _closed() -> EngineError:
    return EngineError("the session is closed")


@contextmanager
def _of_models() -> Iterator[None]:
    """Make one line of whatever a model's library raises; a judge's own exceptions are not the model's."""
    try:
        yield
    except SparError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        words = f"the model cannot be loaded: {type(error).__name__}: {reason}"
        raise EngineError(words) from error


_OPEN: weakref.WeakSet[Session[Any]] = weakref.WeakSet()


def close_sessions() -> None:
    """Close every session of this process that is still open."""
    for session in tuple(_OPEN):
        session.close()


async def _generate(engine: Engine, requests: Sequence[Request]) -> list[Completion]:
    return await engine.generate(requests)


def _check_prompt(config: DecodeConfig, prompt: Prompt, listener: Listener) -> None:
    """Raise `UsageError` where the judge cannot judge this prompt, or the refiner refine for it."""
    check_prompts(config, Job("", ()), [prompt], listener.note, is_single=True)
    refuse_unrefinable(config, [prompt])
