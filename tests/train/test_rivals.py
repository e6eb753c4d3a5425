"""The recipes of other methods on the embedded model, of the smallest size: their stages, their pairs, and resuming."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spar.cli.show.train_view import tables
from spar.errors import UsageError
from spar.store import read_trees
from spar.templates.verdicts import parse_verdict
from spar.train import dpo, sft
from spar.train.build import read_report
from spar.train.loop import loop_pipeline
from spar.train.pipeline import StageSelection, run_pipeline
from spar.train.recipe import load_train
from spar.train.specs import TrainingSpec
from spar.train.stage import Stage
from spar.train.status import read_loop
from spar.train_runner import plan_train
from spar.verification_functions import FUNCTIONS, PERMISSION, verdicts
from spar.verifiers import passes
from spar.worker import execute
from tests.fakes import Notes
from tests.requires import requires

pytestmark = [pytest.mark.model, requires("torch", "transformers")]

SMALL = (
    *("prompts_per_iteration=6", "min_pairs=1", "benchmarks=[]", "decode.draft.max_tokens=40"),
    *("decode.votes=3", "decode.vote.max_tokens=120"),
    *("dpo.epochs=1", "dpo.batch=8", "dpo.micro_batch=8", "dpo.checkpoint_steps=0"),
    *("rft.epochs=1", "rft.batch=8", "rft.micro_batch=8", "rft.checkpoint_steps=0"),
)
OWN: dict[str, tuple[str, ...]] = {
    "humpback": (
        *("sft.epochs=1", "sft.batch=8", "sft.checkpoint_steps=0", "sft.micro_batch=8"),
        *("backtranslation.num_seeds=8", "backtranslation.backward.checkpoint_steps=0"),
        *("backtranslation.backward.epochs=2", "backtranslation.backward.batch=8"),
        "backtranslation.backward.micro_batch=8",
    ),
    "autoif": (
        *("sft.epochs=1", "sft.batch=8", "sft.checkpoint_steps=0", "sft.micro_batch=8"),
        *("functions.num_instructions=8", "functions.samples=7", "samples=4"),
    ),
}
"""Recipe to the small sizes of what it alone has."""
RECIPES = {
    "self-rewarding": ["draft", "judge", "build", "dpo"],
    "spin": ["draft", "build", "dpo"],
    "self": ["draft", "judge", "search", "build", "rft"],
    "meta-rewarding": ["draft", "judge", "judgements", "build", "dpo"],
    "humpback": ["draft", "judge", "build", "sft"],
    "autoif": ["draft", "judge", "build", "sft"],
}
"""Recipe to the stages of an iteration."""
START = {
    "humpback": ["texts", "backward", "label"],
    "autoif": ["functions", "check", "back", "compare", "join"],
}
"""Recipe to the stages before the first iteration."""
SECOND = {"autoif": "dpo"}
"""Recipe to the training of the second iteration, where it is another one."""


def go(
    recipe: str,
    run: Path,
    *changes: str,
    stop_after: str = "",
    on_stage: Callable[[Stage], None] = lambda stage: None,
) -> list[str]:
    """Run the stages of a loop in this process; returns their titles."""
    ran: list[str] = []

    def work(stage: Stage, tick: Callable[[], None]) -> None:
        ran.append(stage.title)
        on_stage(stage)
        if isinstance(stage.spec, TrainingSpec):
            trainer = {"dpo": dpo}.get(stage.name, sft)
            trainer.train(stage.spec.settings)
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(PERMISSION, "")  # what a stage permits ends with its process
                execute(stage.spec)  # type: ignore[arg-type]

    own = OWN.get(recipe, ())
    pipeline = loop_pipeline(load_train(recipe, {}, [*SMALL, *own, *changes]), run)
    selection = StageSelection(stop_after=stop_after)
    run_pipeline(pipeline, work, listener=Notes([]), selection=selection)
    return ran


def rows_of(run: Path, name: str = "dpo", iteration: int = 1) -> list[dict[str, Any]]:
    """The training data of an iteration."""
    return read_lines(run / f"iteration-{iteration}" / "build" / f"{name}.jsonl")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def interrupted(recipe: str, run: Path, *changes: str) -> list[dict[str, Any]]:
    """The data of an iteration that was stopped after its drafts and resumed."""
    stages = [f"1/{name}" for name in RECIPES[recipe][: RECIPES[recipe].index("build") + 1]]
    start = [f"0/{name}" for name in START.get(recipe, ())]
    assert go(recipe, run, *changes, stop_after="1/draft") == [*start, *stages[:1]]
    assert go(recipe, run, *changes, stop_after="build") == stages[1:]
    return rows_of(run, RECIPES[recipe][-1])


def test_self_rewarding_prefers_what_the_model_scores_higher(tmp_path: Path) -> None:
    """Of each pair; prompts whose drafts all have one score are counted and make none."""
    run = tmp_path / "run"
    rows, home = interrupted("self-rewarding", run, "samples=3"), run / "iteration-1"
    trees = {tree.prompt.id: tree for tree in read_trees(home / "judge")}
    report = read_report(home / "build")
    for row in rows:
        nodes = trees[row["prompt_id"]].nodes
        scores = [node.score for node in nodes]
        assert nodes[row["chosen_node"]].score == max(scores)
        assert nodes[row["rejected_node"]].score == min(scores) < max(scores)
    assert rows and len(rows) + sum(report.without_pair.values()) == len(trees) == 6
    assert report.without_pair.get("tied", 0) > 0
    (shown,) = (table for table in tables(read_loop(run)) if table.title == "pairs")
    cells = [next(iter(column.cells)) for column in shown.columns]
    assert cells[:4] == ["1", "6", str(len(rows)), str(report.without_pair["tied"])]


def test_spin_prefers_the_programs_text_to_the_models(tmp_path: Path) -> None:
    """The chosen side meets every constraint of its prompt; no judge is asked."""
    run = tmp_path / "run"
    rows = interrupted("spin", run)
    trees = {tree.prompt.id: tree for tree in read_trees(run / "iteration-1" / "draft")}
    assert len(rows) == len(trees) == 6
    for row in rows:
        tree = trees[row["prompt_id"]]
        assert passes(row["chosen"][0]["content"], tree.prompt)
        assert row["rejected"][0]["content"] == tree.nodes[0].response
        assert tree.nodes[0].judgement is None


def test_self_learns_the_answers_that_its_judgement_passes(tmp_path: Path) -> None:
    """A refinement where the draft failed and it passes, else a draft that passed, behind the refiner's own examples."""
    run = tmp_path / "run"
    rows = interrupted("self", run, "prompts_per_iteration=12")
    report = read_report(run / "iteration-1" / "build")
    assert report.answers is not None and report.answers > 0
    answers = rows[len(rows) - report.answers :]
    assert all(row["kind"] == "refine" for row in rows[: len(rows) - report.answers])
    trees = {
        name: {tree.prompt.id: tree for tree in read_trees(run / "iteration-1" / stage)}
        for name, stage in (("drafts", "judge"), ("search", "search"))
    }
    for row in answers:
        tree = trees[row["run"]][row["prompt_id"]]
        node = tree.nodes[row["node"]]
        assert node.judgement is not None and node.judgement.passed(tree.gate)
        *prompt, reply = row["messages"]
        assert prompt == [message.model_dump() for message in tree.prompt.messages]
        assert reply == {"role": "assistant", "content": node.response}
    assert {row["run"] for row in answers} == {"drafts", "search"}
    assert len({row["prompt_id"] for row in answers}) == len(answers)


def test_meta_rewarding_builds_pairs_of_judgements_too(tmp_path: Path) -> None:
    """Behind those of answers, each in the judge's own conversation; later iterations have none."""
    run = tmp_path / "run"
    rows = interrupted("meta-rewarding", run, "samples=2")
    home = run / "iteration-1"
    report = read_report(home / "build")
    assert report.judge_pairs is not None and report.judge_pairs.by == "verifier"
    assert report.judge_pairs.responses == len(list(read_trees(home / "judgements"))) > 0
    runs = [row["run"] for row in rows]
    pairs = report.judge_pairs.pairs
    assert runs == ["drafts"] * report.pairs.pairs + ["judgements"] * pairs
    for row in rows[len(rows) - pairs :]:
        verdicts = [parse_verdict(row[side][0]["content"]) for side in ("chosen", "rejected")]
        assert set(verdicts) == {True, False}
    stages = [state.stage.title for state in read_loop(run).stages]
    assert "2/judgements" in stages and "3/judgements" not in stages


def test_humpback_learns_the_texts_that_its_rating_passes(tmp_path: Path) -> None:
    """Of each text the instruction that the backward model wrote, answered by the text; and every seed conversation."""
    run = tmp_path / "run"
    rows = interrupted("humpback", run, "answer_score=0.0")
    start, home = run / "iteration-0", run / "iteration-1"
    texts = {row["id"]: row["output"] for row in read_lines(start / "texts" / "texts.jsonl")}
    backward = read_lines(start / "texts" / "backward.jsonl")
    trees = {tree.prompt.id: tree for tree in read_trees(home / "judge")}
    labels = {tree.prompt.id: tree.answer for tree in read_trees(start / "label")}
    report = read_report(home / "build")
    assert (report.answers, report.seeds, len(rows)) == (len(trees), 8, len(trees) + 8)
    for row in rows:
        prompt, reply = row["messages"]
        if row["run"] == "seeds":
            turned = {each["prompt_id"]: each["messages"] for each in backward}[row["prompt_id"]]
            assert (
                reply["content"] in turned[0]["content"]
                and turned[1]["content"] == prompt["content"]
            )
        else:
            assert reply["content"] == texts[row["prompt_id"]]
            assert prompt["content"] == (labels[row["prompt_id"]] or "").strip()
    assert all(tree.nodes[0].judgement is not None for tree in trees.values())
    settings = json.loads((home / "judge" / "run.json").read_text())["models"]
    assert settings["judge"].endswith("embedded") or "checkpoint" in settings["judge"]


def test_autoif_learns_what_the_functions_accept(tmp_path: Path) -> None:
    """SFT on drafts by more than half of the functions; pairs of such a draft and one that none accepts come later."""
    run = tmp_path / "run"
    rows = interrupted("autoif", run)
    start, home = run / "iteration-0", run / "iteration-1"
    trees = {tree.prompt.id: tree for tree in read_trees(home / "judge")}
    assert len(rows) == read_report(home / "build").answers and 0 < len(rows) <= len(trees) == 6
    for row in rows:
        tree = trees[row["prompt_id"]]
        node, functions = tree.nodes[row["node"]], tree.prompt.meta[FUNCTIONS]
        assert node.judgement is not None
        assert verdicts(functions, [node.response]) == [list(node.judgement.verdicts)]
        assert node.score > 0.5 and row["messages"][-1]["content"] == node.response
    check = json.loads((start / "check" / "check.json").read_text())
    joined = json.loads((start / "join" / "join.json").read_text())
    assert check["instructions"] == 8 and check["replies"] == 56
    assert check["stayed"] < check["functions"] and joined["instructions_left"] > 0
    drafts = read_report(home / "build").drafts
    assert drafts is not None and drafts.checked == drafts.drafts == 24
    stages = [state.stage.title for state in read_loop(run).stages]
    assert "2/dpo" in stages and "2/sft" not in stages


def test_generated_functions_do_not_run_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's need permission, and the message names the flag; a program's of spar do not."""
    monkeypatch.delenv(PERMISSION, raising=False)
    own = plan_train(load_train("autoif", {}, SMALL), out=tmp_path / "run")
    assert [stage.title for stage in own.stages][:2] == ["0/functions", "0/check"]
    config = load_train("autoif", {}, [*SMALL, "functions.writer=model"])
    with pytest.raises(UsageError, match="--allow-code-execution"):
        plan_train(config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_stricter_rating_leaves_texts_out(tmp_path: Path) -> None:
    """Below `answer_score` a text is not learnt, and too few of them stop the loop before a training."""
    run = tmp_path / "run"
    go("humpback", run, "answer_score=0.0", stop_after="1/judge")
    scores = [tree.nodes[0].score for tree in read_trees(run / "iteration-1" / "judge")]
    best = sum(score >= max(scores) for score in scores)
    assert go("humpback", run, f"answer_score={max(scores)}", stop_after="1/build") == ["1/build"]
    assert read_report(run / "iteration-1" / "build").answers == best


@pytest.mark.slow
def test_the_embedded_model_as_meta_judge_is_not_read(tmp_path: Path) -> None:
    """Its comparisons are made and counted; the pairs of answers are trained on without those of judgements."""
    run = tmp_path / "run"
    ran = go("meta-rewarding", run, "meta_judge=model", stop_after="build")
    assert ran == [f"1/{name}" for name in ("draft", "judge", "judgements", "meta", "build")]
    judged = read_report(run / "iteration-1" / "build").judge_pairs
    assert judged is not None and judged.pairs == 0
    assert judged.comparisons == judged.unread > 0


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "stages"), RECIPES.items())
def test_two_iterations_with_their_trainings(
    recipe: str, stages: list[str], tmp_path: Path
) -> None:
    """The second one drafts, and judges where it does, with the model that the first one has trained."""
    run, second = tmp_path / "run", [*stages[:-1], SECOND.get(recipe, stages[-1])]
    ran = go(recipe, run, "iterations=2")
    start = [f"0/{name}" for name in START.get(recipe, ())]
    assert ran == [*start, *(f"1/{name}" for name in stages), *(f"2/{name}" for name in second)]
    assert {state.state for state in read_loop(run).stages} == {"done"}
    model = run / "iteration-1" / stages[-1] / "model"
    for name in stages[: stages.index("build")]:
        manifest = json.loads((run / "iteration-2" / name / "run.json").read_text())
        assert {manifest["models"][role] for role in ("actor", "judge")} == {str(model)}
    assert rows_of(run, second[-1], iteration=2)
    assert go(recipe, run, "iterations=2") == []
