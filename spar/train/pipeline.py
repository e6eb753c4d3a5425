"""Runs the stages of a pipeline that are not done yet, one after another, and resumes after a kill.

A pipeline is data (`Pipeline`): the training loop of `spar.train.loop`, or the bootstrap of
`spar.train.bootstrap.pipeline`. Stages that are done are left alone; a stage that was started resumes by
itself. The caller passes the function that executes a stage. `spar.stage_processes` runs each in a process of its
own, so that all memory is free before the next stage starts.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from spar.errors import UsageError
from spar.files import replace_json
from spar.listener import Listener
from spar.manifest import Manifest, config_digest, with_sources
from spar.pretrained import prepare_model
from spar.store import MANIFEST
from spar.train.stage import Stage, is_done
from spar.train.stage_inputs import check_inputs
from spar.train.stage_runner import (
    ExecuteStage,
    archive,
    check_owner,
    check_settings,
    delete_archive,
    delete_path,
    lock,
    remove_empty,
    reopen,
    run_stage,
)


@dataclass(frozen=True, slots=True)
class StageSelection:
    """Which stages of a pipeline to run. A stage is named `search`, or `2/search` for one iteration."""

    rerun_from: str = ""
    """Run this stage and all after it again; "" runs what is not done."""
    only: str = ""
    """Run no other stage."""
    stop_after: str = ""
    """End after this stage; "" runs to the end."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages of a pipeline in a folder."""

    title: str
    """What it is, "training loop" or "bootstrap" (`spar.manifest.KINDS`)."""
    folder: Path
    stages: tuple[Stage, ...]
    """In the order in which they run."""
    manifest: Manifest
    stage_settings: Mapping[str, tuple[str, ...]]
    """Stage to the settings that no stage before it depends on: they may change while it was not started."""
    prepare: Callable[[Stage], None]
    """Writes the prompts of a stage, unless they exist."""
    past_stages: Callable[[], Sequence[Stage]]
    """All stages, and those that an earlier recipe may have left in the folder."""
    stage_order: tuple[str, ...] = ()
    """As `order` of `spar.train.stage_runner.check_settings`."""
    changeable: tuple[str, ...] = ()
    """Settings that may differ from those of the stages that have run, and yet are part of the manifest's digest."""
    check: Callable[[Sequence[Stage]], None] = lambda stages: None
    """Rejects settings for which stages that will not run again have written too little."""
    complete: Callable[[dict[str, Any]], dict[str, Any]] = dict
    """As in `spar.train.stage_runner.check_settings`."""
    resume: str = "the same command with"
    """What resumes it, before `--out` and its folder."""
    key: Callable[[Stage, str], str] = lambda stage, name: ""
    """What the recipe calls a setting of a stage; "" where `--set` does not reach it."""
    prompt_files: tuple[Path, ...] = ()
    """Files of prompts that are written before the stages to which they belong are started."""


def run_pipeline(
    pipeline: Pipeline,
    execute: ExecuteStage,
    *,
    listener: Listener,
    selection: StageSelection = StageSelection(),
    overwrite: bool = False,
) -> None:
    """Run every selected stage that is not done.

    Parameters
    ----------
    execute:
        Executes a stage to its end.
    overwrite:
        Delete an earlier pipeline of this kind in the folder first.

    Raises
    ------
    ConfigChanged
        The folder holds a pipeline with other settings.
    UsageError
        An unknown stage, a foreign folder, or a stage that cannot run: too few pairs, malformed rows, a model
        without a chat template.
    RunStopped
        A stage stopped; rerunning resumes.
    """
    folder, stages = pipeline.folder, pipeline.stages

    def prepare_and_execute(stage: Stage, tick: Callable[[], None]) -> None:
        pipeline.prepare(stage)
        execute(stage, tick)

    with lock(folder):
        check_owner(folder, pipeline.title)
        first, selected = select_runnable(pipeline, selection, overwrite=overwrite)
        if overwrite:
            _delete(pipeline)
        check_unchanged(pipeline, first)
        if first < len(stages):
            past = pipeline.past_stages()
            titles = [stage.title for stage in past]
            archive(folder, past[titles.index(stages[first].title) :], listener.note)
        replace_json(folder / MANIFEST, pipeline.manifest.model_dump())
        for stage in selected:
            run_stage(stage, prepare_and_execute, listener, partial(_hint, pipeline, stage))


def check_unchanged(pipeline: Pipeline, first: int) -> None:
    """Reject settings that differ from those with which the stages before the index `first` have run.

    Raises
    ------
    ConfigChanged
        As `spar.train.stage_runner.check_settings`.
    UsageError
        As `Pipeline.check`.
    """
    check_settings(
        pipeline.folder,
        pipeline.manifest,
        pipeline.stage_settings,
        pipeline.stages[:first],
        changeable=pipeline.changeable,
        order=pipeline.stage_order,
        complete=pipeline.complete,
    )
    pipeline.check(pipeline.stages[:first])


def default_folder(
    kind: str, config: Mapping[str, Any], free: Iterable[str], *, earlier: Path | None = None
) -> Path:
    """`runs/KIND-DIGEST` of a recipe.

    Parameters
    ----------
    free:
        Settings that are not part of the digest.
    earlier:
        The folder of an earlier version, which counts more settings: taken where it has a run.
    """
    if earlier is not None and (earlier / MANIFEST).is_file():
        return earlier
    return Path("runs") / f"{kind}-{config_digest(config, free=free)[:8]}"


def _hint(pipeline: Pipeline, stage: Stage, change: str) -> str:
    """How to go on with another setting of a stage that failed, as a command to copy; "" where that is not known."""
    name, _, value = change.partition("=")
    key = pipeline.key(stage, name)
    if not key:
        return ""
    words, repeated = ["--out", str(pipeline.folder)], ""
    if key not in pipeline.changeable:
        first = next(each for each in pipeline.stages if each.name == stage.name)
        words += ["--rerun-from", first.title]
        if first.title != stage.title:
            repeated = f", though all from {first.title} on runs again"
    return (
        f"; to go on{repeated}: {pipeline.resume} {shlex.join([*words, '--set', f'{key}={value}'])}"
    )


def with_models(pipeline: Pipeline, models: Iterable[str], note: Callable[[str], None]) -> Pipeline:
    """The pipeline once the models that it starts from are on this machine, with their sources in its manifest.

    Raises
    ------
    UsageError, RunStopped
        As `spar.pretrained.prepare_model`.
    """
    models = tuple(dict.fromkeys(models))
    for model in models:
        prepare_model(model, note)
    return replace(pipeline, manifest=with_sources(pipeline.manifest, models))


def select_stages(
    stages: Sequence[Stage], selection: StageSelection, *, overwrite: bool = False
) -> tuple[int, Sequence[Stage]]:
    """The index of the first stage to run again, `len(stages)` where there is none; and the stages to run.

    Parameters
    ----------
    overwrite:
        Whether no stage counts as done.

    Raises
    ------
    UsageError
        There is no such stage, or the selection contradicts itself.
    """
    if selection.only and selection.stop_after:
        raise UsageError("--only runs one stage and --stop-after several; give one of them")
    rerun = selection.rerun_from
    first = stages.index(find_stage(stages, rerun)) if rerun else len(stages)
    open_stages = [s for i, s in enumerate(stages) if overwrite or i >= first or not is_done(s)]
    current = open_stages[0].iteration if open_stages else stages[-1].iteration
    begin, end = 0, len(stages) - 1
    if selection.only or selection.stop_after:
        end = stages.index(find_stage(stages, selection.only or selection.stop_after, current))
        begin = end if selection.only else 0
    if rerun and end < first:
        flag = "--only" if selection.only else "--stop-after"
        raise UsageError(
            f"--rerun-from {rerun} starts with {stages[first].title}, and {flag} "
            f"{selection.only or selection.stop_after} ends before it, with {stages[end].title}; "
            "choose an earlier stage to start or a later one to end with"
        )
    if rerun and selection.only:
        _check_inputs_stay(stages[first:end], stages[end], rerun)
    return first, [stage for stage in open_stages if begin <= stages.index(stage) <= end]


def select_runnable(
    pipeline: Pipeline, selection: StageSelection, *, overwrite: bool = False
) -> tuple[int, Sequence[Stage]]:
    """As `select_stages`, of a pipeline whose folder has what the selected stages read.

    Raises
    ------
    UsageError
        As `select_stages`; an input is missing, or there is no pipeline of which a stage could run again.
    """
    first, selected = select_stages(pipeline.stages, selection, overwrite=overwrite)
    is_new = overwrite or not (pipeline.folder / MANIFEST).is_file()
    if selection.rerun_from and is_new:
        why = "--overwrite deletes it" if overwrite else f"{pipeline.folder} has none"
        raise UsageError(
            f"--rerun-from {selection.rerun_from} runs stages of a {pipeline.title} again, and {why}; leave "
            f"{'one of the two' if overwrite else 'it'} out"
            + ("" if overwrite else ", or give the folder of one as --out")
        )
    check_inputs(pipeline.stages, selected, first, overwrite=overwrite)
    return first, selected


def _check_inputs_stay(archived: Sequence[Stage], only: Stage, rerun: str) -> None:
    """Raise `UsageError` where the only stage to run reads what `--rerun-from` moves away."""
    for stage in archived:
        if any(path.is_relative_to(stage.folder) for path in only.spec.inputs):
            raise UsageError(
                f"{only.title} reads what {stage.title} wrote, which --rerun-from {rerun} moves away, and --only runs no other "
                f"stage; give --stop-after {only.title} in place of --only"
            )


def find_stage(stages: Sequence[Stage], name: str, current: int | None = None) -> Stage:
    """The stage with a name: `2/search`, or `search` of the current iteration.

    Parameters
    ----------
    current:
        The current iteration; None for that of the first stage that is not done.

    Raises
    ------
    UsageError
        There is no such stage.
    """
    iteration, slash, short = name.rpartition("/")
    matches = [
        s for s in stages if s.name == short and (not slash or str(s.iteration) == iteration)
    ]
    if not matches:
        names = list(dict.fromkeys(stage.name for stage in stages))
        several = len({stage.iteration for stage in stages}) > 1
        more = f", or 2/{names[-1]} for iteration 2" if several else ""
        raise UsageError(f"there is no stage {name!r} (accepted: {', '.join(names)}{more})")
    if slash:
        return matches[0]
    if current is None:
        open_iterations = (stage.iteration for stage in stages if not is_done(stage))
        current = next(open_iterations, stages[-1].iteration)
    return next((stage for stage in matches if stage.iteration >= current), matches[-1])


def _delete(pipeline: Pipeline) -> None:
    """Delete what the records of the pipeline's stages say is its own, and nothing else.

    The last stage goes first, and of a stage its record goes last, so that a deletion that was cut short can be
    repeated, and leaves no done stage without its output.
    """
    manifest = pipeline.folder / MANIFEST
    if not manifest.is_file():
        return
    past = [stage for stage in pipeline.past_stages() if stage.record.exists()]
    for stage in reversed(past):
        reopen(stage)
        for path in (*stage.files[1:], stage.record):
            delete_path(path)
        remove_empty(stage.home, pipeline.folder)
    delete_archive(pipeline.folder, pipeline.past_stages())
    for path in (*pipeline.prompt_files, manifest):
        path.unlink(missing_ok=True)
