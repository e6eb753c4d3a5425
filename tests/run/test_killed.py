"""`kill -9` of runs of every strategy: plain, with a total budget, and with models that take turns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.run.killing import KINDS, TOTAL
from tests.strategies import SEARCHED


def test_every_strategy_resumes_after_kill_9(tmp_path: Path) -> None:
    """The resumed run has the trees of one that nothing happened to, and has spent no more than its total."""
    command = [sys.executable, "-m", "tests.run.killing", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(SEARCHED) * len(KINDS)
    assert [row for row in rows if not row["same"]] == []
    with_total = [row for row in rows if row["kind"] != "plain"]
    assert all(row["spent"] <= TOTAL for row in with_total)
    # In the first round, and twice in a later one.
    raised = [row for row in with_total if row["strategy"] != "greedy"]
    assert all(row["killed"] == [True, True, True] for row in raised)
    assert any(row["spent"] == TOTAL for row in raised)
    assert all(row["killed"][0] for row in rows)
