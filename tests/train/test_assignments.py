"""Some settings of a section change these, and leave what else its recipe sets as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spar.errors import UsageError
from spar.train.bootstrap.recipe import load_bootstrap
from spar.train.loop_stages import Origin, loop_stages
from spar.train.recipe import load_train, with_changes
from spar.train.specs import EvalStageSpec, SearchSpec

WAYS = [
    *(({"dpo": {"beta": 0.2}}, []), ({}, ["dpo={beta: 0.2}"]), ({}, ["dpo.beta=0.2"])),
    ({}, ["by_iteration=[{dpo: {beta: 0.2}}]"]),
]


@pytest.mark.parametrize(("keywords", "assignments"), WAYS)
def test_a_training_keeps_the_recipes_other_settings(
    keywords: dict[str, Any], assignments: list[str]
) -> None:
    """Of a new loop and of a stored one, whether Python, `--set` or an entry of `by_iteration` sets the field."""
    expected = {**load_train("nano", {}).dpo, "beta": 0.2}
    stored = load_train("nano", {})
    for config in (
        load_train("nano", keywords, assignments),
        with_changes(stored, keywords, assignments),
    ):
        assert config.of_iteration(1).dpo == expected


@pytest.mark.parametrize(
    ("recipe", "assignment", "path", "expected"),
    [
        ("nano", "decode.draft={temperature: 0.5}", "decode.draft.max_tokens", 128),
        ("nano", "decode={draft: {temperature: 0.5}}", "decode.draft.top_p", 0.9),
        ("nano", "decode={votes: 3}", "decode.vote.max_tokens", 256),
        ("nano", "eval={limit: 5}", "eval.draft.max_tokens", 128),
        ("llama3-8b", "launch={master_port: 5}", "launch.processes", 8),
        ("humpback", "backtranslation={backward: {epochs: 1}}", "backtranslation.num_seeds", 300),
        ("humpback", "backtranslation.backward={epochs: 1}", "backtranslation.backward.batch", 32),
        ("smollm2", "checkable={n: 4}", "checkable.holdout", 200),
    ],
)
def test_a_section_keeps_the_recipes_other_settings(
    recipe: str, assignment: str, path: str, expected: Any
) -> None:
    """Also where it stands in another section, or is a dictionary of fields."""
    value: Any = load_train(recipe, {}, [assignment]).stored()
    for name in path.split("."):
        value = value[name]
    assert value == expected


def test_free_keys_and_lists_take_the_place_of_the_recipes() -> None:
    """They are one value, as for `spar decode`; {} is for no settings that differ, and null for no section."""
    changed = load_train(
        "lora-24gb",
        {"engine_args": {"max_model_len": 9}},
        ["search={strategy: iterative, depth: 1}", "search={}", "benchmarks=[{benchmark: toy}]"],
    )
    assert changed.decode.engine_args == {"max_model_len": 9}
    assert (changed.search, [item.title for item in changed.benchmarks]) == ({}, ["toy"])
    assert load_train("lora-24gb", {}, ["decode.engine_args={seed: 1}"]).decode.engine_args == {
        "seed": 1
    }
    assert load_train("smollm2", {}, ["checkable={}"]).checkable == {}
    assert load_train("humpback", {}, ["methods=[dpo]", "backtranslation=null"]).prompts == ""


def test_options_of_another_judge_are_left_out() -> None:
    """As where a flag names another judge."""
    judge = {"judge": "verifier", "judge_args": {"no_repetition": True}}
    stored = load_train("nano", judge)
    assert with_changes(stored, {}, ["decode={judge: votes}"]).decode.judge_args == {}
    assert with_changes(stored, {}, ["decode={votes: 3}"]).decode.judge_args == judge["judge_args"]


def test_keywords_may_be_whole_sections() -> None:
    """Settings of `decode` are those of searches alone, and wrong ones are refused."""
    config = load_train("nano", {"decode": {"votes": 3}, "eval": {"limit": 7}})
    assert (config.decode.votes, config.eval.votes, config.eval.limit) == (3, 5, 7)
    with pytest.raises(UsageError, match=r"^keywords: decode.limit is set by the loop"):
        load_train("nano", {"decode": {"limit": 3}})
    with pytest.raises(UsageError, match=r"^eval is 5; it must be a mapping of settings"):
        load_train("nano", {"eval": 5})


def test_stages_keep_the_other_settings_of_a_search_and_an_evaluation(tmp_path: Path) -> None:
    """One setting of a role that differs leaves the role's others as they are."""
    config = load_train(
        "nano",
        {"iterations": 1},
        [
            "search={refine: {temperature: 0.2}}",
            "benchmarks=[{benchmark: nano-if-answers, settings: {draft: {temperature: 0.3}}}]",
        ],
    )
    specs = {
        type(stage.spec): stage.spec for stage in loop_stages(config, tmp_path, Origin("", ""))
    }
    search, evaluation = specs[SearchSpec], specs[EvalStageSpec]
    assert isinstance(search, SearchSpec) and isinstance(evaluation, EvalStageSpec)
    refine, draft = search.config.refine, evaluation.items[0].config.draft
    assert (refine.temperature, refine.max_tokens) == (0.2, 256)
    assert (draft.temperature, draft.top_p, draft.max_tokens) == (0.3, 0.9, 128)


@pytest.mark.parametrize(
    ("keywords", "assignments"),
    [({"actor": {"epochs": 1}}, []), ({}, ["actor={epochs: 1}"]), ({}, ["actor.epochs=1"])],
)
def test_a_bootstraps_training_keeps_the_recipes_other_settings(
    keywords: dict[str, Any], assignments: list[str]
) -> None:
    """As a loop's does."""
    config = load_bootstrap("nano", keywords, assignments, student={}, teacher={})
    assert (config.actor["learning_rate"], config.actor["epochs"]) == (1e-4, 1)


def test_a_bootstraps_models_keep_the_recipes_other_settings(tmp_path: Path) -> None:
    """So do the roles of the teacher, also while it refines, and adapters in a training."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "decode: {model: base, refine: {temperature: 0.7, max_tokens: 99}}\n"
        "train: {rft: {method: lora, lora: {rank: 4, alpha: 9}}}\n"
        "bootstrap: {actor: {lora: {rank: 5}}, search: {refine: {temperature: 0.1}},\n"
        "  teacher: {votes: 3, vote: {temperature: 0.5, max_tokens: 77}}}\n"
    )
    vote = {"vote": {"temperature": 0.4}}
    config = load_bootstrap(str(recipe), {}, [], student={}, teacher=vote)
    assert (config.actor["lora"]["rank"], config.actor["lora"]["alpha"]) == (5, 9)
    assert (config.teacher.votes, config.teacher.vote.temperature) == (3, 0.4)
    assert config.teacher.vote.max_tokens == 77
    assert (config.refining.refine.temperature, config.refining.refine.max_tokens) == (0.1, 99)
