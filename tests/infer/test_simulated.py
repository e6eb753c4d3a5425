"""The simulated engine's clock, and how well the schedule keeps that engine busy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from simulated import SimulatedEngine, SimulatedHardware, VirtualLoop, reply_length

from spar.config import load_decode
from spar.infer.decode import decode
from spar.infer.engine import Request, Sampling
from spar.infer.engine_wrappers import InstrumentedEngine
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.infer.summary import Summary
from spar.infer.votes import VoteRule
from spar.run.build import make_manifest, open_roles, search_settings
from spar.run.engines import Engines
from spar.run.resolve import deployments
from spar.store import RunStore
from spar.types import Message
from tests.fakes import make_prompt

T = TypeVar("T")


def virtually(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run on a virtual clock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work())


def ask(i: int) -> Request:
    """A request with its own prompt and seed."""
    return Request((Message(role="user", content=f"say {i}"),), Sampling(0.7, seed=i))


async def timed(engine: Any, requests: list[Request]) -> float:
    """Seconds that the requests take in one call."""
    clock = asyncio.get_running_loop().time
    start = clock()
    await engine.generate(requests)
    return clock() - start


def test_a_single_request_takes_its_length() -> None:
    """Its tokens times the time of a step with one row."""
    hardware = SimulatedHardware()
    seconds = virtually(lambda: timed(SimulatedEngine(hardware), [ask(1)]))
    assert seconds == pytest.approx(reply_length(ask(1), hardware) * (0.0075 + 18e-6))


def test_prompts_are_read_one_by_one() -> None:
    """A prompt that neighbours share is read once."""
    hardware = SimulatedHardware(prefill_seconds=1.0)

    def extra(requests: list[Request]) -> float:
        free = virtually(lambda: timed(SimulatedEngine(SimulatedHardware()), requests))
        return virtually(lambda: timed(SimulatedEngine(hardware), requests)) - free

    votes = [replace(ask(1), sampling=Sampling(0.7, seed=seed)) for seed in range(5)]
    assert extra([ask(1)]) == pytest.approx(1.0)
    assert extra(votes) == pytest.approx(1.0)
    assert extra([ask(i) for i in range(5)]) == pytest.approx(5.0)


def test_requests_wait_for_slots() -> None:
    """Ten equal requests on five slots take twice as long as five."""
    hardware = SimulatedHardware(slots=5)
    five = virtually(lambda: timed(SimulatedEngine(hardware), [ask(1)] * 5))
    ten = virtually(lambda: timed(SimulatedEngine(hardware), [ask(1)] * 10))
    assert ten == pytest.approx(2 * five)
    assert five == pytest.approx(reply_length(ask(1), hardware) * (0.0075 + 5 * 18e-6))


def test_a_cancelled_request_frees_its_slot() -> None:
    """The next request starts at once."""

    async def work() -> tuple[float, float]:
        engine = SimulatedEngine(SimulatedHardware(slots=1))
        cancelled = asyncio.create_task(engine.generate([ask(1)]))
        waiting = asyncio.create_task(timed(engine, [ask(2)]))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        behind = await waiting
        return behind, await timed(engine, [ask(2)])

    behind, alone = virtually(work)
    assert behind == pytest.approx(alone + 0.05, abs=0.02)


def test_lengths_have_the_configured_mean() -> None:
    """Within the standard error."""
    lengths = [reply_length(ask(i), SimulatedHardware()) for i in range(4000)]
    assert sum(lengths) / len(lengths) == pytest.approx(100, rel=0.05)
    assert max(lengths) > 4 * 100


async def searched(directory: Path, engine: Any, num_prompts: int, rule: VoteRule) -> float:
    """Seconds of a BFS with the admission of `spar decode`."""
    config = load_decode("nano", {"engine": "fake", "vote_rule": rule})
    meter = InstrumentedEngine(engine)
    engines = Engines(config, opened=dict.fromkeys(deployments(config).values(), meter))
    clock = asyncio.get_running_loop().time
    with RunStore.open(directory, make_manifest(config)) as store:
        roles, settings = open_roles(config, engines), search_settings(config, "")
        prompts = [make_prompt(f"Line {i}.", str(i)) for i in range(num_prompts)]
        start = clock()
        await decode(prompts, roles, settings, store, summary=Summary(), room=engines.room)
        return clock() - start


@pytest.mark.parametrize(("slots", "bound"), [(64, 1.05), (256, 1.10)])
def test_the_search_takes_little_longer_than_its_requests_in_one_batch(
    slots: int, bound: float, tmp_path: Path
) -> None:
    """There is no barrier between prompts; with `majority`, less work takes less time."""

    async def work() -> tuple[float, float, float]:
        made: list[Request] = []
        recording = SimulatedEngine(SimulatedHardware(slots=slots), on_request=made.append)
        search = await searched(tmp_path / "full", recording, 136, "full")
        requests = [replace(request, tree=0) for request in made]
        flat = await timed(SimulatedEngine(SimulatedHardware(slots=slots)), requests)
        saving = await searched(
            tmp_path / "majority", SimulatedEngine(SimulatedHardware(slots=slots)), 136, "majority"
        )
        return search, flat, saving

    search, flat, saving = virtually(work)
    assert 0.9 < search / flat <= bound
    assert saving < search


def test_one_prompt_takes_the_time_of_its_longest_chain(tmp_path: Path) -> None:
    """Draft, votes, and three waves of refinements and votes: exactly the time of eight calls."""

    def never(request: Request) -> str:
        return scripted_reply(request).replace("Judgement: Yes", "Judgement: No")

    engine = FakeEngine(never, latency=1.0)
    assert virtually(lambda: searched(tmp_path, engine, 1, "full")) == pytest.approx(8)
