"""Recipes, overrides, and the tables of plug-ins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spar.config import RECIPES, DecodeConfig, load_decode, load_eval, load_serve
from spar.config.loading import section
from spar.errors import UsageError
from spar.evolve.settings import load_evolve
from spar.plugins import BENCHMARKS, ENGINES, JUDGES, REFINERS, STRATEGIES, PluginTable
from spar.train.bootstrap.recipe import load_bootstrap
from spar.train.recipe import load_train


@pytest.mark.parametrize("table", [STRATEGIES, JUDGES, REFINERS, ENGINES, BENCHMARKS])
def test_every_name_has_a_spec(table: PluginTable[object]) -> None:
    """Each entry of each table imports and is a spec, or something that a spec is made of."""
    for name in table:
        assert type(table.spec(name)).__name__.endswith("Spec")


def test_the_defaults_are_the_papers() -> None:
    """Budget 15, branching 3, beam width 2, depth 3, five full votes, threshold 0.5, and the paper's sampling."""
    config = DecodeConfig()
    shape = (
        config.budget,
        config.branching,
        config.beam_width,
        config.depth,
        config.votes,
        config.threshold,
    )
    assert shape == (15, 3, 2, 3, 5, 0.5)
    assert (config.draft.temperature, config.draft.top_p, config.draft.max_tokens) == (
        0.9,
        0.9,
        2048,
    )
    assert (config.vote.temperature, config.vote.top_p) == (0.7, 1.0)
    assert (config.refine.temperature, config.refine.max_tokens) == (0.7, 3072)


@pytest.mark.parametrize("recipe", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_shipped_recipes_load(recipe: str) -> None:
    """Each shipped recipe is valid and is loaded by its name."""
    # Edits of a program need no tree, and SELF refines an answer one time after the other.
    expected = "iterative" if recipe in ("smollm2", "self") else "bfs"
    assert load_decode(recipe, {}).strategy == expected


def test_flags_override_the_recipe_and_none_does_not(tmp_path: Path) -> None:
    """Flags override the recipe, the recipe overrides the defaults, and None overrides nothing."""
    path = tmp_path / "mine.yaml"
    path.write_text("decode:\n  budget: 7\n  votes: 3\n")
    config = load_decode(str(path), {"votes": 9, "budget": None})
    assert (config.budget, config.votes, config.branching) == (7, 9, 3)


def test_none_is_a_value_where_a_setting_accepts_it(tmp_path: Path) -> None:
    """An unseeded run and one without a limit can be asked for over a recipe's seed and limit."""
    path = tmp_path / "mine.yaml"
    path.write_text("decode:\n  seed: 3\n  limit: 5\n")
    for load in (load_decode, load_eval):
        config = load(str(path), {"seed": None, "limit": None})
        assert (config.seed, config.limit) == (None, None)


def test_an_evaluation_does_not_take_over_the_prompts_of_decode(tmp_path: Path) -> None:
    """They are what `spar decode` answers; those of the section `eval` are an evaluation's."""
    path = tmp_path / "mine.yaml"
    path.write_text("decode: {prompts: a.jsonl, prompt_field: question}\n")
    assert load_decode(str(path), {}).prompts == "a.jsonl"
    config = load_eval(str(path), {})
    assert (config.prompts, config.prompt_field) == ("", "")
    path.write_text("decode: {prompts: a.jsonl}\neval: {prompts: b.jsonl}\n")
    assert load_eval(str(path), {}).prompts == "b.jsonl"


OPTIONS_RECIPE = """
decode:
  strategy: best-of-n
  strategy_args: {waves: growing}
  judge: checklist
  judge_args: {structured: true}
  engine: vllm
  engine_args: {max_model_len: 4096}
"""


@pytest.mark.parametrize(
    ("overrides", "left"),
    [
        ({}, (True, True, True)),
        ({"strategy": "best-of-n", "judge": "checklist", "engine": "vllm"}, (True, True, True)),
        ({"strategy": "bfs"}, (False, True, True)),
        ({"judge": "votes"}, (True, False, True)),
        ({"engine": "ray"}, (True, True, True)),  # which passes them on to vLLM
        ({"engine": "ray", "engine_args": {"max_model_len": 64}}, (True, True, True)),
    ],
)
def test_options_are_those_of_the_plugin_that_they_were_given_with(
    tmp_path: Path, overrides: dict[str, Any], left: tuple[bool, ...]
) -> None:
    """An override that names another strategy or judge leaves the options of the recipe's out, and keeps its own."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(OPTIONS_RECIPE)
    config = load_decode(str(recipe), overrides)
    assert (bool(config.strategy_args), bool(config.judge_args), bool(config.engine_args)) == left
    changed = load_decode(str(recipe), {}).changed(overrides)
    assert (
        bool(changed.strategy_args),
        bool(changed.judge_args),
        bool(changed.engine_args),
    ) == left
    if "engine_args" in overrides:
        assert config.engine_args == changed.engine_args == overrides["engine_args"]


def test_an_evaluation_takes_the_options_of_a_search_only_with_its_strategy(tmp_path: Path) -> None:
    """Greedy decoding in place of the recipe's search has none; the same strategy, named again, keeps them."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(OPTIONS_RECIPE)
    greedy = load_eval(str(recipe), {})
    assert (greedy.strategy, greedy.strategy_args) == ("greedy", {})
    assert greedy.judge_args == {"structured": True}
    assert load_eval(str(recipe), {"strategy": "bfs"}).strategy_args == {}
    same = load_eval(str(recipe), {"strategy": "best-of-n"})
    assert same.strategy_args == {"waves": "growing"}
    recipe.write_text(OPTIONS_RECIPE + "eval: {strategy: best-of-n, judge: votes}\n")
    own = load_eval(str(recipe), {})
    assert (own.strategy_args, own.judge_args) == ({"waves": "growing"}, {})
    assert load_eval(str(recipe), {"strategy": "greedy"}).strategy_args == {}


def test_options_without_a_plugin_are_for_the_one_that_is_named_beside_them(tmp_path: Path) -> None:
    """A recipe that names none; and the strategies of a sweep, which share those of the recipe's search."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "decode:\n  strategy_args: {waves: growing}\n  judge_args: {structured: true}\n"
    )
    named = {"strategy": "best-of-n", "judge": "checklist"}
    for config in (load_decode(str(recipe), named), load_eval(str(recipe), named)):
        assert config.strategy_args == {"waves": "growing"}
        assert config.judge_args == {"structured": True}
    assert load_eval(str(recipe), {}).strategy_args == {}
    recipe.write_text(OPTIONS_RECIPE)
    swept = load_eval(str(recipe), {}, options_of_search=True)
    assert (swept.strategy, swept.strategy_args) == ("greedy", {"waves": "growing"})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"budget": 0}, "--budget 0"),
        ({"branching": -1}, "--branching -1"),
        ({"depth": 0}, "--depth 0"),
        ({"votes": 0}, "--votes 0"),
        ({"vote_rule": "most"}, "'full', 'majority', 'race' or 'posterior'"),
        ({"early_stop": "last"}, "'wave' or 'first'"),
        ({"strategy": "bsf"}, "did you mean 'bfs'"),
        ({"engine": "vlm"}, "unknown engine 'vlm'; did you mean 'vllm'? (accepted: hf, "),
        (
            {"engine": "foo"},
            "unknown engine 'foo' (accepted: hf, vllm, openai, ray, fake, auto, or module:",
        ),
        ({"strategy": "bon"}, "did you mean 'best-of-n'"),
        ({"judge": "vote"}, "did you mean 'votes'"),
    ],
)
def test_wrong_values_are_named(overrides: dict[str, object], message: str) -> None:
    """The message names the flag, the value and what is accepted."""
    with pytest.raises(UsageError) as caught:
        load_decode(None, overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "decode: {draft: {top_kk: 20}}",
            "unknown setting 'draft.top_kk'; did you mean 'draft.top_k'?",
        ),
        ("decode: [", "not YAML"),
        ("train: {}", "lacks a section 'decode' with settings; shipped recipes with one: .*nano"),
        ("decode:\n  bugdet: 3\n", "did you mean 'budget'"),
    ],
)
def test_wrong_recipes_are_named(tmp_path: Path, text: str, message: str) -> None:
    """A recipe that is not YAML, lacks the section, or has a setting that does not exist."""
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_decode(str(path), {})


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        ("budget: 3", {"budget": 0}, "--budget 0: input should be greater than or equal to 1"),
        ("budget: 0", {"votes": 3}, "recipe {}: budget is 0: input should be greater than"),
        ("votes: 3", {"draft": {"temperature": "hot"}}, "--temperature 'hot': input should be a"),
        ("draft: {temperature: hot}", {"draft": {"top_p": 0.5}}, "recipe {}: draft.temperature is"),
        ("votes: 3", {"draft": 5}, "draft 5: input should be a mapping"),
        ("votes: 3", {"gate": 2}, "--threshold 2: input should be less than 1"),
        (
            "votes: 3",
            {"vote": {"top_kk": 2}},
            "unknown setting 'vote.top_kk'; did you mean 'vote.t",
        ),
    ],
)
def test_an_error_says_where_a_value_comes_from(
    tmp_path: Path, recipe: str, overrides: dict[str, Any], message: str
) -> None:
    """From a flag, or a keyword of Python, or from the recipe, which is named with its key."""
    path = tmp_path / "r.yaml"
    path.write_text(f"decode: {{{recipe}}}\n")
    for load in (load_decode, load_eval):
        with pytest.raises(UsageError) as refused:
            load(str(path), overrides)
        assert str(refused.value).startswith(message.format(path))


def test_an_error_in_another_section_names_the_recipe(tmp_path: Path) -> None:
    """Of an evolution, a server and a bootstrap, whose flags are named as flags all the same."""
    path = tmp_path / "r.yaml"
    path.write_text(
        "decode: {votes: 3}\nevolve: {timeout: soon}\nserve: {port: x}\nbootstrap: {teacher: {votes: 0}}\n"
    )

    def bootstrap(recipe: str, flags: dict[str, Any]) -> object:
        return load_bootstrap(recipe, {}, student={}, teacher=flags)

    for load, name, flag, good in (
        (load_evolve, "timeout is 'soon'", "--timeout 'late'", {"timeout": "late"}),
        (load_serve, "port is 'x'", "--port 'y'", {"port": "y"}),
        (bootstrap, "votes is 0", "--votes -1", {"votes": -1}),
    ):
        with pytest.raises(UsageError, match=rf"^recipe {path}: {name}: input should be"):
            load(str(path), {})
        with pytest.raises(UsageError, match=rf"^{flag}: input should be"):
            load(str(path), good)


def test_a_text_is_a_list_of_one(tmp_path: Path) -> None:
    """Where a list of texts is expected, as of one server: in a recipe and in overrides."""
    path = tmp_path / "r.yaml"
    path.write_text("decode: {base_url: 'http://a:1/v1', redo: changed}\nserve: {offer: bfs-7}\n")
    config = load_decode(str(path), {"judge_url": "http://b:1/v1"})
    assert (config.base_url, config.judge_url) == (("http://a:1/v1",), ("http://b:1/v1",))
    assert config.redo == ("changed",)
    assert load_serve(str(path), {}).offer == ("bfs-7",)
    with pytest.raises(UsageError, match=r"^--redo 'none': input should be 'changed' or"):
        load_decode("paper", {"redo": "none"})


def test_a_missing_recipe_lists_the_shipped_ones() -> None:
    """The error for an unknown recipe has the names of the shipped ones."""
    with pytest.raises(UsageError, match=r"did you mean 'nano'\?.*nano, paper"):
        load_decode("nanno", {})
    with pytest.raises(UsageError, match=r"shipped with a section 'train'.*nano, self") as caught:
        section("papr", "train")
    assert "paper" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_of_settings_are_finite(value: float) -> None:
    """NaN and infinity, which neither a run's files nor a request can hold, are refused as any wrong value."""
    for values in ({"timeout": value}, {"max_seconds": value}, {"draft": {"temperature": value}}):
        with pytest.raises(UsageError, match=r"(timeout|max.seconds|temperature).*finite|greater"):
            load_decode("paper", values)


def test_a_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a recipe and in overrides, in settings that may name a file, and at the start of their value alone."""
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("decode: {model: ~/m, engine: hf, adapter: {actor: ~/a}}")
    config = load_decode(str(recipe), {"judge_model": "~/j", "refiner_model": "org/~/r"})
    assert (config.model, config.judge_model) == (f"{tmp_path}/m", f"{tmp_path}/j")
    assert (config.adapter, config.refiner_model) == ({"actor": f"{tmp_path}/a"}, "org/~/r")
    train = load_train("nano", {"prompts": "~/p.jsonl"}, ["decode.templates=~/t"])
    assert (train.prompts, train.decode.templates) == (f"{tmp_path}/p.jsonl", f"{tmp_path}/t")


def test_a_dotted_key_of_a_recipe_is_unknown(tmp_path: Path) -> None:
    """In one line, with the section that is meant; only `--set` takes dots."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("decode: {draft.temperature: 0.5}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"unknown setting 'draft\.temperature'"):
        load_decode(str(recipe), {})
