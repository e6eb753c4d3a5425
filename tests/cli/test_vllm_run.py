"""`spar decode` with vLLM's own processes, end to end: killed, resumed and reported."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from spar.store import read_manifest, read_trees
from spar.subprocesses import await_end
from tests.infer.fixture_vllm import require_vllm

pytestmark = [pytest.mark.vllm, pytest.mark.model, pytest.mark.slow]

_START_SECONDS = 240
_DEATH_SECONDS = 15


def command(out: Path) -> list[str]:
    """A search of twelve prompts, its summary as JSON."""
    small = {"enforce_eager": "true", "kv_cache_memory_bytes": 1 << 28}
    arguments = [f"--engine-arg={name}={value}" for name, value in small.items()]
    return [
        *(sys.executable, "-m", "spar", "decode", "--limit", "12", "--vote-rule", "race"),
        *("--engine", "vllm", "--json", "--out", str(out), *arguments),
    ]


def test_a_killed_search_leaves_no_process_and_resumes(tmp_path: Path) -> None:
    """After kill -9 the engine core and its worker end within seconds, and the run's lock is free.

    The resumed command's standard output is only the summary, with cached tokens and the hits of the engine's cache.
    """
    require_vllm()
    run = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    family = await_worker(psutil.Process(run.pid))
    run.kill()
    run.wait()
    assert await_end(family, _DEATH_SECONDS) == []
    again = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout)
    trees = list(read_trees(tmp_path))
    assert summary["trees"] == len(trees) == 12
    assert summary["passed_after"] >= summary["passed_before"]
    assert 0 < summary["cached_tokens"] < summary["prompt_tokens"]
    (engine,) = summary["engines"].values()
    assert 0 < engine["prefix_hit"] <= engine["prefix_queried"]
    assert summary["aborted_calls"] == sum(tree.usage.aborted_calls for tree in trees) > 0
    assert read_manifest(tmp_path).config["engine"] == "vllm"


def await_worker(run: psutil.Process) -> list[psutil.Process]:
    """All processes of a run, once its engine core has started a worker."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        family = run.children(recursive=True)
        if any(parent_of(process) not in (run, None) for process in family):
            return family
        time.sleep(0.2)
    pytest.fail("vLLM started no worker")


def parent_of(process: psutil.Process) -> psutil.Process | None:
    """The parent of a process, None where either has ended: a run starts some that end at once."""
    try:
        return process.parent()
    except psutil.NoSuchProcess:
        return None
