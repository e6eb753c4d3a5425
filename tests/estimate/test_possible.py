"""A loop or a bootstrap that cannot have the examples it requires is refused before its first stage, and no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spar.bootstrap_runner import plan_bootstrap
from spar.errors import UsageError
from spar.train.bootstrap.recipe import load_bootstrap
from spar.train.pipeline import StageSelection
from spar.train.recipe import load_train
from spar.train_runner import plan_train


def prompts_file(folder: Path, num: int = 10, name: str = "prompts.jsonl") -> str:
    """A file of so many prompts, each with a text of its own."""
    path = folder / name
    rows = [
        {"prompt": f"Write note {i}.", "output": "A note.", "text": f"Note {i}."}
        for i in range(num)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["min_pairs=11"], "^10 prompts give at most 10 pairs, and min_pairs is 11: give more prompts, or .* N is 10 or less$"),
        (["min_pairs=10"], ""),
        (["pairs=both", "min_pairs=20"], ""),
        (["pairs=both", "min_pairs=21"], "at most 20 pairs"),
        (["pairs=both", "samples=1", "min_pairs=11"], "at most 10 pairs"),
        (["pairs=independent", "samples=1", "min_pairs=1"], "takes two drafts of a prompt, and samples is 1"),
        (["pairs=reference", "samples=1", "min_pairs=10"], ""),
        (["prompts_per_iteration=4", "min_pairs=5"], "^4 prompts give .* raise prompts_per_iteration, or"),
        (["max_pairs=4", "min_pairs=5"], "max_pairs is 4, and min_pairs 5"),
        (["methods=[sft]", "min_pairs=11"], "at most 10 answers"),
        (["methods=[rft]", "min_pairs=11"], ""),
        (["min_pairs=9", "by_iteration=[{}, {min_pairs: 11}]"], "or lower min_pairs in by_iteration to 10 or less"),
    ],
)  # fmt: skip
def test_more_pairs_than_the_prompts_can_give(
    sets: list[str], message: str, tmp_path: Path
) -> None:
    """The bound of each kind of pairs, in each iteration; at the bound the loop starts."""
    config = load_train("nano", {"iterations": 2, "prompts": prompts_file(tmp_path)}, sets)
    if not message:
        assert plan_train(config, out=tmp_path / "run").stages
        return
    with pytest.raises(UsageError, match=message):
        plan_train(config, out=tmp_path / "run")


def test_pairs_that_no_selected_stage_takes(tmp_path: Path) -> None:
    """A loop that ends before its build may have fewer prompts than that would need."""
    config = load_train("nano", {"prompts": prompts_file(tmp_path)})
    assert plan_train(config, out=tmp_path / "run", selection=StageSelection(stop_after="judge"))


def test_prompts_that_are_written_count(tmp_path: Path) -> None:
    """Those of an earlier start are used again, though the file has lost some since."""
    config = load_train("nano", {"prompts": prompts_file(tmp_path), "iterations": 1})
    home = tmp_path / "run" / "iteration-1"
    home.mkdir(parents=True)
    prompts_file(home, 32)
    assert plan_train(config, out=tmp_path / "run").stages


def test_texts_are_counted_where_a_model_writes_the_prompts(tmp_path: Path) -> None:
    """A loop of unlabelled texts has no more answers than texts."""
    texts = prompts_file(tmp_path, 3, "texts.jsonl")
    config = load_train("humpback", {}, [f"backtranslation.texts={texts}"])
    with pytest.raises(UsageError, match=r"^3 prompts give at most 3 answers, and min_pairs is 16"):
        plan_train(config, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["min_answers=10", "min_examples=50"], ""),
        (["min_answers=11"], "the actor has at most 10 examples, and min_answers is 11"),
        (["min_answers=3", "max_answers=2"], "at most 2 examples, .* raise max_answers"),
        (["min_examples=51"], "the refiner has at most 50 examples, and min_examples is 51"),
    ],
)
def test_more_examples_than_a_bootstrap_can_have(
    sets: list[str], message: str, tmp_path: Path
) -> None:
    """Ten prompts, two drafts each: 10 answers, 10 refinements, 20 judgements of drafts and 20 of searches."""
    config = load_bootstrap(
        "nano", {"prompts": prompts_file(tmp_path)}, sets, student={}, teacher={"engine": "fake"}
    )
    if not message:
        notes = plan_bootstrap(config, out=tmp_path / "run").notes
        assert "build: at most 10 examples for the actor and 50 for the refiner" in notes
        return
    with pytest.raises(UsageError, match=message):
        plan_bootstrap(config, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("own", "teacher", "notes"),
    [
        (True, {}, ["student", "teacher"]),
        (True, {"engine": "fake"}, ["student"]),
        (False, {}, []),
    ],
)
def test_prompts_that_the_embedded_model_does_not_know_are_noted(
    own: bool, teacher: dict[str, str], notes: list[str], tmp_path: Path
) -> None:
    """Of a bootstrap as of a loop: the line names who the embedded model is."""
    values = {"prompts": prompts_file(tmp_path) if own else ""}
    config = load_bootstrap("nano", values, student={}, teacher=teacher)
    plan = plan_bootstrap(config, out=tmp_path / "run")
    noted = [line.partition(":")[0] for line in plan.notes if "small language of nano-if" in line]
    assert noted == notes
