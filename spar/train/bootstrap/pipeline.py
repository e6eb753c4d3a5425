"""Runs a bootstrap: the stages that are not done yet, each in a process of its own.

Killed anywhere, it goes on from there, as the loop does (`spar.train.loop`), with the same machinery
(`spar.train.stage_runner`). Source: section 2.2 of the paper; the proportions of the refiner's set are ours.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from spar import __version__
from spar.errors import UsageError
from spar.files import replace_json
from spar.listener import Listener
from spar.manifest import Manifest
from spar.nano.tasks import prompts as nano_prompts
from spar.prompts import read_prompts
from spar.record.training import REPLACED
from spar.store import MANIFEST
from spar.train.bootstrap.recipe import FREE, STAGE_SETTINGS, BootstrapConfig
from spar.train.bootstrap.stages import (
    ACTOR_PROMPTS,
    REFINER_PROMPTS,
    BootstrapStage,
    all_stages,
    find,
)
from spar.train.launch import launch
from spar.train.stage_runner import (
    archive,
    check_owner,
    files_of,
    held,
    keep_prompts,
    refuse_other_settings,
    run_stage,
    run_worker,
)
from spar.train.status import is_done
from spar.types import Prompt

NANO_SEED = 1
"""Draw of nano-if's training prompts; the loop draws with 0."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which of the stages to run."""

    begin: str = ""
    """Run this stage and all after it again; "" runs what is not done."""
    stop_after: str = ""
    """End after this stage; "" runs to the end."""


def run_bootstrap(
    run: Path, config: BootstrapConfig, part: Part, listener: Listener, *, fresh: bool = False
) -> None:
    """Run every stage that is asked for and not done.

    Parameters
    ----------
    run:
        The bootstrap's folder.
    fresh:
        Delete an earlier bootstrap in it first.

    Raises
    ------
    ConfigChanged
        The folder holds a bootstrap with other settings.
    UsageError
        A stage cannot be run as things stand: too few examples, bad rows, a model without a chat template.
    RunStopped
        A stage stopped; running the same command again goes on from there.
    """
    stages = all_stages(config, run)
    with held(run):
        check_owner(run, mark="student", what="bootstrap")
        first, plan = planned(stages, part, fresh=fresh)
        if fresh:
            _forget(run, stages)
        wanted = _manifest(config)
        refuse_other_settings(run, wanted, STAGE_SETTINGS, stages[:first])
        archive(run, stages[first:], listener.note)
        replace_json(run / MANIFEST, wanted.model_dump())
        _keep_prompts(run, config)
        for stage in plan:
            run_stage(stage, partial(_carry_out, stage, config), listener)


def planned(
    stages: Sequence[BootstrapStage], part: Part, *, fresh: bool = False
) -> tuple[int, Sequence[BootstrapStage]]:
    """The place of the first stage that is run again, past the last where none is; and those that will run.

    Parameters
    ----------
    fresh:
        Whether nothing counts as done.

    Raises
    ------
    UsageError
        There is no such stage, or no way to do all that is asked for.
    """
    again = find(stages, part.begin) if part.begin else len(stages)
    last = find(stages, part.stop_after) if part.stop_after else len(stages) - 1
    if part.begin and last < again:
        raise UsageError(
            f"--stop-after {part.stop_after} comes before --rerun-from {part.begin}; name a later stage there"
        )
    asked = enumerate(stages[: last + 1])
    return again, [one for i, one in asked if fresh or i >= again or not is_done(one)]


def actor_prompts(config: BootstrapConfig) -> Iterator[Prompt]:
    """The prompts that the teacher answers: the first ones."""
    if not config.prompts:
        return nano_prompts("train", NANO_SEED, config.num_actor_prompts)
    return islice(read_prompts(config.prompts), config.num_actor_prompts)


def refiner_prompts(config: BootstrapConfig) -> Iterator[Prompt]:
    """The prompts whose drafts are judged: those after the actor's, or the last where these are too few."""
    most = config.num_refiner_prompts
    if config.refiner_prompts:
        return islice(read_prompts(config.refiner_prompts), most)
    if not config.prompts:
        first = config.num_actor_prompts
        return islice(nano_prompts("train", NANO_SEED, first + most), first, None)
    known = sum(1 for _ in read_prompts(config.prompts))
    first = min(config.num_actor_prompts, max(0, known - most))
    return islice(read_prompts(config.prompts), first, first + most)


def _keep_prompts(run: Path, config: BootstrapConfig) -> None:
    for name, wanted in ((ACTOR_PROMPTS, actor_prompts), (REFINER_PROMPTS, refiner_prompts)):
        if not (run / name).exists():
            keep_prompts(run / name, wanted(config))


def _carry_out(stage: BootstrapStage, config: BootstrapConfig, tick: Callable[[], None]) -> None:
    if stage.name.startswith("sft-"):
        launch("sft", stage.order_file, config.launch, stage.log, tick=tick)
    else:
        run_worker(stage.order_file, stage.log, tick)


def _manifest(config: BootstrapConfig) -> Manifest:
    models = {"student": config.base, "teacher": config.teacher.model}
    return Manifest(
        spar_version=__version__,
        config=config.stored(),
        free=FREE,
        models={role: model or "embedded" for role, model in models.items()},
        seed=config.seed,
    )


def _forget(run: Path, stages: Sequence[BootstrapStage]) -> None:
    """Delete a bootstrap's own files, and nothing else."""
    if not (run / MANIFEST).is_file():
        return
    own = [path for stage in stages for path in files_of(stage)]
    for path in (*own, run / REPLACED, run / ACTOR_PROMPTS, run / REFINER_PROMPTS, run / MANIFEST):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
