"""`kill -9` in the middle of a run of every strategy, with and without a total budget."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.run.killing import TOTALS
from tests.strategies import SEARCHED


def test_every_strategy_resumes_after_kill_9(tmp_path: Path) -> None:
    """The resumed run has the trees of one that nothing happened to."""
    command = [sys.executable, "-m", "tests.run.killing", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(SEARCHED) * len(TOTALS)
    assert [row for row in rows if not (row["resumed"] and row["same"])] == []
    # A machine that is busy may end a run before it is killed.
    assert sum(row["was_alive"] for row in rows) > len(rows) / 2
