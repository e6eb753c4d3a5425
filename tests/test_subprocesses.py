"""Processes that are ended, with all that they started."""

from __future__ import annotations

import subprocess
import sys

import psutil

from spar.subprocesses import end_processes, family

CODE = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("started", flush=True)
time.sleep(600)
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


def lives(process: psutil.Process) -> bool:
    """Whether a process runs still; one that waits to be asked for its exit code does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
