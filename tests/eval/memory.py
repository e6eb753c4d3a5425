"""Run a benchmark's jobs in memory, over one engine and without files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from spar.config import EvalConfig
from spar.eval.benchmark import Answer
from spar.eval.job_outputs import TreeOutputs
from spar.infer.engine import Engine
from spar.infer.engine_wrappers import MissingEngine
from spar.infer.search import run_search
from spar.run.build import open_roles, search_settings
from spar.run.engines import Engines
from spar.run.job import Job
from spar.types import Role, SearchTree


@dataclass(slots=True)
class MemoryOutputs(TreeOutputs):
    """`spar.eval.benchmark.JobOutputs` over dicts."""

    jobs: dict[str, dict[str, SearchTree]] = field(default_factory=dict)
    external_answers: Mapping[str, Answer] | None = None
    external_grades: Mapping[str, tuple[str, ...]] | None = None
    directory: Path | None = None

    def trees(self, job: str) -> Iterable[SearchTree]:
        """The trees of a job."""
        return self.jobs.get(job, {}).values()


@dataclass(slots=True)
class MemoryJobRunner:
    """`spar.eval.benchmark.JobRunner`: every role calls `engine`, a grader calls `grader`."""

    config: EvalConfig
    engine: Engine
    grader: Engine | None = None
    outputs: MemoryOutputs = field(default_factory=MemoryOutputs)
    ran: list[Job] = field(default_factory=list)

    async def run(self, job: Job) -> None:
        """Search prompts that have no tree yet; only the job's roles have an engine."""
        self.ran.append(job)
        config = self.config.model_copy(update=dict(job.settings))
        asked = job.model_roles(config)
        engine = self.grader if job.grader else self.engine
        assert engine is not None, "there is no grader"
        roles = job.change(open_roles(config, cast("Engines", _OneEngine(engine, asked))))
        settings = job.changed(search_settings(config, ""))
        provider = job.roots(roles) if job.roots else None
        done = self.outputs.jobs.setdefault(job.name, {})
        missing = [prompt for prompt in job.prompts if prompt.id not in done]
        starts = [await provider(prompt) if provider else () for prompt in missing]
        pairs = zip(missing, starts, strict=True)
        searches = [run_search(prompt, roles, settings, roots=roots) for prompt, roots in pairs]
        for tree in await asyncio.gather(*searches):
            done[tree.prompt.id] = SearchTree.from_json(tree.to_json())


@dataclass(frozen=True, slots=True)
class _OneEngine:
    engine: Engine
    asked: tuple[Role, ...]

    def get(self, role: Role) -> Engine:
        return self.engine if role in self.asked else MissingEngine(role)
