"""A run on vLLM that is killed: nothing of it lives on, and the same command resumes it at once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from spar.store import read_trees
from spar.subprocesses import await_end
from tests.infer.fixture_vllm import EAGER, require_vllm

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

_START_SECONDS = 240
_DEATH_SECONDS = 15


def command(out: Path) -> list[str]:
    """A greedy run of three prompts."""
    arguments = [f"--engine-arg={name}={value}" for name, value in EAGER.items()]
    return [
        *(sys.executable, "-m", "spar", "decode", "--limit", "3", "--strategy", "greedy"),
        *("--engine", "vllm", "--out", str(out), *arguments),
    ]


def test_a_killed_run_leaves_no_process_and_resumes(tmp_path: Path) -> None:
    """After kill -9 the engine core and its worker end within seconds, and the run's lock is free."""
    require_vllm()
    run = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    family = await_worker(psutil.Process(run.pid))
    run.kill()
    run.wait()
    assert await_end(family, _DEATH_SECONDS) == []
    again = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert len(list(read_trees(tmp_path))) == 3


def await_worker(run: psutil.Process) -> list[psutil.Process]:
    """All processes of a run, once its engine core has started a worker."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        family = run.children(recursive=True)
        if any(process.parent() not in (run, None) for process in family):
            return family
        time.sleep(0.2)
    pytest.fail("vLLM started no worker")
