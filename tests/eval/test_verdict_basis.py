"""What the results say of the way in which verdicts were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spar.config import EvalConfig
from spar.eval.benchmark import GRADES, Benchmark
from spar.eval.followbench.benchmark import FollowBench
from spar.eval.job_outputs import RunOutputs
from spar.eval.refinement import Refinement
from spar.eval.verdict_basis import grading
from spar.run.build import make_manifest
from spar.store import RunStore

COOL = {**EvalConfig().draft.model_dump(), "temperature": 0.1}


def graded(directory: Path, benchmark: Benchmark, **settings: Any) -> dict[str, str]:
    """What is stored of a benchmark whose grades were made with these settings."""
    config = EvalConfig(engine="fake", **settings)
    RunStore.open(directory / GRADES, make_manifest(config)).close()
    return grading(benchmark, {}, RunOutputs(directory))


@pytest.mark.parametrize(
    ("benchmark", "settings", "changed"),
    [
        (FollowBench(), {"model": "other"}, {"grader.model"}),
        (FollowBench(), {"draft": COOL}, {"grader.draft.temperature"}),
        (FollowBench(), {"votes": 9, "vote": COOL}, set()),
        (Refinement(), {"votes": 9}, {"grader.votes"}),
        (Refinement(), {"draft": COOL}, set()),
        (Refinement(), {"strategy": "dfs", "budget": 9, "seed": 4}, set()),
    ],
)
def test_what_decides_the_graders_verdicts_is_stored(
    benchmark: Benchmark, settings: dict[str, Any], changed: set[str], tmp_path: Path
) -> None:
    """Its model, and the settings of the role in which it is asked; no others."""
    before = graded(tmp_path / "before", benchmark)
    after = graded(tmp_path / "after", benchmark, **settings)
    assert {name for name in before | after if before.get(name) != after.get(name)} == changed


def test_the_judges_template_is_stored(tmp_path: Path) -> None:
    """That of the refiner judges nothing."""
    own = graded(tmp_path / "own", Refinement())
    assert [name for name in own if name.startswith("grader.templates.")] == [
        "grader.templates.judge"
    ]


def test_replies_from_a_file_are_not_those_of_a_model(tmp_path: Path) -> None:
    """Whose they are is not known; the benchmark's options are."""
    outputs = RunOutputs(tmp_path, external_grades={})
    assert grading(FollowBench(), {"official_scoring": True}, outputs) == {
        "official_scoring": "true",
        "grader": '"replies from a file"',
    }
