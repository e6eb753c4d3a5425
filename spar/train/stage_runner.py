"""How one stage runs, whatever list of stages it stands in: its record, its process, what it left behind."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spar.errors import ConfigChanged, RunStopped, SparError, UsageError
from spar.files import locked, replace_json, replace_lines
from spar.listener import Activity, Listener
from spar.manifest import Manifest, refuse_changes
from spar.record.training import PROMPTS, REPLACED, StageRecord
from spar.store import LOCK, MANIFEST, read_manifest
from spar.subprocesses import WATCHED, appended, failure, run_child
from spar.train.stages import Stage
from spar.train.status import read_record, write_record
from spar.types import Prompt

WORKER = "spar.worker"
"""The module that does the stages which are no trainings; named, not imported: it knows engines."""


@dataclass(frozen=True, slots=True)
class StageActivity(Activity):
    """A stage that runs, as a `Listener` sees it."""

    stage: Stage = field(kw_only=True)


@contextlib.contextmanager
def held(run: Path) -> Iterator[None]:
    """Hold a folder, so that no other process runs stages in it.

    Raises
    ------
    RunLocked
        Another one does.
    RunStopped
        It cannot be written to.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        with locked(run / LOCK):
            yield
    except OSError as error:
        raise RunStopped(
            f"cannot write to {run}: {error.strerror or error}; mend that and run the same command again"
        ) from error


def check_owner(run: Path, *, mark: str, what: str) -> None:
    """Refuse a folder with files that are not a run's of this kind, before anything in it is touched.

    Parameters
    ----------
    mark:
        Key of the configuration that only such runs have.
    what:
        Its name in the message, such as "training loop".

    Raises
    ------
    UsageError
        It holds a run of another kind, or other files and no run.
    """
    if (run / MANIFEST).exists():
        if mark not in read_manifest(run).config:
            raise UsageError(f"{run} holds a run of another kind; give another --out")
        return
    foreign = sorted(entry.name for entry in run.iterdir() if entry.name != LOCK)
    if foreign:
        raise UsageError(
            f"{run} is not empty (it holds {foreign[0]!r}) and has no {MANIFEST}, so it is no {what}'s "
            "folder; give another --out"
        )


def refuse_other_settings(
    run: Path,
    wanted: Manifest,
    changeable: Mapping[str, Sequence[str]],
    kept: Iterable[Stage],
) -> None:
    """Refuse to go on with other settings than those that the stages which are kept have run with.

    Parameters
    ----------
    changeable:
        Stage to the settings that no stage before it hangs on.

    Raises
    ------
    ConfigChanged
        With a diff.
    """
    if not (run / MANIFEST).exists():
        return
    begun = {stage.name for stage in kept if stage.record.exists()}
    more = [name for stage, names in changeable.items() if stage not in begun for name in names]
    free = (*wanted.free, *more)
    try:
        refuse_changes(read_manifest(run), wanted.model_copy(update={"free": free}), run)
    except ConfigChanged as error:
        raise ConfigChanged(
            f"{error}, or redo with --rerun-from the first stage that the change is for"
        ) from None


def run_stage(
    stage: Stage, execute: Callable[[Callable[[], None]], None], listener: Listener
) -> None:
    """Run one stage and keep a record of how that went.

    Parameters
    ----------
    execute:
        Does the stage's work; is passed a function to call every second.

    Raises
    ------
    UsageError, RunStopped
        As `execute`, with the stage's name in front; or what the stage needs is not there.
    """
    missing = [path for path in stage.needs if not path.exists()]
    if missing:
        raise UsageError(
            f"stage {stage.title} needs {missing[0]}, which is not there; "
            f"run the stages before it, or redo the one that made it with --rerun-from"
        )
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
    replace_json(stage.order_file, dict(stage.order))
    activity = StageActivity(stage.title, stage=stage)
    listener.started(activity)
    start = time.monotonic()
    changed: dict[str, Any] = {"state": "failed"}
    try:
        execute(lambda: listener.progress(activity))
        changed = {"state": "done"}
    except SparError as error:
        changed["message"] = str(error)
        raise _in_stage(stage, error) from error
    except KeyboardInterrupt:
        changed = {"state": "running"}  # as after a kill: it was not its own fault
        raise
    finally:
        changed["seconds"] = round(record.seconds + time.monotonic() - start, 1)
        write_record(stage, record.model_copy(update=changed))
        listener.finished(activity)


def _in_stage(stage: Stage, error: SparError) -> SparError:
    kind = UsageError if isinstance(error, UsageError) else RunStopped
    return kind(f"stage {stage.title}: {error}")


def run_worker(order: Path, log: Path, tick: Callable[[], None] = lambda: None) -> None:
    """Have a stage's process carry out an order.

    Raises
    ------
    UsageError, RunStopped
        As it says itself.
    """
    told = order.with_suffix(".failure.json")
    told.unlink(missing_ok=True)
    with appended(log) as stream:
        parts = [sys.executable, "-m", WORKER, str(order)]
        code = run_child(parts, stream, environment={WATCHED: "1"}, tick=tick)
    if code:
        raise failure(told, code, what="its process", log=log)


def archive(run: Path, stages: Sequence[Stage], note: Callable[[str], None]) -> None:
    """Move what stages have written out of the way, so that they run again."""
    begun = [stage for stage in stages if stage.record.exists()]
    if not begun:
        return
    taken = [int(path.name) for path in (run / REPLACED).glob("*") if path.name.isdecimal()]
    number = 1 + max(taken, default=0)
    for stage in reversed(begun):  # killed in the middle, none is left whose inputs are gone
        aside = run / REPLACED / str(number) / stage.home.relative_to(run)
        aside.mkdir(parents=True, exist_ok=True)
        for path in filter(Path.exists, files_of(stage)):
            path.rename(aside / path.name)
    titles = ", ".join(stage.title for stage in begun)
    note(f"runs again: {titles}; what they had written is in {run / REPLACED / str(number)}")


def files_of(stage: Stage) -> tuple[Path, ...]:
    """Everything that a stage may have written; its record first, without which it is not done."""
    told = stage.order_file.with_suffix(".failure.json")
    count = Path(f"{stage.folder}.count.json")
    prompts = (stage.home / PROMPTS,) if stage.name == "draft" else ()
    return (stage.record, stage.order_file, told, count, stage.log, stage.folder, *prompts)


def keep_prompts(path: Path, prompts: Iterable[Prompt]) -> None:
    """Write a file of prompts, which is there whole or not at all."""
    replace_lines(path, (json.dumps(_row(prompt), separators=(",", ":")) for prompt in prompts))


def _row(prompt: Prompt) -> Mapping[str, Any]:
    messages = [message.model_dump() for message in prompt.messages]
    return {**prompt.meta, "id": prompt.id, "messages": messages}
