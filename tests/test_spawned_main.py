"""Processes that an engine spawns end with the process that spawned them, however that ends."""

from __future__ import annotations

import subprocess
import sys
import time
from multiprocessing import get_context

import psutil
import pytest

from spar.main_module import hidden_main
from spar.subprocesses import await_end, end_processes, family

DEATH_SECONDS = 10
"""Longer than the poll interval, so that a busy machine does not fail the tests."""


def start_chain(depth: int) -> None:
    """Spawn a process that spawns another one, and so on; the last of `depth` prints a line."""
    if depth:
        get_context("spawn").Process(target=start_chain, args=(depth - 1,)).start()
    else:
        print("started", flush=True)
    time.sleep(600)


@pytest.mark.parametrize("victim", [0, 1], ids=["parent", "child"])
def test_a_killed_process_takes_what_it_spawned_with_it(victim: int) -> None:
    """Children and grandchildren end within seconds of a kill -9, also where one of the chain is killed."""
    code = f"from {__name__} import run; run()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as chain:
        try:
            assert chain.stdout is not None
            assert chain.stdout.readline() == "started\n"
            parent = psutil.Process(chain.pid)
            chained = [parent, *(p for p in parent.children(recursive=True) if is_spawned(p))]
            assert len(chained) == 3
            chained[victim].kill()
            assert await_end(chained[victim + 1 :], DEATH_SECONDS) == []
        finally:
            end_processes(family([chain.pid]), timeout=0)


def is_spawned(process: psutil.Process) -> bool:
    """Whether it is one of `multiprocessing`, and not the one that tracks shared memory."""
    return "--multiprocessing-fork" in process.cmdline()


def run() -> None:
    """What the parent of the chain does."""
    with hidden_main():
        start_chain(2)
