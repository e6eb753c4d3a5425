"""Ending the processes that this one started, for a program that does not wait for its threads.

Python ends some of its children at a regular exit, and none where a thread is cut off in the middle of
starting them.
"""

from __future__ import annotations

import contextlib
import sys

import psutil


def kill_children() -> None:
    """Kill every process below this one, except the one that clears shared memory after all others."""
    with contextlib.suppress(psutil.Error):
        # Listed before the first is killed: the children of a dead process are no longer below us.
        for child in psutil.Process().children(recursive=True):
            if child.pid != _resource_tracker():
                with contextlib.suppress(psutil.Error):
                    child.kill()


def _resource_tracker() -> int | None:
    """Id of the process that `multiprocessing` starts to clean up at the end; it ends by itself."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    return module._resource_tracker._pid if module else None
