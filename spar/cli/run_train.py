"""What `spar train` does once its flags are read: say what will run, run it, show how it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.cli import train_view
from spar.cli.interrupts import interruptible
from spar.cli.report import open_console, visible
from spar.errors import MissingExtra, RunLocked, UsageError
from spar.estimate.training import check_disk, estimate, lines
from spar.files import locked
from spar.hardware import has_package
from spar.infer.engines.hf import check_model_folder
from spar.manifest import config_digest
from spar.prompts import read_prompts
from spar.run.resolve import deployments
from spar.store import LOCK, MANIFEST
from spar.train.loop import Course, origin_of, planned, run_loop
from spar.train.recipe import FREE, TrainConfig, load_train, with_changes
from spar.train.stages import Stage, all_stages
from spar.train.status import (
    LoopState,
    StageState,
    read_config,
    read_loop,
)

DEFAULT_RECIPE = "nano"


@dataclass(frozen=True, slots=True)
class Invocation:
    """The flags that are not settings of the loop."""

    out: Path | None = None
    course: Course = Course()
    fresh: bool = False
    dry_run: bool = False
    display: str = "auto"


def settings(
    recipe: str | None,
    out: Path | None,
    given: Mapping[str, Any],
    assignments: Sequence[str],
    *,
    fresh: bool,
) -> TrainConfig:
    """The loop's settings: the recipe's, or where none is named those of the loop that is in `out`.

    Raises
    ------
    UsageError
        An unknown recipe or setting, or a value out of range.
    """
    stored = out is not None and not fresh and (out / MANIFEST).is_file()
    if recipe is None and stored and out is not None:
        return with_changes(read_config(out)[0], given, assignments)
    return load_train(recipe or DEFAULT_RECIPE, given, assignments)


def run(config: TrainConfig, invocation: Invocation) -> None:
    """Run the loop as asked.

    Raises
    ------
    UsageError, RunStopped
        As `spar.train.loop.run_loop`; and before anything runs for prompts and models that are wrong.
    """
    _refuse_servers(config)
    directory = invocation.out or default_directory(config)
    view = train_view.open_view(invocation.display, directory)
    known = _check_prompts(config)
    _check_models(config)
    _check_encoder(config)
    origin = origin_of(config, directory, fresh=invocation.fresh)
    stages = all_stages(config, directory, origin)
    _, left = planned(stages, invocation.course, fresh=invocation.fresh)
    for line in _plan(config, left, directory, known):
        view.note(line)
    if invocation.dry_run:
        return
    with interruptible(directory), view:
        run_loop(directory, config, invocation.course, view, fresh=invocation.fresh)
    print_status(directory)


def default_directory(config: TrainConfig) -> Path:
    """`runs/train-DIGEST`: the same command finds its loop again, with more iterations as well."""
    return Path("runs") / f"train-{config_digest(config.stored(), free=FREE)[:8]}"


def print_status(directory: Path, *, as_json: bool = False) -> None:
    """Print a loop's stages and scores.

    Raises
    ------
    UsageError
        The folder is no loop's.
    """
    if not (directory / MANIFEST).is_file():
        raise UsageError(
            f"there is no training loop in {directory}; give the folder of a `spar train`"
        )
    state = read_loop(directory, running=_is_running(directory))
    if as_json:
        print(json.dumps(_facts(state)))
        return
    console = open_console(100)
    for table in train_view.tables(state):
        console.print(table)
    console.print(visible(f"loop: {directory}"), markup=False, highlight=False)


def _is_running(directory: Path) -> bool:
    try:
        with locked(directory / LOCK):
            return False
    except RunLocked:
        return True
    except OSError:  # another's folder, which we may only read: nobody can tell
        return True


def _facts(state: LoopState) -> dict[str, Any]:
    return {
        "loop": str(state.run),
        "stages": [_stage_facts(one) for one in state.stages],
        "scores": {str(iteration): scores for iteration, scores in state.scores.items()},
    }


def _stage_facts(one: StageState) -> dict[str, Any]:
    record, progress = one.record, one.progress
    return {
        "iteration": one.stage.iteration,
        "stage": one.stage.name,
        "state": one.state,
        "seconds": record.seconds if record else 0.0,
        "starts": record.starts if record else 0,
        "message": record.message if record else "",
        "done": progress.done if progress else None,
        "total": progress.total if progress else None,
        "folder": str(one.stage.folder),
    }


def _plan(
    config: TrainConfig, left: Sequence[Stage], directory: Path, known: int | None
) -> list[str]:
    if not left:
        return [f"{directory}: every stage that was asked for is done"]
    found = estimate(config, left, known)
    warning = check_disk(directory, found)
    return [f"loop: {directory}", *lines(found), *([warning] if warning else [])]


def _refuse_servers(config: TrainConfig) -> None:
    decode = config.decode
    if decode.base_url or decode.actor_url or decode.refiner_url or decode.engine == "openai":
        raise UsageError(
            "spar train trains the models that it asks, and cannot train those of a server; give "
            "--model FOLDER_OR_NAME and --engine hf or vllm (a judge of its own may be a server)"
        )


def _check_prompts(config: TrainConfig) -> int | None:
    """Read every prompt once, so that a bad row is told before a model loads; how many there are."""
    if not config.prompts:
        return None
    if config.prompts == "-":
        raise UsageError(
            "spar train reads its prompts again in every iteration; give a file, not -"
        )
    return sum(1 for _ in read_prompts(config.prompts))


def _check_encoder(config: TrainConfig) -> None:
    """Tell before hours of search that what would measure the pairs is not installed."""
    if config.embedding_model and not has_package("sentence_transformers"):
        raise MissingExtra("sentence_transformers", "embeddings", "embedding_model")


def _check_models(config: TrainConfig) -> None:
    for deployment in deployments(config.decode).values():
        if not deployment.urls and config.decode.engine != "fake":
            check_model_folder(deployment.model)
