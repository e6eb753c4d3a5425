"""Processes that do one piece of work for another: started, watched, ended, and heard of when they fail.

A worker sees its standard input end when whoever started it dies, however that came about, and then ends
too. What went wrong it leaves in one line in a JSON file, since an exit code says too little.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from spar.errors import RunStopped, SparError, UsageError
from spar.files import replace_json

WATCHED = "SPAR_DIES_WITH_STDIN"
"""Set for a worker: its standard input ends with the process that started it."""
GRACE_SECONDS = 10.0
"""How long a worker may take to end when it is asked to, before it is killed."""
TICK_SECONDS = 1.0
"""How often whoever waits for a worker looks at how it goes."""
_SHOWN = 12


def run_child(
    parts: Sequence[str],
    stream: IO[bytes] | None,
    *,
    environment: Mapping[str, str],
    tick: Callable[[], None] = lambda: None,
) -> int:
    """Run a command to its end, and end all that it started; returns its exit code.

    Parameters
    ----------
    stream:
        Where its output goes; None leaves it on this process's own.
    environment:
        What it sees besides this process's environment.
    tick:
        Called every second while it runs.
    """
    child = subprocess.Popen(
        list(parts),
        stdin=subprocess.PIPE,
        stdout=stream,
        stderr=subprocess.STDOUT if stream else None,
        env={**os.environ, **environment},
        start_new_session=True,  # Ctrl-C comes to us, and we end the whole group
    )
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(TICK_SECONDS)
            tick()
    finally:
        _end(child)


def exit_with_parent(cleanup: Callable[[], None] = lambda: None) -> None:
    """End this process when whoever started it has died, if it was started as a worker.

    Parameters
    ----------
    cleanup:
        Called before that, for children of its own.
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
    """Leave a failure in one line for whoever started this process."""
    with contextlib.suppress(OSError):  # the disk may be full: its output says so too
        kind = "usage" if isinstance(error, UsageError) else "stopped"
        replace_json(path, {"kind": kind, "message": str(error)})


def failure(path: Path, code: int, *, what: str, log: Path | None) -> SparError:
    """Why a worker ended with `code`: what it left in `path`, else the end of its output.

    Parameters
    ----------
    what:
        The subject of the sentence, such as "the training in runs/a".
    """
    if path.exists():
        told: dict[str, Any] = json.loads(path.read_text())
        kind = UsageError if told["kind"] == "usage" else RunStopped
        return kind(told["message"])
    ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    if log is None:
        return RunStopped(f"{what} {ended}; its output says why")
    last = log.read_text(errors="replace").splitlines()[-_SHOWN:]
    shown = "\n".join(f"  {line}" for line in last)
    return RunStopped(f"{what} {ended}; the end of {log}:\n{shown}")


@contextlib.contextmanager
def appended(log: Path | None) -> Iterator[IO[bytes] | None]:
    """A log that output is appended to, None where there is none."""
    if log is None:
        yield None
        return
    with log.open("ab") as stream:
        yield stream


def print_error(error: SparError) -> None:
    """Print an error as its one line on standard error, whatever characters it holds."""
    print(
        f"error: {error}".encode("utf-8", "backslashreplace").decode(), file=sys.stderr, flush=True
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a worker and all that it started, however this came about."""
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
