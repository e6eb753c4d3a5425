"""The stages of an evaluation: each is a run directory, and all of them share the loaded models.

A stage whose every prompt has its tree is not opened at all, and no model is loaded for it; a server is
asked no more than for its name, so that answers of another model are not taken for its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from pathlib import Path
from typing import Any

from spar.config import EvalConfig
from spar.errors import SparError, UsageError
from spar.eval.job_outputs import RunOutputs
from spar.files import locked
from spar.listener import Listener
from spar.plugins import ENGINES
from spar.record.evaluation import EXAMPLES, RESULTS
from spar.record.outcomes import pluralize
from spar.run.build import make_manifest
from spar.run.engine_pool import EnginePool
from spar.run.job import Job
from spar.run.resolve import models, resolve_config, urls
from spar.run.resume import PromptSource, is_complete
from spar.run.session import Run
from spar.store import (
    LOCK,
    MANIFEST,
    RUN_FILES,
    SUMMARY,
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
        summarized = (directory / SUMMARY).is_file()  # not where it was killed after its last tree
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

    def start(self, *, fresh: bool) -> None:
        """Make the directory ready: empty for a fresh start, its own where the answers come from a file.

        Raises
        ------
        ConfigChanged
            It holds another evaluation of answers from a file.
        UsageError, EngineError
            The models of a fresh start cannot be had; nothing is deleted.
        """
        if fresh:
            if self.outputs.external_answers is None:  # a dead server must not cost the old run
                note = self.pool.once(self.listener.note)
                resolve_config(self.config, note, offline=self.offline)
            forget(self.outputs.directory, self.config.benchmark)
        if self.outputs.external_answers is not None:
            RunStore.open(self.outputs.directory, make_manifest(self.config)).close()

    def _config(self, job: Job) -> EvalConfig:
        config = grader_config(self.config) if job.grader else self.config
        # A job with a budget of its own has nothing to share out.
        own = {"total_budget": None} if "budget" in job.settings else {}
        return config.changed({**own, **job.settings})

    def _title(self, job: Job, config: EvalConfig) -> str:
        name = f"{config.benchmark}/{job.name}" if job.name else config.benchmark
        strategy = job.strategy_name or config.strategy
        return f"{name}: {pluralize(len(job.prompts), 'prompt')}, {strategy}"


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


def forget(directory: Path, benchmark: str) -> None:
    """Delete an evaluation's own files and the directories of its stages, and nothing else.

    A directory below it with results is an evaluation of its own: a point of a sweep, for one. A run that is not
    of this benchmark belongs to another program.

    Raises
    ------
    RunLocked
        Another process is writing to it, so nothing is deleted.
    UsageError
        The directory holds a run of another kind, or its manifest is damaged.
    """
    if not directory.is_dir():
        return
    jobs = [child for child in directory.iterdir() if _is_stage(child, benchmark)]
    own = [directory] if (directory / MANIFEST).is_file() else []
    if own:
        refuse_other_kind(read_manifest(directory), "evaluation", directory)
    with contextlib.ExitStack() as locks:
        for run in (*own, *jobs):
            locks.enter_context(locked(run / LOCK))
        for job in jobs:
            shutil.rmtree(job)
        for name in _FILES if own else ():
            (directory / name).unlink(missing_ok=True)


def _is_stage(directory: Path, benchmark: str) -> bool:
    """Whether a directory is a stage of an evaluation by this benchmark."""
    if directory.is_symlink() or (directory / RESULTS).is_file():
        return False
    try:
        return read_manifest(directory).config.get("benchmark") == benchmark
    except UsageError:  # it holds no run, or none that can be read
        return False


_FILES = (*RUN_FILES[1:], EXAMPLES, RESULTS, "likelihoods.jsonl", MANIFEST)
"""An evaluation's own; the manifest comes last, so that a deletion that is cut short can be repeated."""
