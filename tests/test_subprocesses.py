"""Processes that are ended, with all that they started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from spar.errors import UsageError
from spar.subprocesses import await_end, end_processes, failure, family, write_failure

CODE = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("started", flush=True)
time.sleep(600)
"""

FIRST_THREAD_ENDS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(1.0,)).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_what_does_not_end_by_itself_is_killed_with_its_children() -> None:
    """And what has ended by then is not waited for."""
    command = [sys.executable, "-c", CODE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        short = subprocess.Popen([sys.executable, "-c", ""])
        processes = family([process.pid, short.pid])
        assert len(processes) == 3
        end_processes(processes, timeout=0.5)
        assert [each for each in processes if lives(each)] == []
        short.wait()
    assert family([process.pid]) == []


@pytest.mark.skipif(sys.platform != "linux", reason="threads of a zombie")
def test_a_process_lives_until_its_last_thread_has_ended() -> None:
    """As in one that is killed on a busy machine: it is a zombie, and its files and locks are open."""
    with subprocess.Popen(
        [sys.executable, "-c", FIRST_THREAD_ENDS], stdout=subprocess.PIPE
    ) as started:
        assert started.stdout and started.stdout.readline()
        process = psutil.Process(started.pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            pass
        assert await_end([process], 0) == [process]
        assert await_end([process], 30) == []


def lives(process: psutil.Process) -> bool:
    """Whether a process runs still; one that waits to be asked for its exit code does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class RowError(UsageError):
    """An error of a plug-in, which keeps what it needs and writes its own message."""

    def __init__(self, row: int) -> None:
        self.row = row

    def __str__(self) -> str:
        return f"row {self.row} is bad"


def test_the_error_of_a_worker_reaches_its_parent(tmp_path: Path) -> None:
    """Its message, its kind, and what would let it go on, where it says that; a plug-in's error need not."""
    path = tmp_path / "failure.json"
    for error, change in ((RowError(3), ""), (UsageError("too long", change="batch=1"), "batch=1")):
        write_failure(path, error)
        read = failure(path, 1, what="the worker", log=None)
        assert (type(read), str(read), read.change) == (UsageError, str(error), change)
    assert UsageError("a", "b").args == ("a", "b")
