"""The cores that this process may use, and torch, imported with as many threads."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

THREADS = "OMP_NUM_THREADS"
"""The variable of the number of threads, which a user may have set."""


def visible_cores() -> set[int]:
    """Numbers of the cores that this process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def usable_cores(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: those of its affinity, or what a container's limit (cgroup v2 or v1) allows if that is less."""
    own = len(visible_cores())
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            texts = [(root / name).read_text(encoding="utf-8") for name in names]
            quota, period = map(int, " ".join(texts).split())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        if quota > 0:  # -1 for no limit
            return max(1, min(own, round(quota / period)))
    return own


def import_torch() -> ModuleType:
    """The module torch; where it is new, with no more threads than `usable_cores`, unless the user says how many.

    torch counts the cores that it sees: in a container that may use two of 64, 64 threads take turns on them.

    Raises
    ------
    ImportError
        It is not installed.
    """
    is_new = "torch" not in sys.modules
    import torch

    usable = usable_cores()
    if is_new and THREADS not in os.environ and usable < torch.get_num_threads():
        torch.set_num_threads(usable)
    return torch
