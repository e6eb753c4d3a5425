"""Starts a trainer in as many processes as there are places for it, and says clearly how it ended.

    python -m spar.train.launch dpo dpo.json --processes 8
    python -m spar.train.launch sft sft.json --hostfile hosts

One process is plain python, several on one machine are torch's launcher, several machines DeepSpeed's, which
reaches them over ssh. The trainers also run below any launcher that sets RANK and WORLD_SIZE, such as
`accelerate launch -m spar.train.dpo dpo.json`.

None of the processes outlives this one: they see their standard input end. Those on other machines are ended
by DeepSpeed's launcher.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from spar.errors import MissingExtra, SparError, UsageError
from spar.subprocesses import WATCHED, appended, failure, print_error, run_child
from spar.train.settings import (
    DpoSettings,
    LaunchSettings,
    SftSettings,
    TrainerSettings,
    load_settings,
)

Trainer = Literal["dpo", "sft"]
TRAINERS: Mapping[str, type[TrainerSettings]] = {"dpo": DpoSettings, "sft": SftSettings}
"""Trainer name, a module beside this one, to its settings."""


def launch(
    trainer: Trainer,
    settings: Path,
    how: LaunchSettings = LaunchSettings(),
    log: Path | None = None,
    *,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Run a training to its end.

    Parameters
    ----------
    settings:
        The trainer's JSON file.
    log:
        Where its output is appended; None leaves it on this process's own.
    tick:
        Called every second while it runs.

    Raises
    ------
    UsageError
        What the trainer said about its settings, data or model.
    RunStopped
        It stopped, or was killed; running it again goes on from its last checkpoint.
    """
    out = Path(load_settings(TRAINERS[trainer], settings).out)
    told = out / "failure.json"
    told.unlink(missing_ok=True)
    with appended(log) as stream:
        # Of standard input other machines see nothing: ssh does not carry it there.
        watched = {} if how.hostfile else {WATCHED: "1"}
        parts = command(trainer, settings, how)
        code = run_child(parts, stream, environment=watched, tick=tick)
    if code:
        raise failure(told, code, what=f"the training in {out}", log=log)


def command(trainer: Trainer, settings: Path, how: LaunchSettings = LaunchSettings()) -> list[str]:
    """The command that trains; nothing is started."""
    module = [f"spar.train.{trainer}", str(settings)]
    if how.hostfile:
        return [*_over_hosts(how), *module]
    processes = how.processes or max(1, _gpus())
    if processes == 1:
        return [sys.executable, "-m", *module]
    port = how.master_port or _free_port()
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", "1", "--nproc-per-node", str(processes)),
        *("--master-addr", "127.0.0.1", "--master-port", str(port)),
        *("-m", *module),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m spar.train.launch")
    parser.add_argument("trainer", choices=sorted(TRAINERS))
    parser.add_argument("settings", type=Path, help="the trainer's JSON file")
    parser.add_argument("--processes", type=int, default=0, help="0: one a GPU, or one")
    parser.add_argument("--hostfile", default="", help="several machines, in DeepSpeed's form")
    parser.add_argument("--master-port", type=int, default=0, help="0: a free one")
    given = parser.parse_args(arguments)
    try:
        how = LaunchSettings(
            processes=given.processes, hostfile=given.hostfile, master_port=given.master_port
        )
        launch(given.trainer, given.settings, how)
    except SparError as error:
        print_error(error)
        return error.exit_code
    return 0


def _over_hosts(how: LaunchSettings) -> list[str]:
    if not Path(how.hostfile).is_file():
        raise UsageError(
            f"hostfile {how.hostfile!r}: no such file; write a line `NAME slots=GPUS` a machine"
        )
    program = Path(sys.executable).with_name("deepspeed")
    if not program.exists():
        raise MissingExtra("deepspeed", "train", "training on several machines")
    port = ["--master_port", str(how.master_port)] if how.master_port else []
    # Without the option every process would be given --local_rank, which it has in its environment.
    return [
        *(str(program), "--hostfile", how.hostfile, *port),
        *("--no_local_rank", "--module"),
    ]


def _gpus() -> int:
    """GPUs of this machine, without waking one: torch in this process would hold memory on it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    found = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in found.stdout.splitlines())


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
