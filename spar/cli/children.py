"""The end of the processes that this one started, for a program that does not wait for its threads.

Python ends some of its children at a regular exit, and none where a thread is cut off in the middle of
starting them. All below this process are found by /proc; where there is none, those that
`multiprocessing` knows.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Collection, Iterator
from pathlib import Path


def kill_children() -> None:
    """Kill every process below this one but the one that clears away shared memory after all others."""
    # Found before the first is killed: what hung below a dead process hangs below it no more.
    for pid in {*_below([os.getpid()]), *_known()} - {_resource_tracker()}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _known() -> list[int]:
    loaded = sys.modules.get("multiprocessing")
    return [child.pid for child in loaded.active_children()] if loaded else []


def _resource_tracker() -> int | None:
    """Id of the process that `multiprocessing` keeps for the end; it ends by itself."""
    loaded = sys.modules.get("multiprocessing.resource_tracker")
    return loaded._resource_tracker._pid if loaded else None


def _below(parents: Collection[int]) -> list[int]:
    if not parents:
        return []
    children = [pid for pid, parent in _parents() if parent in parents]
    return children + _below(children)


def _parents() -> Iterator[tuple[int, int]]:
    """Every process's id and its parent's."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            # The name, in brackets, may hold anything: the state and the parent follow the last one.
            yield int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])
