"""What `spar tui` does: hand the browser what it may not import itself, and start it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spar.cli.run_export import open_rendered, verdicts
from spar.config import DecodeConfig
from spar.errors import MissingExtra, RunStopped, UsageError
from spar.types import SearchTree
from spar.view.node_detail import Facts

if TYPE_CHECKING:
    from tui.inputs import Inputs

DEFAULT = Path("runs")
DEMO = ("--strategy", "bfs", "--budget", "7", "--limit", "24")
"""A minute of the embedded model on two cores."""
WEB_DRIVER = "TEXTUAL_DRIVER"
"""Set where a web server runs us: it reads our output from a pipe."""


def run(paths: tuple[Path, ...], config: DecodeConfig) -> None:
    """Browse until the person leaves.

    Parameters
    ----------
    config:
        What the play screen searches with.

    Raises
    ------
    UsageError
        A path does not exist, there is no terminal, or textual is not installed.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no {path}; give a run directory or a folder of them")
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and WEB_DRIVER not in os.environ:
        raise UsageError(
            "spar tui needs a terminal, and standard input or output is none; "
            "spar export RUN --format markdown --id ID writes a tree to a pipe"
        )
    try:
        from tui.app import SparApp
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise MissingExtra("textual", "", "spar tui") from error
    from spar.cli.play import SessionPlay

    with SessionPlay(config, DEFAULT) as play:
        app = SparApp(replace(make_inputs(paths), play=play))
        app.run()
    if app.return_code:
        sys.exit(app.return_code)


def make_inputs(paths: tuple[Path, ...]) -> Inputs:
    """What the browser starts from."""
    from tui.inputs import Inputs
    from tui.session_state import default_path

    return Inputs(
        paths=paths or (DEFAULT,),
        facts_for=facts_for,
        truth=truth,
        demo=demo,
        memory=default_path(),
        resume=not paths,
    )


def facts_for(directory: Path) -> Facts:
    """Verdicts and rendered prompts of a run's trees."""
    return Facts(verdicts, open_rendered(directory))


def truth(tree: SearchTree) -> bool | None:
    """Whether the answer meets every constraint of its prompt; None where spar cannot tell."""
    from spar.verifiers import passes

    return None if tree.answer is None else passes(tree.answer, tree.prompt.meta)


async def demo(directory: Path) -> None:
    """Search a few of the built-in prompts with the embedded model, in a process of its own.

    Raises
    ------
    RunStopped
        It failed; the last line that it said.
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
        _, said = await process.communicate()
    finally:
        if process.returncode is None:  # we are cancelled: the person leaves
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        raise RunStopped(f"the demo failed: {lines[-1] if lines else process.returncode}")
