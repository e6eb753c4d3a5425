"""Blocking calls share their event loop, and what a plug-in does in it harms no other call."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

import spar
from spar.run.blocking import background_loop, run_blocking

FAKE: dict[str, Any] = {"engine": "fake", "budget": 1, "votes": 1}
PLACE: ContextVar[str] = ContextVar("place", default="")


class Connected:
    """A judge that may be asked only in the loop of its first question, as one with open connections is."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, prompt: spar.Prompt, response: str) -> bool:
        """Passes all."""
        self.loop = self.loop or asyncio.get_running_loop()
        assert self.loop is asyncio.get_running_loop() and not self.loop.is_closed()
        return True


def in_main(work: Callable[[], None]) -> None:
    """As in a script."""
    work()


def in_notebook(work: Callable[[], None]) -> None:
    """Where the thread has a running loop."""

    async def cell() -> None:
        work()

    asyncio.run(cell())


def in_other_thread(work: Callable[[], None]) -> None:
    """In one that has none."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("place", [in_main, in_notebook, in_other_thread])
def test_an_object_with_connections_serves_several_calls(place: Callable[..., None]) -> None:
    """The second call would find the loop of the first closed, and the connections with it."""
    judge = Connected()
    for _ in range(2):
        place(lambda: _assert_solved(judge=judge))


def _assert_solved(**settings: Any) -> None:
    assert spar.search("Write.", **settings, **FAKE).solved


def test_sessions_and_notebooks_share_a_loop() -> None:
    """An object may be passed to one after the other."""
    judge = Connected()
    in_notebook(lambda: _assert_solved(judge=judge))
    for _ in range(2):
        with spar.open_session(judge=judge, **FAKE) as session:
            assert session.search("Write.").solved


@pytest.mark.parametrize("place", [in_main, in_notebook])
def test_a_judge_may_call_spar_itself(place: Callable[..., None]) -> None:
    """A plain function runs in the loop, which cannot run its search meanwhile; nor can it at the second level."""

    def second(prompt: spar.Prompt, response: str) -> bool:
        return spar.search("Third.", **FAKE).answer is not None

    def first(prompt: spar.Prompt, response: str) -> bool:
        return spar.search("Second.", judge=second, **FAKE).solved

    place(lambda: _assert_solved(judge=first))


@pytest.mark.parametrize("place", [in_main, in_notebook])
def test_a_judge_that_exits_leaves_the_loop_running(place: Callable[..., None]) -> None:
    """`sys.exit` ends the call that it belongs to, and no other waits for ever."""

    def leave(prompt: spar.Prompt, response: str) -> bool:
        raise SystemExit(3)

    def work() -> None:
        with pytest.raises(SystemExit, match="3"):
            spar.search("Write.", judge=leave, **FAKE)
        _assert_solved(judge=Connected())

    place(work)


@pytest.mark.parametrize("place", [in_main, in_notebook])
def test_work_sees_the_context_of_its_caller(place: Callable[..., None]) -> None:
    """Also what was set after the loop was made."""

    async def read() -> str:
        return PLACE.get()

    def work() -> None:
        for value in ("one", "two"):
            PLACE.set(value)
            assert run_blocking(read()) == value

    place(work)


def test_an_interrupted_wait_cancels_the_work_and_waits_for_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C in the waiting thread: files are closed before the caller goes on."""
    started, ended = threading.Event(), threading.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    result = concurrent.futures.Future.result

    def interrupted(future: Any, timeout: float | None = None) -> Any:
        monkeypatch.setattr(concurrent.futures.Future, "result", result)
        assert started.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(concurrent.futures.Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        in_notebook(lambda: run_blocking(work()))
    assert ended.is_set()


@pytest.mark.parametrize("place", [in_main, in_notebook])
def test_a_forked_process_has_loops_of_its_own(place: Callable[..., None]) -> None:
    """It has the parent's selectors, but not its threads."""
    background_loop()
    _assert_solved(judge=Connected())
    process = multiprocessing.get_context("fork").Process(
        target=place, args=(lambda: _assert_solved(judge=Connected()),)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
