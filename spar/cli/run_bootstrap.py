"""What `spar bootstrap` does once its flags are read: check, run, print the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spar.bootstrap_runner import (
    BootstrapResult,
    bootstrap,
    plan_bootstrap,
)
from spar.cli.interrupts import interruptible
from spar.cli.invocation import Invocation
from spar.cli.show.report import open_console
from spar.cli.show.train_view import PlainView, View
from spar.errors import UsageError
from spar.sanitize import printable
from spar.train.bootstrap.build import summary_lines
from spar.train.bootstrap.pipeline import default_directory
from spar.train.bootstrap.recipe import BootstrapConfig, load_bootstrap

DISPLAYS = ("auto", "plain", "none")


def settings(
    recipe: str | None,
    overrides: Mapping[str, Any],
    flags: Mapping[str, Any],
    changes: Sequence[str],
) -> BootstrapConfig:
    """The bootstrap's settings; flags of the student and the teacher go to their sections.

    Raises
    ------
    UsageError
        An unknown recipe or setting, or a value out of range.
    """
    teacher = {
        "model": flags["teacher_model"],
        "base_url": tuple(flags["teacher_url"]) if flags["teacher_url"] else None,
        "engine": flags["teacher_engine"],
        "api_key_env": flags["api_key_env"],
        "device": flags["device"],
    }
    student = {name: flags[name] for name in ("model", "engine", "device")}
    name = recipe or ("paper" if flags["model"] else "nano")
    return load_bootstrap(name, overrides, changes, student=student, teacher=teacher)


def run(config: BootstrapConfig, invocation: Invocation) -> None:
    """Run the bootstrap and print its result.

    Raises
    ------
    UsageError, RunStopped
        As `spar.bootstrap_runner.bootstrap`.
    """
    folder = invocation.out or default_directory(config)
    view = open_view(invocation.display, folder)
    selection, overwrite = invocation.selection, invocation.overwrite
    if invocation.dry_run:
        plan = plan_bootstrap(config, out=folder, selection=selection, overwrite=overwrite)
        for note in plan.notes:
            view.note(note)
        return
    with interruptible(folder), view:
        result = bootstrap(
            config, out=folder, listener=view, selection=selection, overwrite=overwrite
        )
    _print_result(result)


def open_view(kind: str, folder: Path) -> View:
    """The view for a value of `--display`.

    Raises
    ------
    UsageError
        There is no such view.
    """
    if kind not in DISPLAYS:
        raise UsageError(f"unknown display {kind!r} (accepted: {', '.join(DISPLAYS)})")
    return (View if kind == "none" else PlainView)(folder)


def _print_result(result: BootstrapResult) -> None:
    lines = summary_lines(result.report) if result.report else []
    if result.actor is not None:
        models = f"--actor-model {result.actor} --refiner-model {result.refiner}"
        lines.append(f"start the loop with: spar train {models}")
    console = open_console(100)
    for line in (*lines, f"bootstrap: {result.directory}"):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
