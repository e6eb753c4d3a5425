"""The training loop for callers: check the settings, say what will run, run it, return what came of it.

    from spar.train_runner import train
    from spar.train.recipe import load_train

    result = train(load_train("nano", {"iterations": 2}), out="runs/mine")
    print(result.actor, result.scores)

Every stage runs in a process of its own (`spar.stage_processes`), so a script needs no `__main__` guard.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from spar.errors import Interrupted, RunLocked, UsageError
from spar.estimate.possible import check_pairs_possible
from spar.estimate.preflight import is_remote
from spar.estimate.requirements import check_requirements, missing_requirements
from spar.estimate.training import Estimate, check_disk, estimate, lines
from spar.evolve.checkable.settings import load_checkable
from spar.files import expand_home, locked
from spar.listener import Activity, Broadcast, Listener, checked_listener
from spar.plugins import JUDGES, REFINERS
from spar.prompts import read_prompts
from spar.record.training import Scores
from spar.rows.read import is_stream
from spar.run.blocking import in_thread
from spar.run.meta_judge import judge_conversation
from spar.run.resolve import check_combination, check_folders, loaded_models
from spar.stage_processes import stage_processes
from spar.store import LOCK, MANIFEST
from spar.train.data.backtranslation import read_input
from spar.train.data.functions import instruction_prompts
from spar.train.loop import default_directory, loop_pipeline
from spar.train.loop_stages import Models, models_after
from spar.train.pipeline import (
    Pipeline,
    StageSelection,
    check_unchanged,
    run_pipeline,
    select_runnable,
    with_models,
)
from spar.train.recipe import MIXES, TrainConfig
from spar.train.references import with_references
from spar.train.stage import Stage
from spar.train.stage_runner import ExecuteStage
from spar.train.status import LoopState, is_trained, read_config, read_loop
from spar.verification_functions import require_permission

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """What a call of `train` will do."""

    pipeline: Pipeline
    stages: tuple[Stage, ...]
    """The stages that will run."""
    estimate: Estimate | None
    """What they take; None where nothing will run."""

    missing: tuple[str, ...] = ()
    """What this machine lacks for these stages (`spar.estimate.requirements`)."""
    mix_hint: str = ""
    """A hint on a refiner's mix that nobody trained."""
    held_out_hint: str = ""
    """Which evaluations are left out since no prompts are held out."""
    unused_refiner_hint: str = ""
    """A hint on the training of a refiner that no stage uses."""

    @property
    def notes(self) -> list[str]:
        """The plan in human-readable lines."""
        folder = self.pipeline.folder
        if self.estimate is None:
            return [f"{folder}: every selected stage is done"]
        hints = (
            *(check_disk(folder, self.estimate), self.mix_hint),
            *(self.held_out_hint, self.unused_refiner_hint),
        )
        lacks = [f"missing here: {line}" for line in self.missing]
        return [f"loop: {folder}", *lines(self.estimate), *filter(None, hints), *lacks]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A training loop after a call of `train`."""

    directory: Path
    """The loop's folder."""
    iteration: int
    """The last iteration whose models are trained; where there is none, that of the first models: 0 unless another loop is continued."""
    actor: str
    """Folder of its actor, or the name of the first one; "" for the embedded model."""
    refiner: str
    """The same of its refiner."""
    scores: Mapping[int, Scores]
    """Iteration to evaluation to metric to `value`, `stderr` and `n`."""
    state: LoopState
    """Every stage with its state."""


def train(
    config: TrainConfig,
    *,
    out: str | Path | None = None,
    listener: Listener | None = None,
    selection: StageSelection = StageSelection(),
    overwrite: bool = False,
    execute: ExecuteStage | None = None,
) -> TrainResult:
    """Run a training loop, or resume it: stages that are done are left alone.

    Parameters
    ----------
    config:
        The recipe (`spar.train.recipe.load_train`).
    out:
        The loop's folder; None for `runs/train-DIGEST`, which is the same for the same settings.
    listener:
        Receives the stages as they start, progress and end, and notes; by default these are logged.
    selection:
        Which stages to run.
    overwrite:
        Delete an earlier loop in the folder first.
    execute:
        Executes a stage to its end; None for a process (`spar.stage_processes`).

    Raises
    ------
    ConfigChanged
        The folder holds a loop with another recipe.
    UsageError
        Something is wrong with the settings, prompts or models, or this machine lacks what the stages need; mostly
        before anything runs.
    RunStopped
        A stage stopped; calling it again resumes.
    """
    listener = checked_listener(listener)
    plan = plan_train(config, out=out, selection=selection, overwrite=overwrite)
    check_requirements(plan.missing)
    for note in plan.notes:
        listener.note(note)
    pipeline = with_models(plan.pipeline, loaded_models(config.decode), listener.note)
    with nullcontext(execute) if execute else stage_processes() as run:
        run_pipeline(pipeline, run, listener=listener, selection=selection, overwrite=overwrite)
    return read_result(plan.pipeline.folder)


async def cancellable(run: Callable[[Listener], T], listener: Listener) -> T:
    """Run a training in a thread; cancelling it ends the stage that is running, which can be resumed, and waits for that.

    Parameters
    ----------
    run:
        Calls `train` with the listener that it is given.
    listener:
        Receives the events.
    """
    stop = threading.Event()
    training = asyncio.ensure_future(in_thread(partial(run, Broadcast(_Stop(stop), listener))))
    try:
        return await asyncio.shield(training)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.gather(training, return_exceptions=True)
        raise


class _Stop(Listener):
    """Ends the running stage once an event is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def progress(self, activity: Activity) -> None:
        """Raise `Interrupted`, which ends the stage's process."""
        if self._stop.is_set():
            raise Interrupted("interrupted; the same call resumes")


def plan_train(
    config: TrainConfig,
    *,
    out: str | Path | None = None,
    selection: StageSelection = StageSelection(),
    overwrite: bool = False,
) -> TrainPlan:
    """Check the settings, prompts and models, and say what `train` would do; writes nothing.

    Raises
    ------
    ConfigChanged, UsageError
        As `train`.
    """
    folder = expand_home(Path(out)) if out is not None else default_directory(config)
    num_prompts = _check(config)
    pipeline = loop_pipeline(config, folder, overwrite=overwrite)
    first, stages = select_runnable(pipeline, selection, overwrite=overwrite)
    if not overwrite:
        check_unchanged(pipeline, first)
    check_pairs_possible(config, stages, num_prompts)
    estimated = estimate(config, stages, num_prompts) if stages else None
    missing = missing_requirements(folder, stages)
    hints = _mix_hint(config), _held_out_hint(config), _unused_refiner_hint(config)
    return TrainPlan(pipeline, tuple(stages), estimated, missing, *hints)


def read_state(directory: Path) -> LoopState:
    """The state of the loop in a folder.

    Raises
    ------
    UsageError
        The folder does not hold a loop, or a file in it is damaged.
    """
    if not (directory / MANIFEST).is_file():
        raise UsageError(
            f"there is no training loop in {directory}; give the folder of a `spar train`"
        )
    return read_loop(directory, running=_is_locked(directory))


def read_result(directory: Path) -> TrainResult:
    """The result of the loop in a folder, as far as it has run; raises as `read_state`."""
    state = read_state(directory)
    _, origin = read_config(directory)
    last, models = origin.iteration, Models(origin.actor, origin.refiner)
    for iteration in range(origin.iteration + 1, state.config.last_iteration + 1):
        if is_trained(state.config, directory, iteration):
            last, models = iteration, models_after(state.config, directory, iteration, origin)
    return TrainResult(directory, last, models.actor, models.refiner, state.scores, state)


def _mix_hint(config: TrainConfig) -> str:
    if config.quotas != "official" or config.rft["train_on"] == MIXES["official"]:
        return ""
    return (
        "note: quotas=official with rft.train_on=last teaches the refiner 4,000 Yes to 1,500 No, a mix that the paper did "
        "not train: its code also learns the critiques in the refinements, all No; --set mix=official sets both"
    )


def _unused_refiner_hint(config: TrainConfig) -> str:
    decode = config.decode
    calls_model = (
        JUDGES.spec(decode.judge).uses_model or REFINERS.spec(decode.refiner or "model").uses_model
    )
    if calls_model or "rft" not in config.methods or config.one_model:  # the actor, too
        return ""
    return (
        "note: programs judge and refine, so no stage uses the refiner that rft trains, and it learns from what a program "
        "wrote; --set methods=[dpo] trains the actor alone"
    )


def _held_out_hint(config: TrainConfig) -> str:
    titles = [item.title for item in config.benchmarks if item.held_out]
    if not titles or config.holds_out:
        return ""
    return (
        f"note: evaluations left out: {', '.join(titles)}, since the loop holds no prompts out; it does so where it makes its own "
        "(checkable.holdout, and no file of prompts), and a file of one's own is an evaluation's setting `prompts`"
    )


def _is_locked(directory: Path) -> bool:
    try:
        with locked(directory / LOCK):
            return False
    except RunLocked:
        return True
    except OSError:  # a folder that may only be read does not show it
        return True


def _check(config: TrainConfig) -> int | None:
    """Check what would otherwise fail hours into the loop; returns the number of prompts in the file."""
    decode = config.decode
    if decode.base_url or decode.actor_url or decode.refiner_url or is_remote(decode):
        raise UsageError(
            "spar train trains its models, and cannot train those of a server; give --model FOLDER_OR_NAME "
            "and --engine hf or vllm (a judge with its own model may be a server)"
        )
    for name, source in _sources(config).items():
        if source and is_stream(source):
            raise UsageError(
                f"spar train reads its {name} more than once; give a file, not {source}"
            )
    check_combination(decode)
    check_folders(decode)
    _read_files(config)
    if config.functions is not None:
        if config.functions.writer == "model":
            require_permission("a loop with functions")
        elif config.functions.instructions:
            raise UsageError(
                f"functions.instructions={config.functions.instructions}: functions.writer=program knows nano-if's instructions "
                "alone; leave it out, or set functions.writer=model"
            )
        return config.functions.num_instructions * config.functions.queries
    if config.judge_pairs:
        judge_conversation(decode)
    iterations = [config.of_iteration(n) for n in range(1, len(config.by_iteration) + 2)]
    needs_replies = any(each.pairs == "reference" for each in iterations)
    if config.makes_prompts:
        if needs_replies and not (config.references or config.checkable.get("witnesses")):
            raise UsageError(
                "pairs=reference prefers a reply that each prompt has, and the prompts that the loop makes have none; add "
                "--set checkable.witnesses=true, or --set references=FILE with the fields 'id' and 'response'"
            )
        return _num_made(config)
    if not config.prompts:
        return None
    for needed, check in (
        (any(each.judges for each in iterations), JUDGES.spec(decode.judge).check_prompts),
        (
            any(each.searches for each in iterations),
            REFINERS.spec(decode.refiner or "model").check_prompts,
        ),
    ):
        if needed and check is not None:
            check(read_prompts(config.prompts, prompt_field=config.prompt_field))
    prompts = read_prompts(config.prompts, prompt_field=config.prompt_field)
    return sum(
        1 for _ in (with_references(prompts, config.references) if needs_replies else prompts)
    )


def _sources(config: TrainConfig) -> Mapping[str, str]:
    """Setting to the file or data set that it names; "" for none."""
    sources = {"prompts": config.prompts, "references": config.references}
    sources["checkable.prompts"] = str(config.checkable.get("prompts") or "")
    if config.backtranslation is not None:
        sources["backtranslation.texts"] = config.backtranslation.texts
        sources["backtranslation.seeds"] = config.backtranslation.seeds
    if config.functions is not None:
        sources["functions.instructions"] = config.functions.instructions
    return sources


def _read_files(config: TrainConfig) -> None:
    """Read what later stages are made of to its end; raises `UsageError` where a file is missing or malformed."""
    read: list[Iterable[object]] = []
    if config.functions is not None:
        read.append(instruction_prompts(config.functions))
        if config.prompts:
            read.append(read_prompts(config.prompts, prompt_field=config.prompt_field))
    if config.backtranslation is not None:
        read.append(read_input(config.backtranslation))
    if config.references:
        read.append(with_references((), config.references))
    for rows in read:
        deque(rows, maxlen=0)


def _num_made(config: TrainConfig) -> int:
    """How many prompts the loop will make; raises `UsageError` where their settings are wrong."""
    try:
        return load_checkable({"prompts": "the data set", **config.checkable}).n
    except UsageError as error:
        raise UsageError(f"checkable, the settings of the loop's prompts: {error}") from error
