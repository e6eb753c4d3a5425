"""The driver: how a search is cut short, by a pass, an error or its caller, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from spar.errors import EngineError
from spar.infer.engine import Completion, Request
from spar.infer.engine_wrappers import InstrumentedEngine
from spar.infer.engines.fake import FakeEngine, Reply
from spar.infer.search import run_search
from spar.infer.votes import VoteRule
from spar.types import Usage
from tests.fakes import (
    NO,
    YES,
    HangingEngine,
    TableRoles,
    World,
    kind_of,
    make_prompt,
    make_root,
    make_settings,
    real_roles,
    refined,
)


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    """No task still runs, and no error went unheard, when a test ends."""
    loop = asyncio.get_running_loop()
    unheard: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert unheard == []


def naming_reply(passing: str) -> Reply:
    """A world whose refinements are `one`, `two`, `three`; only `passing` gets yes."""
    names = iter(["one", "two", "three"])

    def reply(request: Request) -> str:
        if kind_of(request) == "judge":
            return YES if f"\n{passing}\n" in request.messages[0].content else NO
        return refined(next(names), kind_of(request))

    return reply


async def test_stop_first_cancels_the_rest() -> None:
    """Once a child passes, calls still under way are cancelled in the engine, not awaited."""
    engine = HangingEngine(naming_reply("two"), held=["\none\n", "\nthree\n"])
    settings = make_settings("bfs", stop_rule="first")
    search = run_search(make_prompt(), real_roles(engine), settings, roots=[make_root()])
    tree = await asyncio.wait_for(search, 5)
    assert (tree.stop, tree.answer) == ("solved", "two")
    assert [node.response for node in tree.nodes] == ["r", "two"]
    assert sorted(engine.cancelled) == ["\none\n", "\nthree\n"]
    assert tree.cancelled == 2
    assert tree.usage_by_role["refiner"].calls == 3
    assert tree.usage_by_role["judge"].calls == tree.nodes[1].judge_usage.calls == 5


async def test_stop_first_records_a_refinement_cut_off_while_it_is_written() -> None:
    """It was a request on its way; what it cost is not known, but that it was made is."""
    engine = FakeEngine(naming_reply("one"))
    slow = iter([False, True, True])

    async def generate(requests: Sequence[Request]) -> list[Completion]:
        if kind_of(requests[0]) == "refine" and next(slow):
            await asyncio.Event().wait()
        return await FakeEngine.generate(engine, requests)

    engine.generate = generate  # type: ignore[method-assign]
    settings = make_settings("bfs", stop_rule="first")
    search = run_search(make_prompt(), real_roles(engine), settings, roots=[make_root()])
    tree = await asyncio.wait_for(search, 5)
    assert (tree.cancelled, len(tree.nodes)) == (2, 2)
    assert tree.usage.aborted_calls == 2


class DicedEngine(FakeEngine):
    """Each call takes some turns of the event loop, by dice of its seed."""

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order."""
        for _ in range(random.Random(requests[0].sampling.seed).randrange(1, 30)):
            await asyncio.sleep(0)
        return await super().generate(requests)


@pytest.mark.parametrize("rule", ["full", "majority", "race", "posterior"])
async def test_nothing_that_was_asked_is_missing_from_the_record(rule: VoteRule) -> None:
    """Calls answered and calls cut off, as the engine saw them, are all in the trees."""
    meter = InstrumentedEngine(DicedEngine(World(yes=0.6, mute=0.1, broken=0.2)))
    roles = real_roles(meter, vote_rule=rule)
    settings = make_settings("bfs", stop_rule="first")
    trees = [await run_search(make_prompt(str(i), str(i)), roles, settings) for i in range(40)]
    spent = sum((tree.usage for tree in trees), Usage())
    assert sum(tree.cancelled for tree in trees) > 10
    assert meter.aborted > 10
    assert (spent.calls, spent.aborted_calls) == (meter.calls, meter.aborted)


async def test_stop_first_keeps_what_ended_before() -> None:
    """A child that was judged before the passing one is in the record, in the order asked for."""
    engine = HangingEngine(naming_reply("two"), held=["\nthree\n"])
    settings = make_settings("bfs", stop_rule="first")
    search = run_search(make_prompt(), real_roles(engine), settings, roots=[make_root()])
    tree = await asyncio.wait_for(search, 5)
    assert [node.response for node in tree.nodes] == ["r", "one", "two"]


async def test_stop_first_goes_on_while_nothing_passes() -> None:
    """Without a passing child the rule changes nothing."""
    first, whole = TableRoles({"rab": 5}), TableRoles({"rab": 5})
    for table, rule in ((first, "first"), (whole, "wave")):
        settings = make_settings("bfs", stop_rule=rule)
        tree = await run_search(make_prompt(), table.roles, settings, roots=[make_root()])
        assert tree.answer == "rab"
    assert first.judged[:4] == whole.judged[:4]


def failing_reply(request: Request) -> str:
    """Drafts and refinements, and no judge."""
    if kind_of(request) == "judge":
        raise EngineError("the server is gone")
    return refined(str(request.sampling.seed), kind_of(request))


async def test_an_engine_error_ends_the_search() -> None:
    """It is not a fault: it reaches the caller, and no sibling's error is left unheard."""
    engine = FakeEngine(failing_reply)
    with pytest.raises(EngineError, match="gone"):
        await run_search(make_prompt(), real_roles(engine), make_settings("best-of-n"))


async def test_an_engine_error_cancels_the_siblings() -> None:
    """Calls still under way are cancelled in the engine."""

    def reply(request: Request) -> str:
        if kind_of(request) == "judge" and "\none\n" in request.messages[0].content:
            raise EngineError("the server is gone")
        return world(request)

    world = naming_reply("none")
    engine = HangingEngine(reply, held=["\ntwo\n", "\nthree\n"])
    search = run_search(
        make_prompt(), real_roles(engine), make_settings("bfs"), roots=[make_root()]
    )
    with pytest.raises(EngineError):
        await asyncio.wait_for(search, 5)
    assert sorted(engine.cancelled) == ["\nthree\n", "\ntwo\n"]


async def test_errors_of_shared_judgements_are_heard() -> None:
    """Many children that wait for one judgement all end with its error."""

    def reply(request: Request) -> str:
        if kind_of(request) == "judge":
            raise EngineError("the server is gone")
        return refined("same", kind_of(request))

    with pytest.raises(EngineError):
        await run_search(make_prompt(), real_roles(FakeEngine(reply)), make_settings("best-of-n"))


@pytest.mark.parametrize("held", ["Write a line.", "\none\n"], ids=["draft", "judge"])
async def test_cancelling_the_search_cancels_its_calls(held: str) -> None:
    """Whoever cancels a search has nothing more to pay for."""
    engine = HangingEngine(naming_reply("none"), held=[held])
    task = asyncio.create_task(run_search(make_prompt(), real_roles(engine), make_settings("bfs")))
    await asyncio.sleep(0.01)
    assert engine.cancelled == []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.cancelled == [held]


async def test_a_shared_judgement_outlives_no_search() -> None:
    """Children that wait for one held judgement are all cancelled with the search."""
    engine = HangingEngine(
        lambda request: refined("same", kind_of(request)), held=["### Verification"]
    )
    task = asyncio.create_task(
        run_search(make_prompt(), real_roles(engine), make_settings("best-of-n"))
    )
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.cancelled == ["### Verification"]
