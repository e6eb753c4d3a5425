"""`spar eval`: its output in a narrow terminal, with unreadable grades, and while another process writes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from spar.cli.eval import run
from spar.cli.show import eval_report
from spar.config import EvalConfig, load_eval
from spar.errors import RunLocked, UsageError
from spar.eval.job_runner import forget
from spar.eval.runner import EvalRequest, default_directory, evaluate
from spar.plugins import BENCHMARKS
from spar.progress import Progress
from spar.record.evaluation import Metric, Results
from spar.store import RunStore, read_manifest, read_trees
from tests.cli.test_decode import rows
from tests.cli.toy_benchmark import NUM_PROMPTS


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy benchmark, and one with unreadable grades."""
    monkeypatch.setitem(BENCHMARKS, "toy", "tests.cli.toy_benchmark:Toy")
    monkeypatch.setitem(BENCHMARKS, "toy-unread", "tests.cli.toy_benchmark:ToyUnread")


def settings(**fields: object) -> EvalConfig:
    """Settings of the fake engine."""
    return load_eval("nano", {"engine": "fake", **fields})


@pytest.mark.parametrize("width", [30, 60, 80, 160])
@pytest.mark.parametrize("name", ["ifeval", "followbench", "llmbar"])
def test_no_number_is_cut_in_a_narrow_terminal(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The paper's table is split by columns, and names are folded, before a digit is lost."""
    monkeypatch.setattr(eval_report, "PIPED_WIDTH", width)
    paper = BENCHMARKS.spec(name).paper
    assert paper is not None
    metrics = {metric: Metric(value=0.125, stderr=None, n=7) for metric in paper.columns}
    facts = {"model": "mine", "strategy": "bfs", "budget": 15, "whole": 7}
    eval_report.print_results(Results(benchmark=name, n=7, metrics=metrics, run=facts))
    shown = capsys.readouterr().out.split("the paper's ", 1)[1]
    beside, own = shown.split(f"{name}, 7 examples")  # the run's own metrics come last
    cells = [cell for row in paper.rows.values() for cell in paper.cells(row)]
    assert {cell for cell in cells if cell not in beside} == set()
    assert beside.count("12.5") == len(paper.columns)
    assert "…" not in beside and "12.50 %" in own


@pytest.mark.parametrize(
    ("whole", "limit", "label"),
    [
        (7, None, "this run (mine, bfs 15)"),
        (9, None, "this run (mine, bfs 15, 7 examples)"),
        (7, 7, "this run (mine, bfs 15, 7 examples)"),
    ],
)
def test_part_of_a_benchmark_is_marked(
    whole: int, limit: int | None, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The paper's numbers beside it are of the whole benchmark."""
    facts = {"model": "mine", "strategy": "bfs", "budget": 15, "whole": whole, "limit": limit}
    eval_report.print_results(Results(benchmark="gsm8k", n=7, metrics={}, run=facts))
    assert label in capsys.readouterr().out


def test_unreadable_grades_do_not_hide_other_benchmarks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can be scored is written and printed, then the error is raised."""
    both = EvalRequest(("toy-unread", "toy"), tmp_path)
    with pytest.raises(UsageError, match="nobody can read"):
        run(settings(), both, as_json=True, display="none")
    assert list(json.loads(capsys.readouterr().out)["results"]) == ["toy"]
    assert (tmp_path / "toy" / "results.json").is_file()
    assert not (tmp_path / "toy-unread" / "results.json").exists()


def test_nothing_is_printed_if_nothing_can_be_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No JSON rather than an empty one."""
    alone = EvalRequest(("toy-unread",), tmp_path)
    with pytest.raises(UsageError):
        run(settings(), alone, as_json=True, display="none")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("stage", ["", "grades"])
def test_overwrite_deletes_nothing_while_another_process_writes(tmp_path: Path, stage: str) -> None:
    """Neither the answers nor a stage below them."""
    asyncio.run(evaluate(settings(), EvalRequest(("toy",), tmp_path), Progress()))
    toy = tmp_path / "toy"
    with (
        RunStore.open(toy / stage, read_manifest(toy / stage)),
        pytest.raises(RunLocked, match="is writing to"),
    ):
        forget({toy: "toy"})
    assert len(list(read_trees(toy))) == len(list(read_trees(toy / "grades"))) == NUM_PROMPTS
    forget({toy: "toy"})
    assert {path.name for path in toy.iterdir()} == {"run.lock"}


def test_changed_responses_have_a_directory_of_their_own(tmp_path: Path) -> None:
    """The default directory changes with the content of the file."""
    answers = rows(tmp_path / "answers.jsonl", {"id": "t0", "response": "x"})
    config = settings(responses=str(answers))
    first = default_directory(config)
    assert default_directory(config) == first
    rows(answers, {"id": "t0", "response": "y"})
    assert default_directory(config) != first


def test_judge_outputs_are_rejected_for_a_benchmark_without_a_grader(tmp_path: Path) -> None:
    """They would be ignored."""
    outputs = rows(tmp_path / "outputs.jsonl", {"id": "nano-test-0-0", "output": "Yes"})
    request = EvalRequest(("nano-if",), tmp_path / "out", judge_outputs=str(outputs))
    with pytest.raises(UsageError, match="--judge-outputs is for followbench"):
        asyncio.run(evaluate(settings(), request, Progress()))
    assert not (tmp_path / "out").exists()
