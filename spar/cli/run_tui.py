"""Run `spar tui`: start the browser with what it does not import itself."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spar.config import DecodeConfig
from spar.errors import MissingExtra, RunStopped, UsageError
from spar.progress import is_dumb_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spar.cli.play import ConfigOf
    from spar.record.stage_progress import StageProgress
    from spar.record.standing import Standing
    from tui.inputs import Inputs

DEFAULT = Path("runs")
DEMO = ("--strategy", "bfs", "--budget", "7", "--limit", "24")
"""Arguments of the demo run: about a minute with the embedded model on two cores."""
WEB_DRIVER = "TEXTUAL_DRIVER"
"""Environment variable that `textual serve` sets; it reads the output from a pipe."""


def run(paths: tuple[Path, ...], config: DecodeConfig, config_of: ConfigOf | None = None) -> None:
    """Run the browser until the user quits.

    Parameters
    ----------
    config:
        Settings of the play screen's searches.
    config_of:
        Makes them for another model.

    Raises
    ------
    UsageError
        A path does not exist, there is no terminal, or textual is not installed.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(
                f"{path} does not exist; pass a run directory or a folder that contains some"
            )
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and WEB_DRIVER not in os.environ:
        raise UsageError(
            "spar tui needs a terminal, but standard input or output is not one; "
            "use spar export RUN --format markdown --id ID to write a tree to a pipe"
        )
    if is_dumb_terminal() and WEB_DRIVER not in os.environ:
        raise UsageError(
            f"spar tui needs a terminal that can be redrawn, but TERM is {os.environ['TERM']!r}; set TERM, use spar "
            "view RUN in a browser, or spar export RUN --format markdown --id ID"
        )
    try:
        from tui.app import SparApp
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise MissingExtra("textual", "", "spar tui") from error
    from spar.cli.play import SessionPlay

    with SessionPlay(config, DEFAULT, config_of) as play:
        app = SparApp(replace(make_inputs(paths), play=play))
        app.run()
    if app.return_code:
        sys.exit(app.return_code)


def make_inputs(paths: tuple[Path, ...]) -> Inputs:
    """The inputs of the browser."""
    from spar.export.run import program_annotations
    from tui.inputs import Inputs
    from tui.keymap import keymap_path
    from tui.session_state import default_path

    return Inputs(
        paths=paths or (DEFAULT,),
        annotations_for=program_annotations,
        demo=demo,
        stages_of=stages_of,
        standings=standings,
        state_file=default_path(),
        keymap_file=keymap_path(),
        resume=not paths,
    )


def standings(passes: Sequence[Sequence[bool]]) -> Sequence[Standing]:
    """How runs stand against the first, as `spar eval compare` has it; its statistics are imported for a comparison."""
    from spar.eval import standings as statistics

    return statistics.standings(passes)


def stages_of(loop: Path) -> tuple[StageProgress, ...]:
    """The stages of a training loop, as `spar train status` has them; none for another folder."""
    from spar.store import LOCK
    from spar.train.status import read_loop
    from tui.index.run_summary import is_locked

    with suppress(UsageError):
        # The check takes no lock for itself: a loop that starts meanwhile must not find one.
        state = read_loop(loop, running=is_locked(loop / LOCK))
        return tuple(stage.summary for stage in state.stages)
    return ()


async def demo(directory: Path) -> None:
    """Search a few of the built-in prompts with the embedded model, in a separate process.

    Raises
    ------
    RunStopped
        It failed; the message has the last line of its output.
    """
    command = (sys.executable, "-m", "spar", "decode", *DEMO, "--display", "none")
    process = await asyncio.create_subprocess_exec(
        *command,
        "--out",
        str(directory),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, output = await process.communicate()
    finally:
        if process.returncode is None:  # cancelled: the user quits
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        lines = output.decode("utf-8", "replace").strip().splitlines()
        raise RunStopped(f"the demo failed: {lines[-1] if lines else process.returncode}")
