"""The self-play loop: runs the stages that are not done yet, each in a process of its own.

Killed anywhere, it goes on from there: stages that are done are left alone, a stage that began resumes
inside itself. All models are out of memory before the next stage begins, since their process has ended.
Source: section 2 of the paper, and its released scripts for the order and the quotas.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from spar import __version__
from spar.errors import UsageError
from spar.files import replace_json
from spar.listener import Listener
from spar.manifest import Manifest
from spar.nano.tasks import prompts as nano_prompts
from spar.prompts import read_prompts
from spar.record.training import ORIGIN, PROMPTS, REPLACED
from spar.store import MANIFEST
from spar.train.launch import launch
from spar.train.recipe import FREE, STAGE_SETTINGS, Benchmarked, TrainConfig
from spar.train.stage_runner import (
    archive,
    check_owner,
    held,
    keep_prompts,
    refuse_other_settings,
    run_stage,
    run_worker,
)
from spar.train.stages import STAGES, Origin, Stage, all_stages
from spar.train.status import continued, is_done, read_config
from spar.types import Prompt


@dataclass(frozen=True, slots=True)
class Course:
    """Which of the stages to run."""

    begin: str = ""
    """Run this stage and all after it again, `search` or `2/search`; "" runs what is not done."""
    only: str = ""
    """Run no other stage."""
    stop_after: str = ""
    """End after this stage."""


def run_loop(
    run: Path, config: TrainConfig, course: Course, listener: Listener, *, fresh: bool = False
) -> None:
    """Run every stage that is asked for and not done.

    Parameters
    ----------
    run:
        The loop's folder.
    fresh:
        Delete an earlier loop in it first.

    Raises
    ------
    ConfigChanged
        The folder holds a loop with another recipe.
    UsageError
        A stage cannot be run as things stand: too few pairs, bad rows, a model without a chat template.
    RunStopped
        A stage stopped; running the same command again goes on from there.
    """
    origin = origin_of(config, run, fresh=fresh)
    stages = all_stages(config, run, origin)
    with held(run):
        check_owner(run, mark=ORIGIN, what="training loop")
        first, plan = planned(stages, course, fresh=fresh)
        if fresh:
            forget(run)
        wanted = _manifest(config, origin)
        refuse_other_settings(run, wanted, STAGE_SETTINGS, stages[:first])
        if first < len(stages):
            archive(run, _from_on(stages[first], config, run, origin), listener.note)
        replace_json(run / MANIFEST, wanted.model_dump())
        for stage in plan:
            run_stage(stage, partial(_carry_out, stage, config), listener)


def planned(
    stages: Sequence[Stage], course: Course, *, fresh: bool = False
) -> tuple[int, Sequence[Stage]]:
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
    if course.only and course.stop_after:
        raise UsageError("--only runs one stage, and --stop-after several; give one of them")
    again = stages.index(find(stages, course.begin)) if course.begin else len(stages)
    left = [s for i, s in enumerate(stages) if fresh or i >= again or not is_done(s)]
    now = left[0].iteration if left else stages[-1].iteration
    begin, end = 0, len(stages) - 1
    if course.only or course.stop_after:
        end = stages.index(find(stages, course.only or course.stop_after, now))
        begin = end if course.only else 0
    if course.begin and end < again:
        raise UsageError(
            f"--rerun-from {course.begin} begins with {stages[again].title}, after {stages[end].title}, "
            "which was to be the last; name an earlier stage there, or leave it out"
        )
    return again, [stage for stage in left if begin <= stages.index(stage) <= end]


def find(stages: Sequence[Stage], text: str, now: int | None = None) -> Stage:
    """The stage that a person names: `2/search`, or `search` of the iteration that is under way.

    Parameters
    ----------
    now:
        The iteration that is under way; None: that of the first stage that is not done.

    Raises
    ------
    UsageError
        There is no such stage.
    """
    iteration, slash, name = text.rpartition("/")
    fitting = [s for s in stages if s.name == name and (not slash or str(s.iteration) == iteration)]
    if not fitting:
        raise UsageError(
            f"there is no stage {text!r} (accepted: {', '.join(STAGES)}, or 2/{STAGES[2]} for iteration 2)"
        )
    if slash:
        return fitting[0]
    if now is None:
        now = next((s.iteration for s in stages if not is_done(s)), stages[-1].iteration)
    return next((s for s in fitting if s.iteration >= now), fitting[-1])


def forget(run: Path) -> None:
    """Delete a loop's own files, and nothing else."""
    if not (run / MANIFEST).is_file():
        return
    for home in (*run.glob("iteration-*"), run / REPLACED):
        shutil.rmtree(home, ignore_errors=True)
    (run / MANIFEST).unlink()


def origin_of(config: TrainConfig, run: Path, *, fresh: bool = False) -> Origin:
    """Where a loop begins; one that is there stays where it began, whatever became of the loop that it took up.

    Raises
    ------
    UsageError
        The loop that is taken up is none, or this one, or has nothing that this one could go on from.
    """
    if not config.start:
        return Origin.of(config)
    if Path(config.start).resolve() == run.resolve():
        raise UsageError(
            f"--continue-from {config.start} is the loop's own folder; give another --out"
        )
    if not fresh and (run / MANIFEST).is_file():
        stored, origin = read_config(run)
        if stored.start == config.start:
            return origin
    origin = continued(Path(config.start))
    if config.last_iteration <= origin.iteration:
        raise UsageError(
            f"{config.start} has {origin.iteration} iterations, and this loop would end with "
            f"{config.last_iteration}; give --iterations {origin.iteration + 1} or more, with iterative=true"
        )
    return origin


def _from_on(first: Stage, config: TrainConfig, run: Path, origin: Origin) -> Sequence[Stage]:
    """A stage and all after it that can be in the folder, also of a loop that was longer or measured more."""
    names = [path.name.partition("-")[2] for path in run.glob("iteration-*")]
    last = max(config.iterations, *(int(name) for name in names if name.isdecimal()), 1)
    measured = config.benchmarks or (Benchmarked(benchmark="any"),)
    longest = config.model_copy(update={"iterations": last, "benchmarks": measured})
    stages = all_stages(longest, run, origin)
    return stages[[stage.title for stage in stages].index(first.title) :]


def _manifest(config: TrainConfig, origin: Origin) -> Manifest:
    begins = {"actor": origin.actor, "refiner": origin.refiner, "iteration": origin.iteration}
    free = FREE if config.iterative else tuple(name for name in FREE if name != "iterations")
    return Manifest(
        spar_version=__version__,
        config={**config.stored(), ORIGIN: begins},
        free=free,
        models={"actor": origin.actor or "embedded", "refiner": origin.refiner or "embedded"},
        seed=config.seed,
    )


def _carry_out(stage: Stage, config: TrainConfig, tick: Callable[[], None]) -> None:
    if stage.name == "draft":
        write_prompts(stage.home, config, stage.iteration)
    if stage.name in ("dpo", "rft"):
        trainer: Any = {"dpo": "dpo", "rft": "sft"}[stage.name]
        launch(trainer, stage.order_file, config.launch, stage.log, tick=tick)
        return
    run_worker(stage.order_file, stage.log, tick)


def write_prompts(home: Path, config: TrainConfig, iteration: int) -> None:
    """Put an iteration's prompts into its folder, unless they are there.

    Raises
    ------
    UsageError
        A row that is no prompt, or a file without any.
    """
    path = home / PROMPTS
    if not path.exists():
        keep_prompts(path, prompts_of(config, iteration))


def prompts_of(config: TrainConfig, iteration: int) -> Iterator[Prompt]:
    """The prompts of an iteration: the next ones, and from the first on again after the last."""
    first = (iteration - 1) * config.prompts_at_once
    wanted = range(first, first + config.prompts_at_once)
    if not config.prompts:
        yield from islice(nano_prompts("train", 0, wanted.stop), wanted.start, None)
        return
    known = sum(1 for _ in read_prompts(config.prompts))
    if config.prompts_at_once >= known:
        yield from read_prompts(config.prompts)
        return
    begin, end = wanted.start % known, (wanted.stop - 1) % known
    for number, prompt in enumerate(read_prompts(config.prompts)):
        inside = begin <= number <= end if begin <= end else number >= begin or number <= end
        if inside:
            yield prompt
