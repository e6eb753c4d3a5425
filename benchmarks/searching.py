"""Shared by the benchmarks of the schedule: a search over any engine, with its requests recorded.

Not a command. `search` runs spar's own `decode` into a run directory; `replay` sends requests again
as one flat batch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from simulated import VirtualLoop

from spar.config import DecodeConfig
from spar.infer.decode import decode
from spar.infer.engine import Completion, Engine, Request
from spar.infer.engine_wrappers import EngineWrapper, InstrumentedEngine
from spar.infer.summary import Summary
from spar.run.build import make_manifest, open_roles, search_settings
from spar.run.engines import Engines
from spar.run.resolve import deployments
from spar.store import RunStore
from spar.types import Message, Prompt

T = TypeVar("T")


@dataclass(slots=True)
class Recorder(EngineWrapper):
    """Notes each call on its way to an engine."""

    calls: list[Sequence[Request]] = field(default_factory=list)

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order of asking."""
        return [request for call in self.calls for request in call]

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Note and pass on."""
        self.calls.append(requests)
        return await self.engine.generate(requests)

    async def aclose(self) -> None:
        """The engine is closed by who opened it."""


@dataclass(frozen=True, slots=True)
class Searched:
    """A search that was run."""

    seconds: float
    """By the event loop's clock."""
    summary: Summary
    calls: list[Sequence[Request]]


def plain_prompts(count: int) -> Iterator[Prompt]:
    """Prompts without constraints, made one at a time."""
    for i in range(count):
        yield Prompt(id=str(i), messages=(Message(role="user", content=f"Say something, {i}."),))


async def search(
    config: DecodeConfig, prompts: Iterable[Prompt], engine: Engine, *, keep: bool = True
) -> Searched:
    """Run a search over an open engine; with `keep=False` requests are not stored, so memory stays constant."""
    recorder = Recorder(engine)
    meter = InstrumentedEngine(recorder if keep else engine)
    engines = Engines(config, opened=dict.fromkeys(deployments(config).values(), meter))
    summary, clock = Summary(), asyncio.get_running_loop().time
    with (
        tempfile.TemporaryDirectory() as folder,
        RunStore.open(Path(folder) / "run", make_manifest(config)) as store,
    ):
        roles = open_roles(config, engines)
        settings = search_settings(config, store.manifest.digest)
        start = clock()
        await decode(prompts, roles, settings, store, summary=summary, room=engines.room)
        return Searched(clock() - start, summary, recorder.calls)


async def replay(engine: Engine, requests: Sequence[Request]) -> float:
    """Seconds of the same requests thrown at the engine all at once."""
    clock = asyncio.get_running_loop().time
    start = clock()
    await engine.generate(requests)
    return clock() - start


def run(work: Callable[[], Coroutine[Any, Any, T]], *, virtual: bool) -> T:
    """Run on an ordinary event loop, or on one whose clock jumps."""
    with asyncio.Runner(loop_factory=VirtualLoop if virtual else None) as runner:
        return runner.run(work())


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    made = argparse.ArgumentParser(description=(description or "").split("\n", 1)[0])
    made.add_argument("--json", action="store_true", help="print the rows as the last line")
    return made


def print_machine() -> None:
    """Say what the numbers were measured on."""
    print(
        f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    )


def print_json(rows: list[dict[str, Any]]) -> None:
    """The rows in one line."""
    print(json.dumps(rows), flush=True)
