"""Ctrl-C while a model is being loaded: what the person reads, and what is left running."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_decode import SPAR

LOADING = """
import multiprocessing, subprocess, time
import spar.infer.engines.fake as fake
from spar.infer.engines.vllm.log_capture import captured, open_log

def load(deployment, config, tell):
    command = ["sh", "-c", "echo $PPID $$ > {ids}.new; mv {ids}.new {ids}; exec sleep 600"]
    with captured(open_log()):
        print("talk")
        spawning = multiprocessing.get_context("spawn")
        spawning.Process(target=subprocess.run, args=(command,)).start()
        time.sleep(600)

fake.open_fake = load
"""
"""Loads as vLLM does: with output diverted and in processes of its own, for ten minutes."""


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    """Where a loading model writes the ids of its process and of that one's own child."""
    (tmp_path / "sitecustomize.py").write_text(LOADING.format(ids=tmp_path / "ids"))
    return tmp_path / "ids"


def running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether a condition comes to hold in that time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_ctrl_c_while_a_model_loads_is_told_and_leaves_no_process(ids: Path) -> None:
    """The signal reaches this process alone, as from `kill -INT`."""
    command = [*SPAR, "decode", "--engine", "fake", "--out", str(ids.parent / "run")]
    process = subprocess.Popen(
        command,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ids.parent), os.environ.get("PYTHONPATH", "")]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert within(60, ids.exists), "it did not begin to load"
        loaders = [int(word) for word in ids.read_text().split()]
        assert all(map(running, loaders))
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
        assert within(30, lambda: not any(map(running, loaders)))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert stdout == ""
    assert "spar: interrupted; rerun the command to resume" in stderr
    assert "Traceback" not in stderr
