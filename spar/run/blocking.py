"""Coroutines for callers without an event loop, and for those whose loop is busy running them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from spar.main_module import check_not_reimported

P = ParamSpec("P")
T = TypeVar("T")


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
    return _run_in_thread(work) if _loop_is_running() else asyncio.run(work)


def _loop_is_running() -> bool:
    """Whether the calling thread has a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread with an event loop of its own; Ctrl-C in this one cancels it."""
    outcome: list[T] = []
    errors: list[BaseException] = []
    started = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None
        loops.append((asyncio.get_running_loop(), task))
        started.set()
        return await work

    def run() -> None:
        try:
            outcome.append(asyncio.run(main()))
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="spar", daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:
        started.wait()
        loop, task = loops[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    if errors:
        raise errors[0]
    return outcome[0]


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
