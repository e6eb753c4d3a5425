"""The course of a run: models are loaded, prompts searched, totals written, whatever happens on the way.

Where actor and refiner are two local models that do not fit side by side, it has two halves: drafts
first, then that engine is closed and the search runs on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from spar.cli.begun import PromptSource, summary_so_far
from spar.cli.display import Display
from spar.cli.pool import Pool
from spar.config import DecodeConfig
from spar.errors import SparError
from spar.eval.benchmark import Stage
from spar.infer.decode import Observer, decode
from spar.infer.deploy import Engines, deployments, roles_asked
from spar.infer.drafts import FOLDER, DraftStage, KeptDrafts, drafts_missing, forget_drafts
from spar.infer.search import Roles, SearchSettings
from spar.infer.setup import open_roles, search_settings
from spar.infer.summary import Summary
from spar.store import RunStore
from spar.types import SearchTree, Speaker

T = TypeVar("T")


class Interrupted(SparError):
    """Ctrl-C stopped the run."""

    exit_code = 130


@dataclass(slots=True)
class Course:
    """One start of a run."""

    config: DecodeConfig
    source: PromptSource
    store: RunStore
    display: Display
    fresh: bool = False
    stage: Stage = Stage("", ())
    """What differs from the plain search of the settings."""
    pool: Pool | None = None
    """Models that other courses use too and somebody else closes; None closes them with the course."""
    summary: Summary = field(default_factory=Summary)

    @property
    def speakers(self) -> tuple[Speaker, ...]:
        """Roles that ask a model."""
        return self.stage.speakers or roles_asked(self.config)

    async def run(self) -> Summary:
        """Search what is not there yet; returns the totals of the whole run."""
        if self.fresh:
            forget_drafts(self.store.directory)
        self.summary = summary_so_far(self.store.directory)
        if self.summary.trees:
            self.display.note(f"resuming: {self.summary.trees} trees are there already")
        if self._finished():
            return self.summary
        start, earlier = time.monotonic(), self.summary.seconds
        try:
            await _interruptible(self._stages(), self.store)
        finally:
            self.summary.seconds = earlier + time.monotonic() - start
            self.display.close()
            self.store.write_summary({**self.summary.as_dict(), "prompts": self.source.count})
        return self.summary

    def _finished(self) -> bool:
        done = self.store.done
        return len(done) >= self.source.count and all(p.id in done for p in self.source.read())

    async def _stages(self) -> None:
        settings = self._settings()
        needed = self.speakers
        if self.pool is not None:
            await self.pool.make_room(self._unopened(needed).wanted.values(), self._say)
        if not await in_thread(self._in_turn):
            await self._search(settings, needed)
            return
        await self._free_pool()
        missing = drafts_missing(
            self.store.directory, self.source.read(), frozenset(self.store.done)
        )
        if missing:
            await self._drafts(settings)
        rest = tuple(role for role in needed if role != "actor")
        await self._search(settings, rest, kept=True)

    def _settings(self) -> SearchSettings:
        return self.stage.changed(search_settings(self.config, self.store.manifest.digest))

    async def _free_pool(self) -> None:
        if self.pool is not None:
            await self.pool.aclose(self._say)
        self.pool = None

    def _in_turn(self) -> bool:
        """Whether the actor's model must make room for the others; says what is done and why."""
        served = deployments(self.config)
        local = [role for role in self.speakers if not served[role].urls]
        needed = dict.fromkeys(served[role] for role in local)
        others = {served[role] for role in local if role != "actor"}
        if len(needed) < 2 or self.config.engine not in ("hf", "vllm"):
            return False
        from spar.infer.placement import placement

        names = [deployment.model for deployment in needed]
        placed = placement(names, device=self.config.device, dtype=self.config.dtype)
        too_large = placed.arrangement == "in turn"
        in_turn = too_large and "actor" in local and served["actor"] not in others
        how = "drafts first, then the search, since" if in_turn else "loaded side by side:"
        trouble = "; that may fail, the actor's model judges or refines too" * (
            too_large and not in_turn
        )
        self._say(f"{len(set(names))} models: {how} {placed.why}{trouble}")
        return in_turn

    async def _drafts(self, settings: SearchSettings) -> None:
        stage = DraftStage(self.store.directory, self.store.manifest, settings)
        wanted = (p for p in self.source.read() if p.id not in self.store.done)
        async with self._engines(("actor",)) as engines:
            opened = await in_thread(lambda: self._roles(engines))
            self._begin(engines)
            observer = Observer(on_start=self.display.admit, on_tree=self.display.tree)
            await stage.write(wanted, opened, engines.room, observer)
        self.display.close()
        self._say("the drafts are written, their model is freed")

    async def _search(
        self, settings: SearchSettings, roles: tuple[Speaker, ...], *, kept: bool = False
    ) -> None:
        async with self._engines(roles) as engines:
            opened = await in_thread(lambda: self._roles(engines))
            if kept:
                opened = replace(opened, actor=KeptDrafts(self.store.directory / FOLDER))
            self._begin(engines)
            await decode(
                self.source.read(),
                opened,
                settings,
                self.store,
                summary=self.summary,
                room=engines.room,
                observer=Observer(on_start=self.display.admit, on_tree=self._write_tree),
                begin=self.stage.begin(opened) if self.stage.begin else None,
            )

    def _roles(self, engines: Engines) -> Roles:
        return self.stage.change(open_roles(self.config, engines))

    @contextlib.asynccontextmanager
    async def _engines(self, roles: tuple[Speaker, ...]) -> AsyncIterator[Engines]:
        start = time.monotonic()
        engines = self._unopened(roles)
        if self.pool is not None:
            engines.opened = self.pool.meters
        before = engines.facts()
        if not before:
            self.display.note("loading the model ...")
        try:
            yield engines
        finally:
            self.summary.load_seconds += engines.ready - start if engines.ready else 0.0
            for line in engines.describe():
                self._say(line)
            for name, facts in engines.facts().items():
                self.summary.add_engine(name, _since(before.get(name, {}), facts))
            engines.closed = True  # what another thread still loads is not wanted any more
            if self.pool is None:
                await engines.aclose()

    def _unopened(self, roles: tuple[Speaker, ...]) -> Engines:
        return Engines(self.config, self._say, shares=self._shares(roles), roles=roles)

    def _shares(self, roles: tuple[Speaker, ...]) -> dict[str, float]:
        """Model to its share of the memory, where several are loaded in this process."""
        served = deployments(self.config)
        names = {served[role].model for role in roles if not served[role].urls}
        if len(names) < 2 or self.config.engine != "vllm":
            return {}
        from spar.infer.placement import shares, weight_bytes

        return shares({name: weight_bytes(name, 2) for name in names})

    def _begin(self, engines: Engines) -> None:
        engines.ready = time.monotonic()
        done = len(self.store.done)
        self.display.start(self.source.count, done, lambda: engines.completion_tokens)

    def _write_tree(self, tree: SearchTree) -> None:
        for fault in tree.faults:
            self.store.log(f"{tree.prompt.id}: {fault.stage} below {fault.parent}: {fault.reason}")
        self.display.tree(tree)

    def _say(self, line: str) -> None:
        self.store.log(line)
        self.display.note(line)


def _since(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in now.items()}


async def in_thread(work: Callable[[], T]) -> T:
    """Do blocking work aside, so that Ctrl-C is heard meanwhile; nobody waits for an abandoned one."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(done: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            done(value)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = (future.set_result, work())
        except BaseException as error:  # whatever it is belongs to the one who asked
            outcome = (future.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has gone: the run was interrupted
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="spar-loader", daemon=True).start()
    return await future


async def _interruptible(work: Any, store: RunStore) -> None:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(
        NotImplementedError
    ):  # Windows: Ctrl-C then ends the run as an exception
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        raise Interrupted(
            f"interrupted; {len(store.done)} trees are safe in {store.directory}; "
            "run the same command again to resume"
        ) from None
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
