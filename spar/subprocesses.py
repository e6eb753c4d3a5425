"""Worker processes: start them, watch them, report their failures, leave none behind.

A worker ends when its parent dies: its standard input, a pipe from the parent, is then closed. It writes
its failure as one line to a JSON file, since an exit code says too little.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import psutil

from spar.errors import RunStopped, SparError, UsageError
from spar.files import replace_json

WATCHED = "SPAR_DIES_WITH_STDIN"
"""Environment variable of a worker whose standard input is closed when its parent dies."""
GRACE_SECONDS = 10.0
"""Time between SIGTERM and SIGKILL."""
TICK_SECONDS = 1.0
"""Interval of `run_child`'s `tick`."""
_POLL_SECONDS = 0.05
_LOG_LINES = 12
"""Lines from the end of a worker's log that an error shows."""


class RunChild(Protocol):
    """`run_child`, or another way to do the same (`spar.fork_server`)."""

    def __call__(
        self,
        parts: Sequence[str],
        stream: IO[bytes] | None,
        *,
        environment: Mapping[str, str],
        tick: Callable[[], None] = ...,
    ) -> int:
        """Run a command and kill everything that it started; returns its exit code."""


def run_child(
    parts: Sequence[str],
    stream: IO[bytes] | None,
    *,
    environment: Mapping[str, str],
    tick: Callable[[], None] = lambda: None,
) -> int:
    """Run a command and kill everything that it started; returns its exit code.

    Parameters
    ----------
    stream:
        Receives its standard output and error; None shares those of this process.
    environment:
        Variables added to this process's environment.
    tick:
        Called every second while the command runs.
    """
    child = subprocess.Popen(
        list(parts),
        stdin=subprocess.PIPE,
        stdout=stream,
        stderr=subprocess.STDOUT if stream else None,
        env={**os.environ, **environment},
        start_new_session=True,  # Ctrl-C reaches this process only, which ends the whole group
    )
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(TICK_SECONDS)
            tick()
    finally:
        end_child(child)


def end_child(child: subprocess.Popen[bytes]) -> None:
    """End a worker and its process group: SIGTERM, then SIGKILL."""
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


def exit_with_parent(cleanup: Callable[[], None] = lambda: None) -> None:
    """Exit this process when its parent dies, if it was started as a worker.

    Parameters
    ----------
    cleanup:
        Called before the exit, such as `kill_children`.
    """
    if WATCHED not in os.environ:
        return

    def watch() -> None:
        while os.read(0, 1):
            pass
        cleanup()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def write_failure(path: Path, error: SparError) -> None:
    """Write an error for the parent process, which reads it with `failure`."""
    with contextlib.suppress(OSError):  # the disk may be full; the output has the error too
        kind = "usage" if isinstance(error, UsageError) else "stopped"
        replace_json(path, {"kind": kind, "message": str(error), "change": error.change})


def failure(path: Path, code: int, *, what: str, log: Path | None) -> SparError:
    """The error of a worker that ended with `code`: the one in `path`, else the end of its log.

    Parameters
    ----------
    what:
        The subject of the sentence, such as "the training in runs/a".
    """
    if path.exists():
        written: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        kind = UsageError if written["kind"] == "usage" else RunStopped
        return kind(written["message"], change=written.get("change", ""))
    ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    if log is None:
        return RunStopped(f"{what} {ended}; its output says why")
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    tail = "\n".join(f"  {line}" for line in lines)
    return RunStopped(f"{what} {ended}; the end of {log}:\n{tail}")


@contextlib.contextmanager
def appended(log: Path | None) -> Iterator[IO[bytes] | None]:
    """Open a log for appending; None where there is no log."""
    if log is None:
        yield None
        return
    with log.open("ab") as stream:
        yield stream


def print_error(error: SparError) -> None:
    """Print an error as one line on standard error; unencodable characters are escaped."""
    print(
        f"error: {error}".encode("utf-8", "backslashreplace").decode(), file=sys.stderr, flush=True
    )


def kill_children() -> None:
    """Kill every process below this one.

    Python ends only some children at exit, and none that a thread is about to start. The process of
    `multiprocessing` that frees shared memory after all others is spared; it ends by itself.
    """
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    spared = tracker._resource_tracker._pid if tracker else None
    with contextlib.suppress(psutil.Error):
        # Listed before the first is killed: orphans are no longer below this process.
        for child in psutil.Process().children(recursive=True):
            if child.pid != spared:
                with contextlib.suppress(psutil.Error):
                    child.kill()


def family(pids: Iterable[int]) -> list[psutil.Process]:
    """These processes, as far as they live, and all that they started."""
    members: dict[int, psutil.Process] = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            for member in (process, *process.children(recursive=True)):
                members.setdefault(member.pid, member)
    return list(members.values())


def await_end(processes: Iterable[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Wait for processes to end; returns those that live on after `timeout` seconds.

    A process that has exited holds no memory and no lock, even if its parent never asks for its exit code; one whose first
    thread has ended before the others holds both.
    """
    end = time.monotonic() + timeout
    living = [process for process in processes if _lives(process)]
    while living and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
        living = [process for process in living if _lives(process)]
    return living


def end_processes(processes: Iterable[psutil.Process], timeout: float) -> None:
    """Wait until processes have ended; those that take longer than `timeout` seconds are killed."""
    living = await_end(processes, timeout)
    for process in living:
        with contextlib.suppress(psutil.Error):
            process.kill()
    await_end(living, GRACE_SECONDS)


def _lives(process: psutil.Process) -> bool:
    try:
        if not process.is_running():
            return False
        return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except psutil.Error:
        return False
