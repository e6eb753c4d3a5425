"""What a process that an engine spawns imports in place of the main script: a watch on its parent.

`multiprocessing` has every process that it spawns import a main module first. `spar.main_module` makes that
this module, which starts a thread that ends the process once its parent is gone, however that died: vLLM's
processes do not notice a killed parent by themselves, and would hold the memory of the GPU for minutes. The
processes that such a process spawns import this module too.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from multiprocessing import parent_process

from spar.subprocesses import kill_children

POLL_SECONDS = 0.5
"""Interval at which the parent is looked for."""


def exit_with_spawner() -> None:
    """End this process, and all that it started, when the process that spawned it is gone."""
    first = os.getppid()

    def is_orphan() -> bool:
        # The spawner may die before this process asks for the first time. Its id is known from what it
        # sent, which `multiprocessing` reads after this module.
        spawner = parent_process()
        expected = first if spawner is None else spawner.pid
        return os.getppid() != expected

    def watch() -> None:
        while not is_orphan():
            time.sleep(POLL_SECONDS)
        kill_children()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="spar-watch", daemon=True).start()


if __name__ == "__mp_main__":
    exit_with_spawner()
