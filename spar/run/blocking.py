"""Coroutines for callers without an event loop, and for those whose loop is busy running them.

An engine or a judge of the caller's own may hold connections, and these belong to the event loop in which they were
opened. So blocking calls share a loop, which stays open from one call to the next: one in the main thread of a
script, where code that needs signals works, and one in a thread of its own for notebooks, other threads and sessions.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import functools
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from spar.main_module import check_not_reimported

P = ParamSpec("P")
T = TypeVar("T")

_THREAD = threading.local()


def blocking(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The blocking form of an async function `NAME_async`: `NAME`, with the same docstring."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_blocking(function(*args, **kwargs))

    call.__name__ = function.__name__.removesuffix("_async")
    call.__qualname__ = call.__name__
    return call


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where the calling thread has a running event loop."""
    try:
        check_not_reimported()
    except BaseException:
        work.close()
        raise
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and running_loop() is None:
        return _run_here(_LOOPS.main(), work)
    if not is_in_started_loop():
        return _run_in(background_loop(), work)
    loop = start_loop("spar-nested")
    try:
        return _run_in(loop, work)
    finally:
        loop.call_soon_threadsafe(loop.stop)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in the calling thread, None where there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def background_loop() -> asyncio.AbstractEventLoop:
    """The event loop of this process that runs in a thread of its own until the process ends."""
    return _LOOPS.background()


def is_in_started_loop() -> bool:
    """Whether the calling thread is that of a loop which spar has started: a plug-in that runs there has called spar again.

    That loop waits for the call, and others may wait for that loop, so the call needs one of its own.
    """
    return getattr(_THREAD, "has_started_loop", False)


def start_loop(name: str) -> asyncio.AbstractEventLoop:
    """Start an event loop in a daemon thread; `loop.call_soon_threadsafe(loop.stop)` ends both."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=_run_forever, args=(loop,), name=name, daemon=True).start()
    return loop


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    _THREAD.has_started_loop = True
    while True:
        # A task that exits stops the loop; what it raised belongs to whoever waits for it.
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            loop.run_forever()
            break
    _cancel_all(loop)
    loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks that are left, as `asyncio.run` does at its end."""
    if tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())


def _run_here(runner: asyncio.Runner, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the loop of this thread."""
    tasks: list[asyncio.Task[Any]] = []

    async def run() -> T:
        if (task := asyncio.current_task()) is not None:
            tasks.append(task)
        return await work

    try:
        return runner.run(run(), context=contextvars.copy_context())
    finally:
        # A task that exits stops the loop before the work has ended, which must not go on in the next call.
        if running := [task for task in tasks if not task.done()]:
            running[0].cancel()
            runner.get_loop().run_until_complete(asyncio.wait(running))


def _run_in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the loop of another thread; Ctrl-C in this one cancels it and waits for its end."""
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
    tasks: list[asyncio.Task[T]] = []

    def start() -> None:
        task = loop.create_task(work)
        tasks.append(task)
        task.add_done_callback(functools.partial(_pass_on, outcome))

    loop.call_soon_threadsafe(start)
    try:
        return outcome.result()
    except BaseException:
        if not outcome.done():
            loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            concurrent.futures.wait([outcome])
        raise


def _pass_on(outcome: concurrent.futures.Future[T], task: asyncio.Task[T]) -> None:
    if task.cancelled():
        outcome.set_exception(asyncio.CancelledError())
    elif (error := task.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())


class _Loops:
    """The loops of this process, made when they are first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._main: asyncio.Runner | None = None
        self._background: asyncio.AbstractEventLoop | None = None

    def main(self) -> asyncio.Runner:
        """That of blocking calls in the main thread."""
        if self._main is None:
            # With a factory the loop does not become the thread's current one, which is the caller's own affair.
            self._main = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        return self._main

    def background(self) -> asyncio.AbstractEventLoop:
        """That of all other blocking calls."""
        with self._lock:
            if self._background is None:
                self._background = start_loop("spar")
            return self._background

    def close(self) -> None:
        """End both; at the end of the process."""
        if self._background is not None:
            self._background.call_soon_threadsafe(self._background.stop)
        if self._main is not None:
            with contextlib.suppress(RuntimeError):  # no thread can be started any more
                self._main.close()


_LOOPS = _Loops()
_OF_PARENTS: list[_Loops] = []
"""What a forked process must neither use nor close: it shares the selectors of its parent's loops."""


def _forget_loops() -> None:
    global _LOOPS
    _OF_PARENTS.append(_LOOPS)
    _LOOPS = _Loops()


atexit.register(lambda: _LOOPS.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_loops)


async def in_thread(work: Callable[[], T]) -> T:
    """Do blocking work in a daemon thread, so that Ctrl-C is handled meanwhile and nothing waits for
    work that was abandoned."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def resolve(set_outcome: Callable[[Any], None], outcome: Any) -> None:
        if not future.done():
            set_outcome(outcome)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = (future.set_result, work())
        except BaseException as error:  # whatever it is belongs to the caller
            outcome = (future.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run was interrupted
            loop.call_soon_threadsafe(resolve, *outcome)

    threading.Thread(target=run, name="spar-loader", daemon=True).start()
    return await future
