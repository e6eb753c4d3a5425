"""What `spar train` does once its flags are read: check, run, print the state of the loop."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spar.cli.interrupts import interruptible
from spar.cli.invocation import Invocation
from spar.cli.show import train_view
from spar.cli.show.report import open_console
from spar.record.health import IterationHealth
from spar.sanitize import printable
from spar.train.loop import default_directory
from spar.train.recipe import TrainConfig
from spar.train.status import LoopState, StageState
from spar.train_runner import plan_train, read_state, train


def run(config: TrainConfig, invocation: Invocation) -> None:
    """Run the loop and print its state.

    Raises
    ------
    UsageError, RunStopped
        As `spar.train_runner.train`.
    """
    folder = invocation.out or default_directory(config)
    view = train_view.open_view(invocation.display, folder)
    selection, overwrite = invocation.selection, invocation.overwrite
    if invocation.dry_run:
        plan = plan_train(config, out=folder, selection=selection, overwrite=overwrite)
        for note in plan.notes:
            view.note(note)
        return
    with interruptible(folder), view:
        result = train(config, out=folder, listener=view, selection=selection, overwrite=overwrite)
    _print_state(result.state)


def print_status(directory: Path, *, as_json: bool = False) -> None:
    """Print a loop's stages and scores.

    Raises
    ------
    UsageError
        The folder does not hold a loop.
    """
    state = read_state(directory)
    if as_json:
        print(json.dumps(_as_json(state)))
    else:
        _print_state(state)


def _print_state(state: LoopState) -> None:
    console = open_console(100)
    for table in train_view.tables(state):
        console.print(table)
    console.print(printable(f"loop: {state.run}"), markup=False, highlight=False)


def _as_json(state: LoopState) -> dict[str, Any]:
    return {
        "loop": str(state.run),
        "stages": [_stage_json(stage_state) for stage_state in state.stages],
        "scores": {str(iteration): scores for iteration, scores in state.scores.items()},
        "health": [_health_json(health) for health in state.health],
    }


def _health_json(health: IterationHealth) -> dict[str, Any]:
    sides = health.log_probabilities
    return {
        "iteration": health.iteration,
        "drafts": health.drafts.model_dump() if health.drafts else None,
        "usable_share": health.usable_share,
        "tied_share": health.tied_share,
        "optimism": health.optimism,
        "log_probabilities": {side: asdict(change) for side, change in sides.items()},
    }


def _stage_json(state: StageState) -> dict[str, Any]:
    record, progress = state.record, state.progress
    return {
        "iteration": state.stage.iteration,
        "stage": state.stage.name,
        "state": state.state,
        "seconds": record.seconds if record else 0.0,
        "starts": record.starts if record else 0,
        "message": record.message if record else "",
        "done": progress.done if progress else None,
        "total": progress.total if progress else None,
        "seconds_left": state.summary.seconds_left,
        "metrics": dict(state.metrics),
        "folder": str(state.stage.folder),
    }
