"""Starts a training in one process for each GPU, and reports why it failed.

    python -m spar.train.launch dpo dpo.json --processes 8
    python -m spar.train.launch sft sft.json --hostfile hosts

One process is plain python, several on one machine use torch's launcher, several machines DeepSpeed's, which
reaches them over ssh. The trainers also run below any launcher that sets RANK and WORLD_SIZE, such as
`accelerate launch -m spar.train.dpo dpo.json`.

No process outlives this one: each exits when its standard input ends. Those on other machines are ended by
DeepSpeed's launcher.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from spar.config import explain
from spar.errors import MissingExtra, SparError, UsageError
from spar.hardware import count_gpus
from spar.record.training import FAILURE
from spar.subprocesses import WATCHED, RunChild, appended, failure, print_error, run_child
from spar.train.methods import METHODS
from spar.train.owned import refuse_foreign
from spar.train.settings import LaunchSettings, load_settings


def launch(
    method: str,
    settings: Path,
    how: LaunchSettings = LaunchSettings(),
    log: Path | None = None,
    *,
    tick: Callable[[], None] = lambda: None,
    run: RunChild = run_child,
) -> None:
    """Run a training to its end.

    Parameters
    ----------
    method:
        Name in `spar.train.methods.METHODS`.
    settings:
        The trainer's JSON file.
    log:
        The file that its output is appended to; None for the output of this process.
    tick:
        Called about once a second while it runs.
    run:
        Runs the process of the training, or torch's or DeepSpeed's launcher.

    Raises
    ------
    UsageError
        The trainer rejected its settings, data or model, or its folder holds files of others.
    RunStopped
        It stopped, or was killed; rerunning it resumes from its last checkpoint.
    """
    out = Path(load_settings(METHODS[method].settings, settings).out)
    refuse_foreign(out)
    failure_file = out / FAILURE
    failure_file.unlink(missing_ok=True)
    with appended(log) as stream:
        # Standard input does not reach other machines: ssh does not carry it there.
        environment = {} if how.hostfile else {WATCHED: "1"}
        parts = command(method, settings, how)
        code = run(parts, stream, environment=environment, tick=tick)
    if code:
        raise failure(failure_file, code, what=f"the training in {out}", log=log)


def command(method: str, settings: Path, how: LaunchSettings = LaunchSettings()) -> list[str]:
    """The command that trains; starts nothing."""
    module = [METHODS[method].module, str(settings)]
    if how.hostfile:
        return [*_over_hosts(how), *module]
    gpus = count_gpus()
    processes = how.processes or max(1, gpus)
    # The trainers refuse one process that sees several GPUs, except below a launcher.
    if processes == 1 and gpus <= 1:
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
    parser.add_argument("method", choices=sorted(METHODS))
    parser.add_argument("settings", type=Path, help="the trainer's JSON file")
    parser.add_argument("--processes", type=int, default=0, help="0: one for each GPU, or one")
    parser.add_argument("--hostfile", default="", help="several machines, in DeepSpeed's format")
    parser.add_argument("--master-port", type=int, default=0, help="0: any free port")
    flags = parser.parse_args(arguments)
    try:
        how = _launch_settings(flags)
        launch(flags.method, flags.settings, how)
    except SparError as error:
        print_error(error)
        return error.exit_code
    return 0


def _launch_settings(flags: argparse.Namespace) -> LaunchSettings:
    """The settings that the flags give; raises `UsageError` for a value out of range."""
    try:
        return LaunchSettings(
            processes=flags.processes, hostfile=flags.hostfile, master_port=flags.master_port
        )
    except ValidationError as error:
        raise UsageError(explain(error, None, LaunchSettings, {})) from error


def _over_hosts(how: LaunchSettings) -> list[str]:
    if not Path(how.hostfile).is_file():
        raise UsageError(
            f"hostfile {how.hostfile!r}: no such file; write one line `NAME slots=GPUS` for each machine"
        )
    program = Path(sys.executable).with_name("deepspeed")
    if not program.exists():
        raise MissingExtra("deepspeed", "train", "training on several machines")
    port = ["--master_port", str(how.master_port)] if how.master_port else []
    # Otherwise every process would be passed --local_rank, which is in its environment.
    return [
        *(str(program), "--hostfile", how.hostfile, *port),
        *("--no_local_rank", "--module"),
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
