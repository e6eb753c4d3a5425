"""Kills a run of every strategy in the middle, resumes it, and compares it with one that was left alone.

    python -m tests.run.killing DIRECTORY

Each run is a forked child of this process, which needs no second import, killed with SIGKILL once some of its trees
are written. Prints a JSON line for each strategy and total budget.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from spar.config import DecodeConfig
from spar.infer.engine import Completion, Request
from tests.run.test_total_budget import PROMPTS, MortalEngine, config_of, start, trees_of
from tests.strategies import SEARCHED

TOTALS = (None, 40)


class SlowEngine(MortalEngine):
    """Takes some time for a call, so that a run has a middle."""

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order."""
        await asyncio.sleep(self._dice.random() * 0.01)
        return await super().generate(requests)


def fork(directory: Path, config: DecodeConfig) -> int:
    """Start a run in a child; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        asyncio.run(start(directory, config, SlowEngine(os.getpid())))
        code = 0
    finally:
        os._exit(code)


def kill_after(pid: int, trees: Path, count: int) -> bool:
    """SIGKILL once so many lines are written; whether it was alive then."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        ended, _ = os.waitpid(pid, os.WNOHANG)
        if ended:
            return False
        if trees.is_file() and trees.read_bytes().count(b"\n") >= count:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return True
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    raise TimeoutError(f"{trees}: the run wrote nothing")


def main(home: Path) -> None:
    """Run, kill, resume and compare."""
    dice = random.Random(7)
    for number, (strategy, options) in enumerate(SEARCHED):
        for total in TOTALS:
            config = config_of(
                strategy=strategy, strategy_args=options, budget=4, total_budget=total
            )
            killed, whole = (home / f"{number}-{total}-{name}" for name in ("killed", "whole"))
            count = dice.randrange(1, len(PROMPTS) - 1)
            alive = kill_after(fork(killed, config), killed / "trees.jsonl", count)
            _, status = os.waitpid(fork(killed, config), 0)
            asyncio.run(start(whole, config, MortalEngine(1)))
            row = {
                "strategy": strategy,
                "options": options,
                "total": total,
                "was_alive": alive,
                "resumed": os.waitstatus_to_exitcode(status) == 0,
                "same": trees_of(killed) == trees_of(whole),
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
