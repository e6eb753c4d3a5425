"""`kill -9` in every stage of the recipes of the paper's rivals: the resumed loops end as if nothing had happened to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.requires import requires
from tests.train.test_rivals import RECIPES, START

pytestmark = [pytest.mark.slow, pytest.mark.model, requires("trl")]


@pytest.mark.timeout(900)
def test_every_rival_resumes_after_kill_9_in_each_stage(tmp_path: Path) -> None:
    """Same prompts, drafts, judgements, training data, losses, weights and manifests; of one iteration each."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.killing", str(tmp_path), *RECIPES],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [row for row in rows if row["differs"] or not row["killed"]] == []
    for recipe, names in RECIPES.items():
        start = [f"0/{name}" for name in START.get(recipe, ())]
        stages = [*start, *(f"1/{name}" for name in names)]
        assert [row["stage"] for row in rows if row["recipe"] == recipe] == stages
