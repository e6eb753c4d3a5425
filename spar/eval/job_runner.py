"""The stages of an evaluation: each is a run directory, and all of them share the loaded models.

A stage whose every prompt has its tree is not opened at all, and no model is loaded for it; a server is
asked no more than for its name, so that answers of another model are not taken for its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spar.config import EvalConfig
from spar.errors import SparError, UsageError
from spar.eval.job_outputs import RunOutputs
from spar.files import locked
from spar.listener import Listener
from spar.plugins import BENCHMARKS, ENGINES, strategy_with
from spar.record.evaluation import RESULTS
from spar.record.outcomes import pluralize
from spar.record.own_files import EVALUATION_FILES
from spar.run.build import judge_with, make_manifest
from spar.run.engine_pool import EnginePool
from spar.run.job import Job
from spar.run.resolve import models, resolve_config, urls
from spar.run.resume import PromptSource, is_complete
from spar.run.session import Run
from spar.store import (
    LOCK,
    MANIFEST,
    SUMMARY,
    TREES,
    RunStore,
    read_manifest,
    refuse_other_kind,
)
from spar.types import ROLES


@dataclasses.dataclass(slots=True)
class DirectoryJobRunner:
    """`spar.eval.benchmark.JobRunner` over run directories."""

    config: EvalConfig
    outputs: RunOutputs
    listener: Listener
    pool: EnginePool
    offline: bool = dataclasses.field(default=False, kw_only=True)
    """Whether a model that is not on this machine is an error, rather than downloaded."""

    async def run(self, job: Job) -> None:
        """Search every prompt of a stage that is not in its run directory yet.

        Raises
        ------
        ConfigChanged
            The directory holds a stage of another configuration.
        """
        config = self._config(job)
        directory = self.outputs.directory / job.name
        source = PromptSource(lambda: iter(job.prompts), len(job.prompts))
        roles = job.model_roles(config)
        on_server = any(urls(config)[role] for role in roles)
        finished = is_complete(directory, config, source)
        summarized = _is_summarized(directory)
        if finished and summarized and not on_server:
            return
        try:
            note = self.pool.once(self.listener.note)
            config = resolve_config(config, note, roles=roles, offline=self.offline)
        except SparError as error:
            if not finished:
                raise
            self.listener.note(f"{error}; not needed, this stage is finished")
            return
        if finished and summarized and is_complete(directory, config, source):
            return  # and not by another model of that server
        if job.prompts:
            self.listener.note(self._title(job, config))
        with RunStore.open(directory, make_manifest(config)) as store:
            run = Run(config, source, store, self.listener, job=job, pool=self.pool)
            await run.execute()

    def _config(self, job: Job) -> EvalConfig:
        config = grader_config(self.config) if job.grader else self.config
        # A job with a budget of its own has nothing to share out.
        own = {"total_budget": None} if "budget" in job.settings else {}
        return config.changed({**own, **job.settings})

    def _title(self, job: Job, config: EvalConfig) -> str:
        name = f"{config.benchmark}/{job.name}" if job.name else config.benchmark
        strategy = job.strategy_name or config.strategy
        return f"{name}: {pluralize(len(job.prompts), 'prompt')}, {strategy}"


def start_all(runners: Sequence[DirectoryJobRunner], *, fresh: bool) -> None:
    """Make the directories ready: empty for a fresh start, an evaluation's own where the answers come from a file.

    Raises
    ------
    ConfigChanged
        One holds another evaluation of answers from a file.
    UsageError, EngineError
        The models of a fresh start cannot be had, its strategy or judge refuses an option, or a directory holds a run
        of another kind; nothing is deleted.
    RunLocked
        Another process is writing to one of them; nothing is deleted.
    """
    if fresh:
        for runner in runners:
            if runner.outputs.external_answers is None:  # a dead server must not cost the old run
                note = runner.pool.once(runner.listener.note)
                config = resolve_config(runner.config, note, offline=runner.offline)
                strategy_with(config.strategy, config.strategy_args)
                judge_with(config)
        forget({r.outputs.directory: BENCHMARKS.recorded_name(r.config.benchmark) for r in runners})
    for runner in runners:
        if runner.outputs.external_answers is not None:
            RunStore.open(runner.outputs.directory, make_manifest(runner.config)).close()


def _is_summarized(directory: Path) -> bool:
    """Whether a run has a summary of its last tree; not where it was killed before it wrote one."""
    try:
        written = (directory / SUMMARY).stat().st_mtime_ns
        return written >= (directory / TREES).stat().st_mtime_ns
    except FileNotFoundError:
        return False


def grader_config(config: EvalConfig) -> EvalConfig:
    """The settings with the grader's model in every role; the judge's where it has none of its own."""
    grader = _own_grader(config) if config.grader_model or config.grader_url else _judge(config)
    engine, served = grader["engine"], bool(grader["base_url"])
    accepts = ENGINES.spec(engine).accepts if engine != "auto" else _ANY
    changed: dict[str, Any] = {f"{role}_model": "" for role in ROLES}
    changed |= {f"{role}_url": () for role in ROLES}
    # Settings of the run's own engine, which another one would refuse.
    if served or "engine_args" not in accepts:
        changed |= {"engine_args": {}, "speculative_decoding": "auto"}
    if served or "replicas" not in accepts:
        changed |= {"replicas": 1, "ray_address": ""}
    return config.model_copy(update={**changed, **grader})


def _own_grader(config: EvalConfig) -> dict[str, Any]:
    engine = config.grader_engine
    if engine == "auto" and not config.grader_url and _is_local(config.engine):
        engine = config.engine
    return {
        "model": config.grader_model,
        "base_url": config.grader_url,
        "adapter": {},
        "engine": engine,
        # These are for the run's models; the grader's own are in `grade`.
        "chat_template_args": {},
        "reasoning_effort": "auto",
        "extra_body": {},
    }


def _judge(config: EvalConfig) -> dict[str, Any]:
    servers, adapter = urls(config)["judge"], config.adapter.get("judge", "")
    elsewhere = servers and _is_local(config.engine)
    return {
        "model": models(config)["judge"],
        "base_url": servers,
        "adapter": dict.fromkeys(ROLES, adapter) if adapter else {},
        "engine": "auto" if elsewhere else config.engine,
    }


_ANY = frozenset({"engine_args", "replicas"})


def _is_local(engine: str) -> bool:
    """Whether an engine, picked already, runs models itself."""
    return engine != "auto" and ENGINES.spec(engine).urls == "refused"


def forget(evaluations: Mapping[Path, str]) -> None:
    """Delete the own files of evaluations and the directories of their stages, and nothing else.

    A directory below it with results is an evaluation of its own: a point of a sweep, for one. A run that is not
    of this benchmark belongs to another program.

    Parameters
    ----------
    evaluations:
        Directory to benchmark; one that does not exist is none.

    Raises
    ------
    RunLocked
        Another process is writing to one, so nothing is deleted.
    UsageError
        A directory holds a run of another kind, or its manifest is damaged; nothing is deleted.
    """
    present = {path: name for path, name in evaluations.items() if path.is_dir()}
    stages = [c for path, name in present.items() for c in path.iterdir() if _is_stage(c, name)]
    own = [path for path in present if (path / MANIFEST).is_file()]
    for path in own:
        refuse_other_kind(read_manifest(path), "evaluation", path)
    with contextlib.ExitStack() as locks:
        for run in (*own, *stages):
            locks.enter_context(locked(run / LOCK))
        for stage in stages:
            shutil.rmtree(stage)
        for path in own:
            for name in EVALUATION_FILES:
                (path / name).unlink(missing_ok=True)


def _is_stage(directory: Path, benchmark: str) -> bool:
    """Whether a directory is a stage of an evaluation by this benchmark."""
    if directory.is_symlink() or (directory / RESULTS).is_file():
        return False
    try:
        return read_manifest(directory).config.get("benchmark") == benchmark
    except UsageError:  # it holds no run, or none that can be read
        return False
