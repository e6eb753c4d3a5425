"""A session: searches and jobs with models that stay loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import spar
from spar.config import load_decode
from spar.errors import EngineError, UsageError
from spar.infer.engine import Completion, Request
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.listener import Activity, AttemptProgress, Listener
from spar.run import blocking
from spar.run.interactive import Session
from spar.run.job import Job
from spar.store import read_summary, read_trees
from spar.types import Message, Node, Prompt, SearchTree


def prompts(count: int) -> list[Prompt]:
    """Plain prompts."""
    return [
        Prompt(id=str(i), messages=(Message(role="user", content=f"Say {i}."),))
        for i in range(count)
    ]


def test_the_summary_of_a_resumed_job_counts_every_tree(tmp_path: Path) -> None:
    """Three prompts, then five in the same directory: two are searched, five are counted."""
    with Session(load_decode("nano", {"engine": "fake"})) as session:
        session.run(Job("", prompts(3)), tmp_path / "run")
        summary = session.run(Job("", prompts(5)), tmp_path / "run")
    assert summary.trees == 5
    assert len(list(read_trees(tmp_path / "run"))) == 5
    stored = read_summary(tmp_path / "run")
    assert (stored["trees"], stored["prompts"]) == (5, 5)
    assert stored["engines"]


def test_a_search_with_another_judge_does_not_take_over_the_options_of_the_sessions() -> None:
    """They are the options of the judge that they were given with, which the other one would refuse."""
    options = {
        "engine": "fake",
        "budget": 2,
        "judge": "checklist",
        "judge_args": {"max_requirements": 3},
    }
    with Session(load_decode("nano", options)) as session:
        tree = session.search("Say so.", judge="votes")
    assert tree.nodes


def test_a_session_refuses_a_total_budget_which_only_runs_have() -> None:
    """One prompt would be searched with its own budget, as if none had been given."""
    settings = {"engine": "fake", "strategy": "iterative", "budget": 2, "judge": "votes"}
    with Session(load_decode("nano", settings)) as session:
        with pytest.raises(UsageError, match="total_budget is what the prompts of a run share"):
            session.search("x", total_budget=6)
        with pytest.raises(UsageError, match="total_budget"):
            session.prepare(total_budget=6)
        assert session.search("x", total_budget=None).nodes
    with Session(load_decode("nano", settings | {"total_budget": 6})) as session:
        with pytest.raises(UsageError, match="total_budget"):
            session.search("x")
        assert session.search("x", total_budget=None).nodes


def test_a_judge_that_cannot_be_made_is_not_a_model_that_cannot_be_loaded() -> None:
    """What its own code raises leaves the session as it was raised."""

    class Unready:
        """Raises when it is made."""

        def __init__(self, settings: object) -> None:
            raise KeyError("RUBRIC")

        async def judge(self, prompt: Prompt, response: str, seeds: object) -> None:
            """Never called."""

    with Session(load_decode("nano", {"engine": "fake", "budget": 1})) as session:
        with pytest.raises(KeyError, match="RUBRIC"):
            session.search("Say so.", judge=Unready)
        assert session.search("Say so.").nodes


@pytest.mark.parametrize(
    "changes", [{"dtype": "bf16"}, {"device": "cpu", "timeout": 5.0}, {"api_key_env": "MY_KEY"}]
)
def test_a_session_refuses_settings_that_an_open_engine_keeps(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replies of the engine as it is would be recorded, and cached, as those of the other settings."""
    monkeypatch.setenv("MY_KEY", "secret")
    with Session(load_decode("nano", {"engine": "fake", "budget": 1})) as session:
        session.search("x")
        with pytest.raises(UsageError, match=f"{', '.join(changes)}: .* is open with another"):
            session.search("x", **changes)
        assert session.search("x", dtype=session.config.dtype, extra_body={}).nodes
        other = {"model": "another", **changes}
        assert session.search("x", **other).nodes and session.search("y", **other).nodes


def test_threads_that_search_first_at_the_same_time_share_one_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second waits for the loop of the first, whose engines and locks belong to it, and starts none."""
    process = blocking._Loops()
    monkeypatch.setattr(blocking, "_LOOPS", process)
    new_event_loop, another = asyncio.new_event_loop, Event()
    loops: list[asyncio.AbstractEventLoop] = []
    with (
        ThreadPoolExecutor(2) as threads,
        Session(load_decode("nano", {"engine": "fake", "budget": 1})) as session,
    ):
        second: list[Future[SearchTree]] = []

        def start_slowly() -> asyncio.AbstractEventLoop:
            loops.append(new_event_loop())
            if len(loops) == 1:
                second.append(threads.submit(session.search, "b"))
                another.wait(0.3)
            else:
                another.set()
            return loops[-1]

        monkeypatch.setattr(asyncio, "new_event_loop", start_slowly)
        trees = [threads.submit(session.search, "a").result(), second[0].result()]
    assert [tree.prompt.messages[-1].content for tree in trees] == ["a", "b"]
    assert len(loops) == 1
    process.close()


class Gate:
    """A judge whose first verdict waits until it is opened."""

    def __init__(self) -> None:
        self.asked, self.opened = Event(), Event()

    async def __call__(self, prompt: Prompt, response: str) -> bool:
        """Passes all."""
        self.asked.set()
        while not self.opened.is_set():
            await asyncio.sleep(0.01)
        return True


def test_a_search_of_a_session_that_is_closed_meanwhile_says_so() -> None:
    """A bare cancellation would look like one that the caller asked for."""
    gate = Gate()
    with ThreadPoolExecutor(1) as threads:
        session = Session(load_decode("nano", {"engine": "fake", "budget": 1}))
        search = threads.submit(session.search, "a", judge=gate)
        assert gate.asked.wait(30)
        session.close()
        with pytest.raises(EngineError, match="the session is closed"):
            search.result(30)


async def test_an_async_search_of_a_session_that_is_closed_meanwhile_says_so() -> None:
    """As above; the caller's own cancellation stays one."""
    gate, session = Gate(), Session(load_decode("nano", {"engine": "fake", "budget": 1}))
    searches = [asyncio.create_task(session.search_async("a", judge=gate)) for _ in range(2)]
    await asyncio.to_thread(gate.asked.wait, 30)
    searches[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await searches[0]
    await asyncio.to_thread(session.close)
    with pytest.raises(EngineError, match="the session is closed"):
        await searches[1]


def test_a_session_that_is_called_inside_its_own_search_is_refused() -> None:
    """Its loop would wait for itself for ever; another session, and the async form, answer."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1}
    with Session(load_decode("nano", options)) as session:

        def by_itself(prompt: Prompt, response: str) -> bool:
            return session.search("b").answer is not None

        def by_another(prompt: Prompt, response: str) -> bool:
            with Session(load_decode("nano", options)) as other:
                return other.search("b").answer is not None

        async def asynchronously(prompt: Prompt, response: str) -> bool:
            return (await session.search_async("b", judge="votes")).answer is not None

        with pytest.raises(UsageError, match=r"inside one of its own searches.*search_async"):
            session.search("a", judge=by_itself)
        assert session.search("a", judge=by_another).solved
        assert session.search("a", judge=asynchronously).solved


class Recorder(Listener):
    """The names of the events that it receives, in order, but for those that come often."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.totals: list[int | None] = []
        self.done = 0

    def started(self, activity: Activity) -> None:
        """Append."""
        self.names.append("started")

    def admitted(self, prompt: Prompt) -> None:
        """Append."""
        self.names.append("admitted")

    def attempt(self, prompt: Prompt, attempt: AttemptProgress) -> None:
        """Append, once for several in a row."""
        self.names += [] if self.names[-1] == "attempt" else ["attempt"]

    def node(self, prompt: Prompt, node: Node) -> None:
        """Append."""
        self.names.append("node")

    def tree(self, tree: SearchTree) -> None:
        """Append."""
        self.names.append("tree")

    def progress(self, activity: Activity) -> None:
        """Append the total."""
        self.names.append("progress")
        self.totals.append(activity.total)

    def finished(self, activity: Activity) -> None:
        """Append, and say how much was done."""
        self.names.append("finished")
        self.done = activity.done


def test_a_sessions_listener_receives_what_that_of_a_search_does() -> None:
    """Every event of a listener, the session's own and that of a call, blocking and not; `note` tells of models."""
    events = {name for name in vars(Listener) if not name.startswith("_")} - {"note", "progress"}
    settings: dict[str, Any] = {"engine": "fake", "strategy": "bfs", "budget": 2}
    alone, own, blocking, awaited = Recorder(), Recorder(), Recorder(), Recorder()
    spar.search("x", listener=alone, **settings)
    assert set(alone.names) == events
    with spar.open_session(listener=own, **settings) as session:
        session.search("x")
        session.search("x", listener=blocking)
        asyncio.run(session.search_async("x", listener=awaited))
    assert own.names == blocking.names == awaited.names == alone.names
    assert own.done == blocking.done == awaited.done == 1


class Together(FakeEngine):
    """Answers once three requests wait."""

    def __init__(self) -> None:
        super().__init__(scripted_reply)
        self._all = asyncio.Barrier(3)

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order."""
        await self._all.wait()
        return await super().generate(requests)


def test_searches_of_a_session_at_the_same_time_are_one_activity() -> None:
    """A progress bar is drawn once, counts them all, and ends with the last."""
    listener = Recorder()

    async def search() -> None:
        with spar.open_session(listener=listener, engine=Together(), strategy="greedy") as session:
            await asyncio.gather(*(session.search_async(text) for text in "abc"))

    asyncio.run(search())
    assert (listener.names.count("started"), listener.names.count("finished")) == (1, 1)
    assert listener.names.count("tree") == listener.done == 3
    assert listener.totals == [2, 3]


def test_a_display_ends_with_the_callers_loop() -> None:
    """A time-out closes it before the session has ended the search."""

    class Slow(FakeEngine):
        async def generate(self, requests: Sequence[Request]) -> list[Completion]:
            await asyncio.sleep(60)
            raise AssertionError

    listener = Recorder()
    with spar.open_session(engine=Slow(scripted_reply), strategy="greedy") as session:
        work = session.search_async("a", listener=listener)
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(work, 0.3))
    assert (listener.names[0], listener.names[-1]) == ("started", "finished")


def test_a_listener_that_fails_at_the_start_fails_each_search() -> None:
    """The session does not take it for one that shows a search."""

    class Failing(Listener):
        def started(self, activity: Activity) -> None:
            """Fail."""
            raise OSError("no terminal")

    with spar.open_session(engine="fake", strategy="greedy") as session:
        for _ in range(2):
            with pytest.raises(OSError, match="no terminal"):
                session.search("a", listener=Failing())
