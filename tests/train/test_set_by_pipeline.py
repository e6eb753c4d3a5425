"""Settings that a loop or a bootstrap sets itself are refused, and stored loops that have them open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spar import train
from spar.config import RECIPES
from spar.errors import ConfigChanged, UsageError
from spar.record.training import StageRecord
from spar.store import MANIFEST
from spar.train.bootstrap.pipeline import bootstrap_pipeline
from spar.train.bootstrap.recipe import load_bootstrap
from spar.train.loop import default_directory, loop_pipeline
from spar.train.pipeline import check_unchanged
from spar.train.recipe import TrainConfig, load_train, with_changes
from spar.train.status import loop_settings, read_config

SEARCH = {"prompts": "a.jsonl", "prompt_field": "b", "limit": 3, "total_budget": 40, "seed": 5}
EVALUATION = {
    **dict.fromkeys(("model", "actor_model", "refiner_model"), "other"),
    "benchmark": "nano-if",
    "data_digest": "ab",
}
NANO = (RECIPES / "nano.yaml").read_text()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("decode.seed=5", "decode.seed is set by the loop; give seed instead"),
        ("decode={seed: 5}", "decode.seed is set by the loop"),
        ("decode.seed=null", "decode.seed is set by the loop"),
        ("decode.prompts=mine.jsonl", "give prompts instead"),
        ("decode.prompt_field=question", "give prompt_field instead"),
        ("decode.limit=5", "give prompts_per_iteration, or eval.limit for evaluations, instead"),
        ("decode.total_budget=40", "decode.total_budget is set by the loop; remove"),
        ("search.limit=5", "search.limit is set by the loop; give prompts_per_iteration instead"),
        ("by_iteration=[{}, {search: {limit: 5}}]", "by_iteration.search.limit is set by the loop"),
        ("by_iteration=[{search: {prompts: x}}]", "by_iteration.search.prompts is set by the loop"),
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


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"limit": 5}, "decode.limit is set by the loop; give prompts_per_iteration, or eval"),
        ({"total_budget": 40}, "decode.total_budget is set by the loop; remove it"),
        ({"search": {"limit": 5}}, "search.limit is set by the loop; give prompts_per_it"),
        ({"by_iteration": ({"search": {"prompts": "x"}},)}, "by_iteration.search.prompts is set"),
    ],
)
def test_a_keyword_is_refused_alike(keywords: dict[str, Any], message: str) -> None:
    """Of a new loop, and of one that is there already."""
    stored = load_train("nano", {})
    for load in (
        lambda: load_train("nano", keywords),
        lambda: with_changes(stored, keywords),
        lambda: train(**keywords),
    ):
        with pytest.raises(UsageError, match=f"^keywords: {message}"):
            load()


def test_keywords_of_the_loop_itself_are_accepted() -> None:
    """Its seed, its prompts and the settings of generation, also where the stored loop leaves them at their defaults."""
    keywords = {"seed": 5, "prompts": "a.jsonl", "prompt_field": "b", "votes": 3, "limit": None}
    for config in (load_train("nano", keywords), with_changes(load_train("nano", {}), keywords)):
        assert (config.seed, config.prompts, config.prompt_field) == (5, "a.jsonl", "b")
        assert (config.decode.votes, config.eval.votes, config.decode.prompt_field) == (3, 3, "")


@pytest.mark.parametrize(
    ("overrides", "student", "teacher", "message"),
    [
        ({}, {"limit": 5}, {}, "student.limit is set by the bootstrap; give num_actor_prompts"),
        ({}, {}, {"seed": 3}, "teacher.seed is set by the bootstrap; give seed instead"),
        ({"search": {"prompts": "x"}}, {}, {}, "search.prompts is set by the bootstrap"),
    ],
)
def test_a_keyword_of_a_bootstrap_is_refused_alike(
    overrides: dict[str, Any], student: dict[str, Any], teacher: dict[str, Any], message: str
) -> None:
    """Of the student, the teacher and the search; None gives nothing, and the bootstrap has a seed of its own."""
    with pytest.raises(UsageError, match=f"^keywords: {message}"):
        load_bootstrap("nano", overrides, student=student, teacher=teacher)
    assert load_bootstrap("nano", {"seed": 3}, student={"seed": None}, teacher={}).seed == 3


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


def test_a_stored_bootstrap_may_have_each_of_them(tmp_path: Path) -> None:
    """Also where the stage of their section has run."""
    config = load_bootstrap("nano", {}, student={}, teacher={})
    stored = bootstrap_pipeline(config, tmp_path).manifest.model_dump(mode="json")
    for section in ("student", "teacher", "search"):
        stored["config"][section] |= SEARCH
    (tmp_path / MANIFEST).write_text(json.dumps(stored))
    write_done(tmp_path, "refine", 0)
    pipeline = bootstrap_pipeline(config, tmp_path)
    check_unchanged(pipeline, len(pipeline.stages))


def store_loop(run: Path, config: TrainConfig, changes: dict[str, dict[str, Any]]) -> None:
    """A loop of an earlier version with other settings in some sections, of which a search and an evaluation are done."""
    stored = loop_pipeline(config, run).manifest.model_dump(mode="json")
    for name, values in changes.items():
        section = stored["config"][name]
        (section[0]["settings"] if name == "benchmarks" else section).update(values)
    (run / MANIFEST).write_text(json.dumps(stored))
    for stage, iteration in (("eval", 0), ("search", 1)):
        write_done(run / f"iteration-{iteration}", stage, iteration)


def write_done(home: Path, stage: str, iteration: int) -> None:
    """The record of a stage that is done."""
    home.mkdir(exist_ok=True)
    record = StageRecord(stage=stage, iteration=iteration, state="done", starts=1, seconds=1.0)
    (home / f"{stage}.json").write_text(record.model_dump_json())


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        *(("search", name, value) for name, value in SEARCH.items() if name != "seed"),
        *(("decode", name, value) for name, value in SEARCH.items()),
        *((section, *item) for section in ("eval", "benchmarks") for item in EVALUATION.items()),
        ("eval", "seed", 3),
    ],
)
def test_a_stored_loop_may_have_each_of_them(
    section: str, name: str, value: Any, tmp_path: Path
) -> None:
    """Without it, which the recipe cannot have any more, the loop goes on, and no stage runs again."""
    config = load_train("nano", {"model": "first"})
    store_loop(tmp_path, config, {section: {name: value}})
    pipeline = loop_pipeline(config, tmp_path)
    check_unchanged(pipeline, len(pipeline.stages))


def test_a_stored_loop_may_have_them_in_some_iterations(tmp_path: Path) -> None:
    """An entry that changes nothing else is no entry."""
    config = load_train("nano", {})
    store_loop(tmp_path, config, {})
    stored = json.loads((tmp_path / MANIFEST).read_text())
    stored["config"]["by_iteration"] = [{}, {"search": {"limit": 5, "prompts": "x"}}]
    (tmp_path / MANIFEST).write_text(json.dumps(stored))
    pipeline = loop_pipeline(config, tmp_path)
    check_unchanged(pipeline, len(pipeline.stages))


def test_a_loop_whose_folder_such_a_setting_named_goes_on_as_the_refusal_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command is refused, and does not find the folder without the setting; `--out` does."""
    monkeypatch.chdir(tmp_path)
    config = load_train("nano", {})
    earlier = config.model_copy(update={"decode": config.decode.model_copy(update={"seed": 5})})
    folder = default_directory(earlier)
    folder.mkdir(parents=True)
    store_loop(folder, config, {"decode": {"seed": 5}})
    assert default_directory(config) != folder
    with pytest.raises(UsageError, match=r"goes on without it: give its folder as --out\)$"):
        load_train("nano", {}, ["decode.seed=5"])
    for recipe in (None, "nano"):
        pipeline = loop_pipeline(loop_settings(recipe, folder, {}, [], overwrite=False), folder)
        check_unchanged(pipeline, len(pipeline.stages))


@pytest.mark.parametrize(
    ("model", "section", "name", "value"),
    [
        ("first", "benchmarks", "seed", 3),
        ("first", "search", "seed", 3),
        ("", "eval", "model", "other"),
        ("", "benchmarks", "model", "other"),
    ],
)
def test_what_had_an_effect_in_a_stored_loop_is_a_change(
    model: str, section: str, name: str, value: Any, tmp_path: Path
) -> None:
    """Seeds of their own, and a model of evaluations in a loop that starts from the embedded one."""
    config = load_train("nano", {"model": model})
    store_loop(tmp_path, config, {section: {name: value}})
    pipeline = loop_pipeline(config, tmp_path)
    with pytest.raises(ConfigChanged, match=section):
        check_unchanged(pipeline, len(pipeline.stages))


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
