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
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from spar.errors import MissingExtra, RunStopped, SparError, UsageMistake
from spar.train.common import WATCHED
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
GRACE_SECONDS = 10.0
"""How long a training may take to end when it is asked to, before it is killed."""
_SHOWN = 12


def launch(
    trainer: Trainer,
    settings: Path,
    how: LaunchSettings = LaunchSettings(),
    log: Path | None = None,
) -> None:
    """Run a training to its end.

    Parameters
    ----------
    settings:
        The trainer's JSON file.
    log:
        Where its output is appended; None leaves it on this process's own.

    Raises
    ------
    UsageMistake
        What the trainer said about its settings, data or model.
    RunStopped
        It stopped, or was killed; running it again goes on from its last checkpoint.
    """
    out = Path(load_settings(TRAINERS[trainer], settings).out)
    (out / "failure.json").unlink(missing_ok=True)
    with _opened(log) as stream:
        # Of standard input other machines see nothing: ssh does not carry it there.
        watched = {} if how.hostfile else {WATCHED: "1"}
        code = _run(command(trainer, settings, how), stream, {**os.environ, **watched})
    if code:
        raise _failure(out, code, log)


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
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _over_hosts(how: LaunchSettings) -> list[str]:
    if not Path(how.hostfile).is_file():
        raise UsageMistake(
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


def _run(parts: list[str], stream: IO[bytes] | None, environment: Mapping[str, str]) -> int:
    child = subprocess.Popen(
        parts,
        stdin=subprocess.PIPE,
        stdout=stream,
        stderr=subprocess.STDOUT if stream else None,
        env=environment,
        start_new_session=True,  # Ctrl-C comes to us, and we end the whole group
    )
    try:
        return child.wait()
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a training and all that it started, however this came about."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if child.stdin:
        child.stdin.close()


def _failure(out: Path, code: int, log: Path | None) -> SparError:
    path = out / "failure.json"
    if path.exists():
        told: dict[str, Any] = json.loads(path.read_text())
        kind = UsageMistake if told["kind"] == "usage" else RunStopped
        return kind(told["message"])
    ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    if log is None:
        return RunStopped(f"the training in {out} {ended}; its output says why")
    last = log.read_text(errors="replace").splitlines()[-_SHOWN:]
    shown = "\n".join(f"  {line}" for line in last)
    return RunStopped(f"the training in {out} {ended}; the end of {log}:\n{shown}")


@contextlib.contextmanager
def _opened(log: Path | None) -> Iterator[IO[bytes] | None]:
    if log is None:
        yield None
        return
    with log.open("ab") as stream:
        yield stream


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
