"""How one stage runs, whatever pipeline it belongs to: the folder's lock, its record, and its archive."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spar.errors import ConfigChanged, Interrupted, RunStopped, SparError, UsageError
from spar.files import locked, replace_json, replace_lines
from spar.listener import Activity, Listener
from spar.manifest import Manifest, refuse_changes
from spar.record.training import REPLACED, StageRecord
from spar.store import LOCK, MANIFEST, read_manifest, refuse_other_kind
from spar.train.stage import Stage, read_record, write_record
from spar.train.stage_inputs import missing_input
from spar.types import Prompt

ExecuteStage = Callable[[Stage, Callable[[], None]], None]
"""Executes a stage to its end; calls the function it is passed about once a second."""


@dataclass(frozen=True, slots=True)
class StageActivity(Activity):
    """A running stage, as a `Listener` sees it."""

    stage: Stage = field(kw_only=True)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Lock a folder, so that no other process runs stages in it.

    Raises
    ------
    RunLocked
        Another process holds the lock.
    RunStopped
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK):
            yield
    except OSError as error:
        raise RunStopped(
            f"cannot write to {folder}: {error.strerror or error}; fix this and rerun the command"
        ) from error


def check_owner(folder: Path, kind: str) -> None:
    """Reject a folder with other files than those of such a pipeline, before anything in it changes.

    Parameters
    ----------
    kind:
        What such a pipeline is: "training loop" or "bootstrap" (`spar.manifest.KINDS`).

    Raises
    ------
    UsageError
        The folder holds a run of another kind, or other files and no run.
    """
    if (folder / MANIFEST).exists():
        refuse_other_kind(read_manifest(folder), kind, folder)
        return
    foreign = sorted(entry.name for entry in folder.iterdir() if entry.name != LOCK)
    if foreign:
        raise UsageError(
            f"{folder} is not empty (it holds {foreign[0]!r}) and has no {MANIFEST}, so it is not the folder "
            f"of a {kind}; choose another --out"
        )


def check_settings(
    folder: Path,
    manifest: Manifest,
    stage_settings: Mapping[str, Sequence[str]],
    stages: Iterable[Stage],
    changeable: Sequence[str] = (),
    order: Sequence[str] = (),
    complete: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> None:
    """Reject settings that differ from those with which the stages have run.

    Parameters
    ----------
    manifest:
        The new manifest.
    stage_settings:
        Stage to the settings that no stage before it depends on.
    stages:
        The stages that will not run again.
    changeable:
        Settings that may differ, and yet are part of the manifest's digest.
    order:
        Stages in order, of which a run may leave some out: the settings of one that it has not are fixed as soon as a later
        one was started. Other stages fix their own settings alone.
    complete:
        Writes out what a stored recipe leaves at its defaults, and leaves out what has no effect.

    Raises
    ------
    ConfigChanged
        With a diff.
    """
    if not (folder / MANIFEST).exists():
        return
    stored, current = (
        each.model_copy(update={"config": complete(each.config)})
        for each in (read_manifest(folder), manifest)
    )
    remaining = list(stages)

    def refuse(unchanged: Sequence[Stage]) -> None:
        started = {stage.name for stage in unchanged if stage.record.exists()}
        last = max((index for index, name in enumerate(order) if name in started), default=-1)
        started |= {*order[: last + 1]}
        more = [
            name
            for stage, names in stage_settings.items()
            if stage not in started
            for name in names
        ]
        free = (*manifest.free, *more, *changeable)
        refuse_changes(stored, current.model_copy(update={"free": free}), folder)

    try:
        refuse(remaining)
    except ConfigChanged as error:
        hint = ""
        for index in reversed(range(len(remaining))):
            with contextlib.suppress(ConfigChanged):
                refuse(remaining[:index])
                hint = f", or run what depends on it again: --rerun-from {remaining[index].title}"
                break
        raise ConfigChanged(f"{error}{hint}") from None


def run_stage(
    stage: Stage,
    execute: ExecuteStage,
    listener: Listener,
    hint: Callable[[str], str] = lambda change: "",
) -> None:
    """Run one stage and record how it went.

    Parameters
    ----------
    hint:
        Says how to go on with another setting of the stage, as in `spar.errors.SparError`.

    Raises
    ------
    UsageError, RunStopped
        As `execute`, with the stage's title in front; or an input of the stage is missing.
    """
    missing = [path for path in stage.spec.inputs if not path.exists()]
    if missing:
        raise missing_input(stage, missing[0])
    stage.home.mkdir(exist_ok=True)
    before = read_record(stage)
    record = StageRecord(
        stage=stage.name,
        iteration=stage.iteration,
        state="running",
        starts=before.starts + 1 if before else 1,
        seconds=before.seconds if before else 0.0,
    )
    write_record(stage, record)
    replace_json(stage.spec_file, stage.spec.stored())
    activity = StageActivity(stage.title, stage=stage)
    listener.started(activity)
    start = time.monotonic()
    changes: dict[str, Any] = {"state": "failed"}
    try:
        execute(stage, lambda: listener.progress(activity))
        changes = {"state": "done"}
    except (KeyboardInterrupt, Interrupted):
        changes = {"state": "running"}  # as after a kill: the stage did not fail
        raise
    except SparError as error:
        changes["message"] = str(error)
        kind = UsageError if isinstance(error, UsageError) else RunStopped
        more = hint(error.change) if error.change else ""
        raise kind(f"stage {stage.title}: {error}{more}") from error
    finally:
        changes["seconds"] = round(record.seconds + time.monotonic() - start, 1)
        write_record(stage, record.model_copy(update=changes))
        listener.finished(activity)


def archive(folder: Path, stages: Sequence[Stage], note: Callable[[str], None]) -> None:
    """Move what stages have written to `replaced/N`, and prompts that were written for them, so that they run again."""
    started = [stage for stage in stages if stage.record.exists()]
    # A bootstrap has the prompts of all stages from its start on.
    written = [s for s in stages if s in started or (s.prompts is not None and s.prompts.exists())]
    if not written:
        return
    numbers = [int(path.name) for path in (folder / REPLACED).glob("*") if path.name.isdecimal()]
    target = folder / REPLACED / str(1 + max(numbers, default=0))
    for stage in reversed(written):  # a kill in the middle leaves no done stage without its inputs
        destination = target / stage.home.relative_to(folder)
        destination.mkdir(parents=True, exist_ok=True)
        for path in filter(Path.exists, stage.files):
            path.rename(destination / path.name)
    titles = ", ".join(stage.title for stage in started or written)
    note(f"running again: {titles}; their earlier output is in {target}")


def delete_archive(folder: Path, stages: Sequence[Stage]) -> None:
    """Delete the earlier output of stages in `replaced/N`, and nothing else in there."""
    for target in (folder / REPLACED).glob("*"):
        for stage in stages if target.name.isdecimal() else ():
            home = target / stage.home.relative_to(folder)
            for path in reversed(stage.files):
                delete_path(home / path.name)
            remove_empty(home, folder)


def reopen(stage: Stage) -> None:
    """Record that a stage is not done; a damaged record says so already."""
    with contextlib.suppress(UsageError):
        record = read_record(stage)
        if record is not None:
            write_record(stage, record.model_copy(update={"state": "running"}))


def delete_path(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; nothing where there is neither."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder and those above it, up to and without `top`, that are empty."""
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def write_prompts(path: Path, prompts: Iterable[Prompt]) -> None:
    """Write a file of prompts; it appears complete or not at all."""
    replace_lines(path, (json.dumps(_row(prompt), separators=(",", ":")) for prompt in prompts))


def _row(prompt: Prompt) -> Mapping[str, Any]:
    messages = [message.model_dump() for message in prompt.messages]
    return {**prompt.meta, "id": prompt.id, "messages": messages}
