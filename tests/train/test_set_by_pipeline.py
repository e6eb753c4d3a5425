"""Settings that a loop or a bootstrap sets itself are refused, and stored loops that have them open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spar.config import RECIPES
from spar.errors import ConfigChanged, UsageError
from spar.store import MANIFEST
from spar.train.bootstrap.pipeline import bootstrap_pipeline
from spar.train.bootstrap.recipe import load_bootstrap
from spar.train.loop import loop_pipeline
from spar.train.pipeline import check_unchanged
from spar.train.recipe import load_train, with_changes
from spar.train.status import read_config

NANO = (RECIPES / "nano.yaml").read_text()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("decode.seed=5", "decode.seed is set by the loop; give seed instead"),
        ("decode={seed: 5}", "decode.seed is set by the loop"),
        ("decode.seed=null", "decode.seed is set by the loop"),
        ("decode.prompts=mine.jsonl", "give prompts instead"),
        ("decode.prompt_field=question", "give prompt_field instead"),
        ("decode.limit=5", "give prompts_per_iteration instead"),
        ("decode.total_budget=40", "decode.total_budget is set by the loop; remove"),
        ("search.limit=5", "search.limit is set by the loop"),
        ("eval.seed=3", "eval.seed is set by the loop; give seed instead"),
        ("eval.actor_model=m", "give decode.actor_model instead"),
        ("eval.benchmark=ifeval", "give benchmarks instead"),
        (
            "benchmarks=[{benchmark: nano-if, settings: {refiner_model: m}}]",
            "benchmarks.settings.refiner_model is set by the loop",
        ),
    ],
)
def test_what_a_loop_sets_is_refused(assignment: str, message: str) -> None:
    """With the setting that does what was meant; it was ignored."""
    with pytest.raises(UsageError) as caught:
        load_train("nano", {}, [assignment])
    assert str(caught.value).startswith("--set: ") and message in str(caught.value)


@pytest.mark.parametrize(
    "assignment",
    [
        *("decode.seed=0", "decode.limit=null", "eval.limit=5", "eval.prompts=mine.jsonl"),
        *("search.seed=7", "benchmarks=[{benchmark: nano-if, settings: {seed: 3}}]"),
    ],
)
def test_defaults_and_what_has_an_effect_are_accepted(assignment: str) -> None:
    """An evaluation's number of prompts, and the seed of one evaluation or of the searches."""
    assert load_train("nano", {}, [assignment]).iterations


@pytest.mark.parametrize("name", ["seed: 5", "limit: 7", "prompts: mine.jsonl"])
def test_a_recipe_is_refused_alike(name: str, tmp_path: Path) -> None:
    """By the loop and by the bootstrap that read it, with its name."""
    path = tmp_path / "mine.yaml"
    path.write_text(NANO.replace("decode:\n", f"decode:\n  {name}\n", 1))
    words = f"recipe {path}: decode.{name.partition(':')[0]} is set by the"
    with pytest.raises(UsageError, match=f"{words} loop;"):
        load_train(str(path), {})
    with pytest.raises(UsageError, match=f"{words} bootstrap;"):
        load_bootstrap(str(path), {}, student={}, teacher={})


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("student.seed=5", "student.seed is set by the bootstrap; give seed instead"),
        ("teacher.limit=5", "give num_actor_prompts and num_refiner_prompts instead"),
        ("teacher.prompts=mine.jsonl", "give prompts instead"),
        ("search.seed=5", "search.seed is set by the bootstrap; give seed instead"),
    ],
)
def test_what_a_bootstrap_sets_is_refused(assignment: str, message: str) -> None:
    """Of the student, the teacher and the teacher's search."""
    with pytest.raises(UsageError) as caught:
        load_bootstrap("nano", {}, [assignment], student={}, teacher={})
    assert str(caught.value).startswith("--set: ") and message in str(caught.value)


def test_a_stored_bootstrap_that_has_them_goes_on(tmp_path: Path) -> None:
    """Without them it is the same; its other settings stay fixed."""
    config = load_bootstrap("nano", {}, student={}, teacher={})
    stored = bootstrap_pipeline(config, tmp_path).manifest.model_dump(mode="json")
    stored["config"]["student"]["seed"] = 5
    (tmp_path / MANIFEST).write_text(json.dumps(stored))
    pipeline = bootstrap_pipeline(config, tmp_path)
    check_unchanged(pipeline, len(pipeline.stages))
    other = load_bootstrap("nano", {}, ["student.budget=3"], student={}, teacher={})
    with pytest.raises(ConfigChanged, match=r"new\):\n  student.budget: \d+ -> 3\nstart over"):
        check_unchanged(bootstrap_pipeline(other, tmp_path), 0)


def test_a_stored_loop_that_has_them_goes_on(tmp_path: Path) -> None:
    """An earlier version ignored them; with them or without them, it is the same loop."""
    run = tmp_path / "run"
    run.mkdir()
    config = load_train("nano", {})
    stored = loop_pipeline(config, run).manifest.model_dump(mode="json")
    stored["config"]["decode"] |= {"seed": 5, "prompts": "mine.jsonl", "limit": 3}
    stored["config"]["eval"]["seed"] = 3
    (run / MANIFEST).write_text(json.dumps(stored))
    opened = with_changes(read_config(run)[0], {"iterations": 5}, ["dpo.checkpoint_steps=9"])
    assert opened.decode.seed == 5
    for same in (opened, config):
        pipeline = loop_pipeline(same, run)
        check_unchanged(pipeline, len(pipeline.stages))
    (run / "iteration-1").mkdir()
    (run / "iteration-1" / "draft.json").write_text(
        '{"stage": "draft", "iteration": 1, "state": "done", "starts": 1, "seconds": 1.0}'
    )
    other = loop_pipeline(with_changes(config, {}, ["decode.votes=3"]), run)
    with pytest.raises(ConfigChanged, match="votes"):
        check_unchanged(other, len(other.stages))
