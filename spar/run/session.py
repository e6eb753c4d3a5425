"""A run: load the models, search every prompt that has no tree yet, write the totals.

Where actor and refiner are two local models that do not fit in memory together, the run has two phases:
all drafts first, then the actor's engine is closed and the searches run on the stored drafts. So it is where
the replicas of both find no room on a cluster at the same time. With a total budget each round that needs further
drafts has two phases.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from spar.config import DecodeConfig
from spar.infer.cut_replies import LIMITS, CutReplies, cut_lines
from spar.infer.decode import decode
from spar.infer.journal import Journal, drop_replies
from spar.infer.roles import Roles
from spar.infer.rounds import FurtherSearch
from spar.infer.search import SearchSettings
from spar.infer.summary import Summary
from spar.listener import Activity, Broadcast, Listener
from spar.record.run_log import start_line
from spar.run.blocking import in_thread
from spar.run.build import open_roles, search_settings
from spar.run.engine_pool import EnginePool
from spar.run.engines import Engines
from spar.run.job import Job
from spar.run.placement import check_second_phase, memory_shares, needs_two_phases
from spar.run.prompt_checks import check_prompts
from spar.run.resume import PromptSource, load_summary, outdated
from spar.run.total_budget import RoundOfSearches, check_total_budget, next_round
from spar.run.two_phase import (
    FOLDER,
    DraftPhase,
    StoredDrafts,
    discard_drafts,
    missing_drafts,
    num_drafts,
)
from spar.store import CALLS, RunStore
from spar.types import Prompt, Role, SearchTree


@dataclass(slots=True)
class Run:
    """One start of a run: of a new one, or of one that is resumed."""

    config: DecodeConfig
    """Resolved settings (`spar.run.resolve.resolve_config`)."""
    source: PromptSource
    store: RunStore
    listener: Listener = Listener()
    job: Job = Job("", ())
    """What differs from the plain search of the settings."""
    pool: EnginePool | None = None
    """Engines shared with other runs, closed by the pool's owner; None closes them with the run."""
    summary: Summary = field(default_factory=Summary)
    _journal: Journal | None = None

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles that call a model."""
        return self.job.model_roles(self.config)

    async def execute(self) -> Summary:
        """Search every prompt without a tree; returns the totals of the whole run.

        Raises
        ------
        RunStopped
            A request could not be served, or the disk is full. The run can be resumed.
        UsageError
            A model cannot be loaded or a server refuses to serve it.
        """
        self.source = self.source.resumed(self.store.trees)
        self._discard_outdated()
        ids = {prompt.id for prompt in self.source.read()}
        self.summary = load_summary(self.store.directory, ids)
        for line in self._resumed(len(self.store.trees)):
            self.listener.note(line)
        self.summary.total_budget = self.config.total_budget
        if await in_thread(lambda: self._is_finished(ids)):
            self._note_spent()
            self._open_journal(ids).close(finished=True)  # killed after its last tree
            self.store.write_summary({**self.summary.as_dict(), "prompts": self.source.count})
            return self.summary
        await in_thread(self._check_prompts)
        start, earlier = time.monotonic(), self.summary.seconds
        try:
            with self._journaling(ids):
                await self._execute()
            self._note_spent()
            for line in cut_lines(self.config, self.summary.roles, self._limits):
                self._note(line)
        except asyncio.CancelledError:
            self._note(self.store.saved(f"in {self.store.directory}"))
            raise
        finally:
            self.summary.seconds = earlier + time.monotonic() - start
            self.store.write_summary({**self.summary.as_dict(), "prompts": self.source.count})
        return self.summary

    def _is_finished(self, ids: Set[str]) -> bool:
        if self.config.total_budget is None:
            return self.store.done >= ids
        check_total_budget(self.config, self.source.count, self.job)
        return self._next_round() is None

    def _next_round(self) -> RoundOfSearches | None:
        ids = [prompt.id for prompt in self.source.read()]
        return next_round(self.store.directory, ids, self.config)

    def _note_spent(self) -> None:
        total, spent = self.config.total_budget, self.summary.responses
        if total is not None:
            unsolved = self.summary.trees - self.summary.stops["solved"]
            self._note(
                f"{spent:,} of {total:,} responses are spent; prompts without a response that passes: {unsolved:,}"
            )

    def _discard_outdated(self) -> None:
        """Take the trees out of the run that are searched again."""
        ids = outdated(self.store, self.config, self.source)
        if ids:
            self._note(f"trees that are searched again: {len(ids)}, the first is {ids[0]!r}")
            drop_replies(self.store.directory / CALLS, frozenset(ids), self._note)
            self.store.discard(frozenset(ids))

    def _resumed(self, num_stored: int) -> Iterator[str]:
        """Lines about what an earlier start has left."""
        if self.summary.trees:
            yield f"resuming: {self.summary.trees} trees are stored"
        if num_others := num_stored - self.summary.trees:
            yield f"stored trees of prompts that are not asked for: {num_others}; they are not counted"
        if self.summary.unanswered:
            yield (
                f"stored trees without an answer: {self.summary.unanswered}; "
                "--redo unanswered searches them again"
            )

    @contextlib.contextmanager
    def _journaling(self, ids: Set[str]) -> Iterator[None]:
        """Keep the replies of the trees in flight on the disk until all trees are stored."""
        self._journal = self._open_journal(ids)
        if self._journal.num_stored:
            self._note(f"{self._journal.num_stored} replies of unfinished trees are stored, too")
        finished = False
        try:
            yield
            finished = True
        finally:
            self._journal.close(finished=finished)

    def _open_journal(self, ids: Set[str]) -> Journal:
        # With rounds, a prompt whose tree is stored may be searched further.
        done = self.store.done if self.config.total_budget is None else frozenset()
        return Journal(self.store.directory / CALLS, done, self._note, prompts=ids)

    def _check_prompts(self) -> None:
        missing = (prompt for prompt in self.source.read() if prompt.id not in self.store.done)
        check_prompts(self.config, self.job, missing, self._note)

    async def _execute(self) -> None:
        settings = self.job.changed(search_settings(self.config, self.store.manifest.digest))
        if self.pool is not None:
            needed = self._new_engines(self.roles).needed.values()
            await self.pool.make_room(needed, self._note)
        opened = () if self.pool is None else self.pool.engines
        in_turn = await in_thread(
            lambda: needs_two_phases(self.config, self.roles, opened, self._note)
        )
        if in_turn:
            await self._prepare_phases()
        if self.config.total_budget is not None:
            await self._search_in_rounds(settings, in_turn=in_turn)
            return
        done = frozenset(self.store.done)
        undone = ((p, 0) for p in self.source.read() if p.id not in done)
        if in_turn and any(missing_drafts(self.store.directory, undone)):
            await self._draft(settings, (p for p in self.source.read() if p.id not in done))
        async with self._open_search(settings, in_turn=in_turn) as (engines, search):
            with self._activity(engines, total=self.source.count, done=self.summary.trees):
                await search(self.source.read(), summary=self.summary)

    async def _prepare_phases(self) -> None:
        """Close what is open, and drop stored drafts that are not those of the prompts."""
        if self.pool is not None:
            await self.pool.aclose(self._note)
            self.pool = None
        done = frozenset(self.store.done)
        await in_thread(lambda: check_second_phase(self.config, self._other_roles))
        discard_drafts(
            self.store.directory,
            self.store.manifest,
            (prompt for prompt in self.source.read() if prompt.id not in done),
            unanswered="unanswered" in self.config.redo,
        )

    @property
    def _other_roles(self) -> tuple[Role, ...]:
        return tuple(role for role in self.roles if role != "actor")

    async def _draft(
        self,
        settings: SearchSettings,
        prompts: Iterable[Prompt],
        searches: Mapping[str, FurtherSearch] | None = None,
    ) -> None:
        """Load the actor's model, and write drafts that are missing.

        Parameters
        ----------
        searches:
            Of a round: how the drafts of each prompt are made, or added to those that it has.
        """
        number = num_drafts(self.config, self.config.budget)
        phase = DraftPhase(self.store.directory, self.store.manifest, settings, number)
        total = self.source.count if searches is None else len(searches)
        done = self.summary.trees if searches is None else 0
        async with self._open_engines(("actor",)) as engines:
            roles = await in_thread(lambda: self._open_roles(engines))
            cut = self._cut_replies()
            with self._activity(engines, total=total, done=done):
                await phase.write(
                    prompts, roles, engines.room, self.listener, cut_replies=cut, searches=searches
                )
        self._note("the drafts are stored, their model is freed")

    @contextlib.asynccontextmanager
    async def _open_search(
        self, settings: SearchSettings, *, in_turn: bool
    ) -> AsyncIterator[tuple[Engines, Callable[..., Any]]]:
        """The engines of the searches, and the call that makes them; `in_turn` reads the drafts from the disk."""
        async with self._open_engines(self._other_roles if in_turn else self.roles) as engines:
            roles = await in_thread(lambda: self._open_roles(engines))
            if in_turn:
                roles = replace(
                    roles, actor=StoredDrafts(self.store.directory / FOLDER, settings.seed)
                )
            search = partial(
                decode,
                roles=roles,
                settings=settings,
                store=self.store,
                room=engines.room,
                listener=Broadcast(_AfterTree(self.store, self._journal), self.listener),
                cut_replies=self._cut_replies(),
                roots=self.job.roots(roles) if self.job.roots else None,
            )
            yield engines, search

    async def _search_in_rounds(self, settings: SearchSettings, *, in_turn: bool) -> None:
        """Each round to its end before the next is planned; the totals are those of the last trees."""

        def plan() -> tuple[RoundOfSearches | None, Mapping[str, FurtherSearch]]:
            planned = self._next_round()
            if planned is None or not in_turn:
                return planned, {}
            needed = {
                name: num_drafts(self.config, search.budget)
                for name, search in planned.searches.items()
            }
            searched = ((p, needed[p.id]) for p in self.source.read() if p.id in needed)
            return planned, dict(missing_drafts(self.store.directory, searched))

        try:
            planned, missing = await in_thread(plan)
            while planned is not None:
                if missing:
                    await self._draft(settings, self.source.read(), missing)
                async with self._open_search(settings, in_turn=in_turn) as (engines, search):
                    missing = {}
                    while planned is not None and not missing:
                        await self._search_round(planned, engines, search)
                        planned, missing = await in_thread(plan)
        finally:
            ids = {prompt.id for prompt in self.source.read()}
            stored = load_summary(self.store.directory, ids)
            mine = self.summary
            self.summary = replace(
                stored,
                total_budget=self.config.total_budget,
                seconds=mine.seconds,
                load_seconds=mine.load_seconds,
                engines=mine.engines,
            )

    async def _search_round(
        self, planned: RoundOfSearches, engines: Engines, search: Callable[..., Any]
    ) -> None:
        searches = {name: further.run for name, further in planned.searches.items()}
        if planned.number > 1:
            self._note(
                f"round {planned.number}: {planned.spent:,} of {self.config.total_budget:,} responses are "
                f"spent, {len(searches):,} prompts are searched further"
            )
        with self._activity(engines, total=len(searches), done=0):
            await search(self.source.read(), searches=searches, summary=Summary())
        await in_thread(self.store.discard_replaced)

    @property
    def _limits(self) -> Mapping[Role, str]:
        return {**LIMITS, **self.job.limits}

    def _cut_replies(self) -> CutReplies:
        judge = self.summary.roles["judge"]  # of the trees that earlier starts left
        # Replies of a cache come first, and it may hold those of the worst prompts alone.
        may_stop = judge.calls == judge.cut_calls and not self.config.response_cache
        return CutReplies(self._note, limits=self._limits, may_stop=may_stop)

    def _open_roles(self, engines: Engines) -> Roles:
        return self.job.change(open_roles(self.config, engines))

    @contextlib.asynccontextmanager
    async def _open_engines(self, roles: tuple[Role, ...]) -> AsyncIterator[Engines]:
        start = time.monotonic()
        engines = self._new_engines(roles)
        if self.pool is not None:
            self.pool.lend(engines)
        before = engines.counts()
        if roles and not before:
            self.listener.note(engines.opening_note)
        try:
            yield engines
        finally:
            self.summary.load_seconds += engines.ready - start if engines.ready else 0.0
            for line in engines.describe():
                self._note(line)
            for name, counts in engines.counts().items():
                self.summary.add_engine(name, _difference(counts, before.get(name, {})))
            engines.finish()
            if self.pool is None:
                await engines.aclose()

    def _new_engines(self, roles: tuple[Role, ...]) -> Engines:
        shares = memory_shares(self.config, roles)
        engines = Engines(self.config, self._note, shares, roles=roles)
        if self._journal is not None:
            engines.wrap = self._journal.wrap
        return engines

    @contextlib.contextmanager
    def _activity(self, engines: Engines, *, total: int, done: int) -> Iterator[None]:
        engines.ready = engines.ready or time.monotonic()
        self.store.log(start_line(done, total))
        activity = Activity(total=total, done=done, tokens=lambda: engines.generated_tokens)
        self.listener.started(activity)
        try:
            yield
        finally:
            self.listener.finished(activity)

    def _note(self, line: str) -> None:
        self.store.log(line)
        self.listener.note(line)


class _AfterTree(Listener):
    """Logs the faults of each stored tree in the run directory, and drops its replies from the journal."""

    def __init__(self, store: RunStore, journal: Journal | None) -> None:
        self._store, self._journal = store, journal

    def tree(self, tree: SearchTree) -> None:
        """Log its faults, drop its replies."""
        if self._journal is not None:
            self._journal.forget(tree.prompt.id)
        for fault in tree.faults:
            parent = "" if fault.parent is None else f" below node {fault.parent}"
            self._store.log(f"{tree.prompt.id}: {fault.stage}{parent}: {fault.reason}")


def _difference(now: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in now.items()}
