"""How many cores there are to use, and how many threads torch has on them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spar import cores
from spar.cores import THREADS, usable_cores


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "9900000 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_a_containers_limit_counts_of_the_cores(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of cgroup v2 or v1, where it is below the cores of the process's affinity."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    assert usable_cores(tmp_path) == expected


_IMPORT = """
from spar import cores
cores.usable_cores = lambda: {usable}
cores.import_torch()
import torch
print(torch.get_num_threads())
"""


def _threads_of(usable: int, **variables: str) -> int:
    """How many threads torch has in a new process that may use so many cores."""
    environment = {name: value for name, value in os.environ.items() if name != THREADS}
    run = subprocess.run(
        [sys.executable, "-c", _IMPORT.format(usable=usable)],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(run.stdout)


@pytest.mark.skipif(len(cores.visible_cores()) < 2, reason="one core")
def test_torch_has_no_more_threads_than_it_may_use_cores() -> None:
    """A container's limit counts unless the user says how many threads there are to be."""
    pytest.importorskip("torch")
    many = _threads_of(64)
    assert many > 1
    assert _threads_of(1) == 1
    assert _threads_of(1, OMP_NUM_THREADS="2") == 2
