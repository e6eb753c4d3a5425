"""The stages of an evaluation: each is a run directory, and all of them share the loaded models.

A stage whose every prompt has its tree is not opened at all, and no model is loaded for it; a server is
asked no more than for its name, so that answers of another model are not taken for its own.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from spar.cli.begun import PromptSource, is_finished
from spar.cli.course import Course
from spar.cli.display import Display
from spar.config import EvalConfig
from spar.errors import SparError
from spar.eval.benchmark import Stage
from spar.eval.kept import KeptRun
from spar.eval.record import EXAMPLES, RESULTS
from spar.infer.deploy import deployments, models, roles_asked, settle, urls
from spar.infer.engine import Deployment, Tell
from spar.infer.meter import Meter
from spar.infer.setup import make_manifest
from spar.store import MANIFEST, RUN_FILES, RunStore
from spar.types import SPEAKERS


@dataclasses.dataclass(slots=True)
class Pool:
    """The models that are loaded, for every benchmark of a command."""

    meters: dict[Deployment, Meter] = dataclasses.field(default_factory=dict)
    told: set[str] = dataclasses.field(default_factory=set)
    """What was said of the choice of engine and models, which is the same for most stages."""

    def once(self, tell: Tell) -> Tell:
        """`tell`, but for what was said before."""

        def told(line: str) -> None:
            if line not in self.told:
                self.told.add(line)
                tell(line)

        return told

    async def make_room(self, wanted: frozenset[tuple[str, tuple[str, ...]]]) -> None:
        """Free the models in this process that are not wanted, if another one has to be loaded."""
        loaded = {(d.model, d.urls) for d in self.meters}
        if not any(not servers for _, servers in wanted - loaded):
            return
        for deployment in [
            d for d in self.meters if not d.urls and (d.model, d.urls) not in wanted
        ]:
            await self.meters.pop(deployment).aclose()

    async def aclose(self) -> None:
        """Free all."""
        while self.meters:
            await self.meters.popitem()[1].aclose()


@dataclasses.dataclass(slots=True)
class RunStages:
    """`spar.eval.benchmark.Stages` over run directories."""

    config: EvalConfig
    kept: KeptRun
    display: Display
    pool: Pool

    async def run(self, stage: Stage) -> None:
        """Search every prompt of a stage that is not in its run directory yet.

        Raises
        ------
        ConfigChanged
            The directory holds a stage of another configuration.
        """
        config = self._config(stage)
        directory = self.kept.directory / stage.name
        source = PromptSource(lambda: iter(stage.prompts), len(stage.prompts))
        asked = stage.speakers or roles_asked(config)
        on_server = any(urls(config)[role] for role in asked)
        finished = is_finished(directory, config, source)
        if not stage.prompts or (finished and not on_server):
            return
        try:
            config = settle(config, self.pool.once(self.display.note), asked=asked)
        except SparError as error:
            if not finished:
                raise
            self.display.note(f"{error}; not needed, this stage is finished")
            return
        if is_finished(directory, config, source):
            return
        self.display.note(self._title(stage, config))
        served = deployments(config)
        await self.pool.make_room(frozenset((served[r].model, served[r].urls) for r in asked))
        with RunStore.open(directory, make_manifest(config)) as store:
            course = Course(config, source, store, self.display, stage=stage, pool=self.pool.meters)
            await course.run()

    def start(self, *, fresh: bool) -> None:
        """Make the directory ready: empty for a fresh start, its own where the answers come from a file.

        Raises
        ------
        ConfigChanged
            It holds another evaluation of answers from a file.
        """
        if fresh:
            forget(self.kept.directory)
        if self.kept.given is not None:
            RunStore.open(self.kept.directory, make_manifest(self.config)).close()

    def _config(self, stage: Stage) -> EvalConfig:
        config = grader_config(self.config) if stage.grader else self.config
        return config.model_copy(update=dict(stage.settings))

    def _title(self, stage: Stage, config: EvalConfig) -> str:
        name = f"{config.benchmark}/{stage.name}" if stage.name else config.benchmark
        strategy = stage.strategy_name or config.strategy
        return f"{name}: {len(stage.prompts)} prompts, {strategy}"


def grader_config(config: EvalConfig) -> EvalConfig:
    """The settings with the grader's model in every role; the judge's where it has none of its own."""
    own = bool(config.grader_model or config.grader_url)
    cleared: dict[str, Any] = {
        f"{role}_{what}": "" if what == "model" else ()
        for role in SPEAKERS
        for what in ("model", "url")
    }
    if own:
        changed = {"model": config.grader_model, "base_url": config.grader_url, "adapter": {}}
        return config.model_copy(update={**cleared, **changed, "engine": config.grader_engine})
    adapter = config.adapter.get("judge", "")
    changed = {
        "model": models(config)["judge"],
        "base_url": urls(config)["judge"],
        "adapter": dict.fromkeys(SPEAKERS, adapter) if adapter else {},
    }
    if changed["base_url"] and config.engine not in ("auto", "openai", "fake"):
        changed["engine"] = "auto"
    return config.model_copy(update={**cleared, **changed})


def forget(directory: Path) -> None:
    """Delete an evaluation's own files and the directories of its stages, and nothing else."""
    if not directory.is_dir():
        return
    for child in directory.iterdir():
        if child.is_dir() and (child / MANIFEST).is_file():
            shutil.rmtree(child)
    if (directory / MANIFEST).is_file():
        for name in (*RUN_FILES, EXAMPLES, RESULTS, "likelihoods.jsonl"):
            (directory / name).unlink(missing_ok=True)
