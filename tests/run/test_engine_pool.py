"""The pool of loaded models: what may stand for what, and who makes room for whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spar.config import DecodeConfig
from spar.errors import EngineError
from spar.infer.engine import Deployment
from spar.infer.engine_wrappers import InstrumentedEngine, unwrap
from spar.infer.engines.fake import FakeEngine
from spar.run.engine_pool import EnginePool
from spar.run.engines import Engines
from spar.types import Role

MODEL = Deployment("m", adapters=("a", "b"), share=0.5, engine="vllm")


class Stuck(FakeEngine):
    """An engine that does not close."""

    async def aclose(self) -> None:
        """Fail."""
        raise OSError("stuck")


def silent(_: str) -> None:
    """Tell nobody."""


def pool(*deployments: Deployment) -> EnginePool:
    """A pool with these open."""
    return EnginePool({one: InstrumentedEngine(FakeEngine(lambda _: "")) for one in deployments})


@pytest.mark.parametrize(
    ("changes", "serves"),
    [
        ({}, True),
        ({"share": 1.0}, True),
        ({"share": 0.25}, False),
        ({"adapters": ("b",)}, True),
        ({"adapters": ("c",)}, False),
        ({"engine": "hf"}, False),
        ({"model": "n"}, False),
        ({"urls": ("http://a",)}, False),
    ],
)
async def test_an_open_model_stands_for_what_asks_no_more_of_it(
    changes: dict[str, object], serves: bool
) -> None:
    """It stays where it will do; else it makes room, since two of it would not fit."""
    needed = replace(MODEL, **changes)  # type: ignore[arg-type]  # fields by name
    assert MODEL.serves(needed) is serves
    held = pool(MODEL)
    await held.make_room([needed], silent)
    assert (MODEL in held.engines) is (serves or bool(needed.urls))


async def test_a_judge_that_shared_the_memory_judges_on_alone() -> None:
    """Half the memory is enough for it: the model is not loaded a second time."""
    config = DecodeConfig(engine="fake", actor_model="x", judge_model="y")
    both = Engines(config, shares={"x": 0.5, "y": 0.5}, roles=("actor", "judge"))
    meters = [both.get("actor"), both.get("judge")]
    judge: tuple[Role, ...] = ("judge",)
    alone = Engines(config, roles=judge, opened=both.opened)
    await EnginePool(both.opened).make_room(alone.needed.values(), silent)
    assert unwrap(alone.get("judge")) is unwrap(meters[1])
    assert [*map(unwrap, alone.engines.values())] == [unwrap(meters[1])]
    assert len(both.opened) == 2


async def test_only_idle_models_of_this_process_make_room() -> None:
    """What is wanted stays, and so does a server; without anything to load everything stays."""
    server, idle = Deployment("s", ("http://a",), engine="openai"), replace(MODEL, model="idle")
    held = pool(MODEL, server, idle)
    await held.make_room([MODEL], silent)
    assert set(held.engines) == {MODEL, server, idle}
    await held.make_room([MODEL, replace(MODEL, model="new")], silent)
    assert set(held.engines) == {MODEL, server}


async def test_an_engine_that_does_not_close_keeps_no_other_open() -> None:
    """It is told, and the rest is freed."""
    told: list[str] = []
    other = InstrumentedEngine(FakeEngine(lambda _: ""))
    held = EnginePool({MODEL: InstrumentedEngine(Stuck(lambda _: "")), Deployment("n"): other})
    await held.aclose(told.append)
    assert held.engines == {}
    assert told == ["an engine did not close: stuck"]
    with pytest.raises(EngineError, match="closed"):
        await other.generate([])
