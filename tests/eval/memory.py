"""Stages in memory: what a benchmark asks of a run, over one engine and without files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from spar.config import EvalConfig
from spar.eval.benchmark import Answer, Stage
from spar.eval.kept import KeptTrees
from spar.infer.deploy import Engines, roles_asked
from spar.infer.engine import Engine
from spar.infer.meter import Unopened
from spar.infer.search import run_search
from spar.infer.setup import open_roles, search_settings
from spar.types import SearchTree, Speaker


@dataclass(slots=True)
class MemoryKept(KeptTrees):
    """`spar.eval.benchmark.Kept` over dicts."""

    stages: dict[str, dict[str, SearchTree]] = field(default_factory=dict)
    given: Mapping[str, Answer] | None = None
    graded: Mapping[str, tuple[str, ...]] | None = None
    directory: Path | None = None

    def trees(self, stage: str) -> Iterable[SearchTree]:
        """The trees of a stage."""
        return self.stages.get(stage, {}).values()


@dataclass(slots=True)
class MemoryStages:
    """`spar.eval.benchmark.Stages`: every role asks `engine`, a grader asks `grader`."""

    config: EvalConfig
    engine: Engine
    grader: Engine | None = None
    kept: MemoryKept = field(default_factory=MemoryKept)
    ran: list[Stage] = field(default_factory=list)

    async def run(self, stage: Stage) -> None:
        """Search what has no tree yet; roles that are not among the stage's speakers have no engine."""
        self.ran.append(stage)
        config = self.config.model_copy(update=dict(stage.settings))
        asked = stage.speakers or roles_asked(config)
        engine = self.grader if stage.grader else self.engine
        assert engine is not None, "there is no grader"
        roles = stage.change(open_roles(config, cast("Engines", _OneEngine(engine, asked))))
        settings = stage.changed(search_settings(config, ""))
        begin = stage.begin(roles) if stage.begin else None
        done = self.kept.stages.setdefault(stage.name, {})
        missing = [prompt for prompt in stage.prompts if prompt.id not in done]
        starts = [await begin(prompt) if begin else () for prompt in missing]
        pairs = zip(missing, starts, strict=True)
        searches = [run_search(prompt, roles, settings, roots=roots) for prompt, roots in pairs]
        for tree in await asyncio.gather(*searches):
            done[tree.prompt.id] = SearchTree.from_json(tree.to_json())


@dataclass(frozen=True, slots=True)
class _OneEngine:
    engine: Engine
    asked: tuple[Speaker, ...]

    def get(self, role: Speaker) -> Engine:
        return self.engine if role in self.asked else Unopened(role)
