"""Table 7 on one's own loops: which models are asked what, and what the page says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval import paper
from spar.eval.perplexity import PER_TOKEN
from spar.experiments import evaluations
from spar.experiments.experiment import Plan
from spar.experiments.loops import general_tasks, table7
from spar.experiments.loops.general_tasks import read_loops
from spar.experiments.runner import report
from spar.listener import Listener
from spar.record.evaluation import Example
from tests.experiments.test_pages import all_present
from tests.train.test_loop import Script, go, settings

NUM_QUESTIONS = 40
METRICS = {
    "gsm8k": next(iter(paper.GSM8K.columns)),
    "triviaqa": next(iter(paper.TRIVIAQA.columns)),
    "mmlu": "acc",
    "humaneval": "pass@1",
    "perplexity": PER_TOKEN,
}


def write_loop(run: Path, *, start: str = "A", iterations: int = 2, stop: str = "") -> Path:
    """A loop whose stages are scripted, as far as the stage `stop`."""
    config = settings(iterations=iterations, decode={"actor_model": start})
    selection: dict[str, Any] = {"stop_after": stop} if stop else {}
    go(Script(), run, config, **selection)
    return run


@pytest.fixture
def loops(tmp_path: Path) -> tuple[Path, ...]:
    """Two of one start; the second has a third iteration."""
    second = write_loop(tmp_path / "second", iterations=3)
    return write_loop(tmp_path / "first"), second


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...], Path]]:
    """Model, benchmarks and folder of every evaluation; GSM8K loses 8 of 40 answers with each iteration, texts become likelier."""
    calls: list[tuple[str, tuple[str, ...], Path]] = []

    async def run_evaluations(
        plan: Plan, benchmarks: Sequence[str], config: EvalConfig, out: Path
    ) -> dict[str, list[Example]]:
        calls.append((config.actor_model or config.model, tuple(benchmarks), out))
        time = next((n for n in (1, 2, 3) if f"iteration-{n}" in config.model), 0)
        right = {"gsm8k": 30 - 8 * time}
        return {
            name: [
                Example(
                    id=str(number),
                    response="",
                    passed=None,
                    scores={
                        METRICS[name]: (
                            (20.0 - time + number % 3, 10.0)
                            if name == "perplexity"
                            else (float(number < right.get(name, 20)), 1.0)
                        )
                    },
                )
                for number in range(NUM_QUESTIONS)
            ]
            for name in benchmarks
        }

    monkeypatch.setattr(general_tasks, "run_evaluations", run_evaluations)
    return calls


def plan_of(loops: tuple[Path, ...], **changes: Any) -> Plan:
    """As the command line makes it."""
    return Plan(
        model=read_loops(loops).start,
        seeds=len(loops),
        loops=loops,
        listener=Listener(),
        **changes,
    )


async def test_actors_of_all_iterations_are_compared_with_their_start(
    loops: tuple[Path, ...], asked: list[Any], tmp_path: Path
) -> None:
    """The start is asked once, the third iteration of one loop not; what is lost and what is gained stands on the page."""
    plan = plan_of(loops, runs=tmp_path / "runs")
    (result,) = await report(["table7"], plan, tmp_path / "pages")
    home = tmp_path / "runs" / "A" / "table7"
    assert [(model, out) for model, _, out in asked] == [
        ("A", home / "start"),
        *(
            (
                str(run / f"iteration-{time}" / "dpo" / "model"),
                home / f"seed-{seed}" / f"iteration-{time}",
            )
            for time in (1, 2)
            for seed, run in enumerate(loops)
        ),
    ]
    page = (tmp_path / "pages" / "table7.md").read_text()
    assert "| 0 | 75.0 ± " in page and "| 2 | -40.0 (" in page
    assert [claim.verdict for claim in result.measured.claims] == [
        *("does not hold", "inconclusive", "inconclusive", "holds")
    ]
    assert "a token is likelier by" in result.measured.claims[-1].text
    assert "HumanEval is left out" in page and "SPaR-8B-DPO-iter3" in page
    assert result.measured.headline == "GSM8K: -40.0 points"


async def test_it_is_measured_again_where_a_loop_has_gone_on(
    loops: tuple[Path, ...], asked: list[Any], tmp_path: Path
) -> None:
    """A page is written from the disk as long as the loops have the same models."""
    plan = plan_of(loops, runs=tmp_path / "runs")
    for _ in range(2):
        await report(["table7"], plan, tmp_path / "pages")
    assert len(asked) == 5
    longer = plan_of(loops[1:], runs=tmp_path / "runs")
    await report(["table7"], longer, tmp_path / "pages")
    assert len(asked) == 5 + 4


async def test_generated_code_is_run_only_where_it_is_allowed(
    loops: tuple[Path, ...], asked: list[Any], tmp_path: Path
) -> None:
    """HumanEval needs it."""
    plan = plan_of(loops, runs=tmp_path, allow_code_execution=True)
    measured = await table7.measure_table7(plan)
    assert {names for _, names, _ in asked} == {tuple(METRICS)}
    assert "HumanEval, %" in measured.tables[0].columns
    assert not any("left out" in note for note in measured.notes)


def test_loops_that_do_not_belong_together_are_refused(
    loops: tuple[Path, ...], tmp_path: Path
) -> None:
    """Each with a line that says which."""
    other = write_loop(tmp_path / "other", start="B")
    untrained = write_loop(tmp_path / "untrained", stop="draft")
    for folders, error in {
        (loops[0], loops[0]): "given twice",
        (*loops, other): "different models (A, B)",
        (untrained,): "no iteration of it is trained",
        (tmp_path,): str(tmp_path),
    }.items():
        with pytest.raises(UsageError, match=error.replace("(", r"\(").replace(")", r"\)")):
            read_loops(folders)


def test_a_model_alone_has_nothing_to_compare() -> None:
    """It says what is needed."""
    assert "--loop DIR" in table7.TABLE7.lacks(Plan(model="A"))
    assert table7.TABLE7.lacks(Plan()) == ""


def test_data_of_the_benchmarks_decide_the_numbers(
    loops: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the benchmarks that are asked; the embedded model's other tasks have none."""
    monkeypatch.setattr(evaluations, "present", all_present)
    asked = ["gsm8k", "triviaqa", "mmlu", "seed_prompts"]
    assert [*table7.TABLE7.data(plan_of(loops))] == asked
    allowed = plan_of(loops, allow_code_execution=True)
    assert {*table7.TABLE7.data(allowed)} == {*asked, "humaneval"}
    assert table7.TABLE7.data(Plan()) == {}


def test_the_cost_names_models_and_benchmarks(loops: tuple[Path, ...]) -> None:
    """One start and two iterations of two loops."""
    cost = table7.TABLE7.cost(plan_of(loops, share=0.1))
    assert cost.why.startswith("5 models at gsm8k, triviaqa, mmlu, perplexity, 100 questions")
    assert cost.calls == 5 * 4 * 100
