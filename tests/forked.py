"""Commands and trainings as forks of a process that has imported torch, transformers and TRL: they start at once.

Each process of a pipeline imports these for seconds, longer than it trains in a test. Here a command, the
workers that it starts and the processes of a training are forks of one process; a fork is safe there as long as
torch has one thread. What starts as it does for a user is tested beside: a loop in `tests/cli/test_train.py`, a
training by torch's launcher in `tests/train/test_deepspeed.py`. The server that spar itself forks (`spar.stage_processes`)
would import all of it again, so that it is left out here.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

_SERVER = multiprocessing.get_context("forkserver")
IMPORTED = [
    *("torch", "transformers.models.llama.modeling_llama"),
    *("trl.trainer.dpo_trainer", "trl.trainer.sft_trainer"),
    *("spar.cli.app", "spar.worker", "spar.train.dpo", "spar.train.sft"),
]

_TRAINING_SECONDS = 250


def start_spar(arguments: Sequence[str], out: Path, stdin: str | None = None) -> ForkServerProcess:
    """Start `spar ARGUMENTS`, which writes to `out`.out and `out`.err; its `kill` is a kill -9.

    Parameters
    ----------
    stdin:
        What it reads from standard input; None leaves it as it is here.
    """
    _SERVER.set_forkserver_preload(IMPORTED)
    given = None
    if stdin is not None:
        given = out.with_suffix(".in")
        given.write_text(stdin, "utf-8", newline="")
    world = (dict(os.environ), str(Path.cwd()), given)
    process = _SERVER.Process(target=_run_command, args=(list(arguments), *world, out))
    process.start()
    return process


def run_spar(
    arguments: Sequence[str], out: Path, stdin: str | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `spar ARGUMENTS` to its end.

    Parameters
    ----------
    timeout:
        Seconds after which it is killed, and an error.
    """
    for path in _outputs(out):
        path.unlink(missing_ok=True)
    process = start_spar(arguments, out, stdin)
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        raise subprocess.TimeoutExpired(list(arguments), timeout or 0)
    texts = [path.read_text("utf-8") for path in _outputs(out)]
    return subprocess.CompletedProcess(list(arguments), process.exitcode, *texts)


def in_child(work: Callable[[], object]) -> int:
    """Do something in a child of this process, whose exit code is returned: minus the signal that killed it."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_training(module: str, settings: Path, log: Path, *, num_processes: int) -> None:
    """Run a trainer in processes that find each other by the variables which torch's launcher sets."""
    _SERVER.set_forkserver_preload(IMPORTED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    world = {"WORLD_SIZE": str(num_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = []
    for rank in map(str, range(num_processes)):
        environment = {**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank}
        arguments = (module, settings, environment, log)
        processes.append(_SERVER.Process(target=_run_trainer, args=arguments))
        processes[-1].start()
    for process in processes:
        process.join(_TRAINING_SECONDS)
    codes = [process.exitcode for process in processes]
    for process in processes:  # one waits for the other
        process.kill()
    assert set(codes) == {0}, log.read_text()


def _outputs(out: Path) -> list[Path]:
    return [out.with_suffix(suffix) for suffix in (".out", ".err")]


def _run_trainer(module: str, settings: Path, environment: dict[str, str], log: Path) -> None:
    os.environ.update(environment)
    with log.open("ab") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    main: Any = import_module(module).main
    sys.exit(main([str(settings)]))


def _run_command(
    arguments: list[str], environment: dict[str, str], folder: str, stdin: Path | None, out: Path
) -> None:
    import spar.stage_processes
    import spar.subprocesses
    from spar.cli.app import main

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if stdin is not None:
        os.dup2(os.open(stdin, os.O_RDONLY), 0)
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    for number, path in enumerate(_outputs(out), start=1):
        with path.open("ab") as stream:
            os.dup2(stream.fileno(), number)
    started = SimpleNamespace(**{**vars(subprocess), "Popen": _Worker})
    vars(spar.subprocesses)["subprocess"] = started
    vars(spar.stage_processes)["may_fork"] = lambda spec: False
    sys.argv = ["spar", *arguments]
    main()


class _Worker:
    """What `run_child` uses of a `subprocess.Popen`: a fork that runs `python -m MODULE ARGUMENTS`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: int,
        stdout: IO[bytes],
        stderr: int,
        env: Mapping[str, str],
        start_new_session: bool,
    ) -> None:
        python, option, module, *arguments = command
        assert (python, option, start_new_session) == (sys.executable, "-m", True)
        assert (stdin, stderr) == (subprocess.PIPE, subprocess.STDOUT)
        read, write = os.pipe()
        self.stdin = os.fdopen(write, "wb")
        self._process = multiprocessing.get_context("fork").Process(
            target=_run_module, args=(module, arguments, env, read, write, stdout)
        )
        self._process.start()
        os.close(read)
        assert self._process.pid
        self.pid = self._process.pid

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises `TimeoutExpired` while it runs."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self._process.exitcode


def _run_module(
    module: str,
    arguments: list[str],
    environment: Mapping[str, str],
    read: int,
    write: int,
    log: IO[bytes],
) -> None:
    os.setsid()
    os.close(write)
    os.dup2(read, 0)
    for number in (1, 2):
        os.dup2(log.fileno(), number)
    os.environ.update(environment)
    main: Any = import_module(module).main
    sys.exit(main(arguments))
