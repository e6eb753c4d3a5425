"""Table 7's benchmarks on the models of a loop, with their data."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar.embedded import CHECKPOINT
from spar.experiments.loops import general_tasks
from spar.experiments.loops.general_tasks import PEOPLES_REPLIES, measure_general_tasks
from tests.experiments.test_general_tasks import plan_of, write_loop
from tests.requires import requires


@requires("lm_eval", "torch")
@pytest.mark.xdist_group("evalharness")
@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.model
@pytest.mark.slow
async def test_every_benchmark_has_a_number_for_every_question(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the start, and of an iteration whose model is the same."""
    monkeypatch.setattr(general_tasks, "_QUICK_QUESTIONS", 3)
    run = write_loop(tmp_path / "run", start=str(CHECKPOINT), iterations=1)
    trained = run / "iteration-1" / "dpo" / "model"
    (trained / "config.json").unlink()
    trained.rmdir()
    trained.symlink_to(CHECKPOINT)
    plan = plan_of((run,), quick=True, data=str(data_root), allow_code_execution=True)
    found = await measure_general_tasks(plan, tmp_path / "table7")
    assert found[0] == found[1]
    assert {title: len(shares[0]) for title, shares in found[0].items()} == {
        **dict.fromkeys(("GSM8K", "TriviaQA", "MMLU", "HumanEval"), 3),
        PEOPLES_REPLIES: 3,
    }
