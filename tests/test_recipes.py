"""The shipped recipes for training: they load, they match the paper where they claim to, and every line names its source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from spar.config import RECIPES, load_eval
from spar.errors import UsageError
from spar.eval.paper import IFEVAL
from spar.experiments.loops.loops import RIVALS as METHODS
from spar.plugins import BENCHMARKS, ENGINES, JUDGES, STRATEGIES
from spar.train.common import accumulation
from spar.train.data.selection import QUOTAS, Quotas
from spar.train.deepspeed_files import PRESETS
from spar.train.loop_stages import Origin, loop_stages
from spar.train.recipe import TrainConfig, load_train
from spar.train.settings import DpoSettings, SftSettings
from tests.train.test_rivals import RECIPES as KILLED

PAPERS = ["llama3-8b", "mistral-7b", "glm4-9b", "llama3-70b"]
"""Recipes for the paper's models."""
OURS = [*PAPERS, "single-80gb", "lora-24gb"]
TRAINING = [
    path.stem
    for path in sorted(RECIPES.glob("*.yaml"))
    if "train" in yaml.safe_load(path.read_text(encoding="utf-8"))
]
RIVALS = ["self-rewarding", "spin", "meta-rewarding", "self", "humpback", "autoif"]
"""Recipes of other methods."""
NAMED: dict[str, Any] = {"model": "m", "data": "d", "out": "o"}
SOURCES = ("paper", "code", "departs", "spar")
"""First words of a comment beside a value."""


def dpo_of(config: TrainConfig) -> DpoSettings:
    return DpoSettings(**NAMED, **config.dpo)


def rft_of(config: TrainConfig) -> SftSettings:
    return SftSettings(**NAMED, **config.rft)


def test_all_recipes_are_shipped() -> None:
    """The default and one for each model and machine."""
    assert {"nano", *OURS, *RIVALS} <= set(TRAINING)


def test_every_method_of_the_papers_table_1_has_a_recipe() -> None:
    """It is also a row of the reports, and killed in each of its stages (`tests/train/test_killed_rivals.py`)."""
    models = ("LLaMA3-", "GLM-4-", "Mistral-", "SPaR-")
    rows = {row for row in IFEVAL.rows if not row.startswith(models)}
    assert {row for row in rows if not row.startswith(tuple(METHODS.values()))} == set()
    assert set(METHODS) == set(KILLED) == set(RIVALS)


@pytest.mark.parametrize("recipe", TRAINING)
def test_a_recipe_loads(recipe: str) -> None:
    """Its settings and names are accepted, and its batches divide evenly among processes."""
    config = load_train(recipe, {})
    stages = loop_stages(config, Path("run"), Origin.of_config(config))
    assert {stage.iteration for stage in stages} == set(range(config.iterations + 1))
    processes = config.launch.processes or 1
    for settings in (dpo_of(config), rft_of(config)):
        assert accumulation(settings, processes) >= 1
        assert not settings.deepspeed or (PRESETS / f"{settings.deepspeed}.json").is_file()
    assert config.decode.strategy in STRATEGIES and config.decode.judge in JUDGES
    assert config.decode.engine in {"auto", *ENGINES}
    assert load_eval(recipe, {}).strategy == "greedy"


@pytest.mark.parametrize("recipe", OURS)
def test_the_benchmarks_are_the_papers(recipe: str) -> None:
    """IFEval for the actor, LLMBar for the refiner, with existing metrics."""
    config = load_train(recipe, {})
    shown = {item.benchmark: item.show for item in config.benchmarks}
    assert list(shown) == ["ifeval", "llmbar"] and set(shown) <= set(BENCHMARKS)
    assert set(shown["ifeval"]) <= {"prompt_level_strict_acc", "inst_level_strict_acc", "average"}
    assert set(shown["llmbar"]) <= {"acc", "f1", "acc/Natural", "acc/adversarial"}
    assert all(shown.values())


def test_llama3_8b_is_the_papers() -> None:
    """Its hyperparameters and quotas, from the paper's table and its released scripts, by hand."""
    config = load_train("llama3-8b", {})
    dpo, rft, decode = dpo_of(config), rft_of(config), config.decode
    assert (dpo.learning_rate, dpo.epochs, dpo.batch, dpo.warmup_ratio) == (2e-7, 1, 32, 0.1)
    assert (dpo.schedule, dpo.cutoff, dpo.beta, dpo.sft_weight) == ("linear", 2048, 0.1, 0.1)
    assert (rft.learning_rate, rft.epochs, rft.batch, rft.warmup_ratio) == (1e-6, 3, 64, 0.1)
    assert (rft.schedule, rft.cutoff) == ("constant_with_warmup", 4096)
    for trainer in (dpo, rft):
        assert (trainer.beta1, trainer.beta2, trainer.precision) == (0.9, 0.999, "bf16")
        assert (trainer.method, trainer.deepspeed) == ("full", "zero3")
    assert config.launch.processes == 8
    assert (config.iterations, config.samples, config.pairs) == (3, 5, "refined")
    assert config.iterations * config.prompts_per_iteration == 30_000
    assert QUOTAS["official"] == Quotas(4000, 1500, 1000, 2500, 500, roots=False)
    assert QUOTAS[config.quotas].each_verdict == (1500 + 2500 + 1000 + 500) / 2
    shape = (
        decode.strategy,
        decode.budget,
        decode.branching,
        decode.beam_width,
        decode.depth,
        decode.votes,
    )
    assert shape == ("bfs", 15, 3, 2, 3, 5)
    assert (decode.threshold, decode.vote_rule, decode.early_stop) == (0.5, "full", "wave")
    sampling = {
        role: (settings.temperature, settings.top_p, settings.max_tokens)
        for role, settings in (
            ("draft", decode.draft),
            ("vote", decode.vote),
            ("refine", decode.refine),
        )
    }
    assert sampling == {
        "draft": (0.9, 0.9, 2048),
        "vote": (0.7, 1.0, 2048),
        "refine": (0.7, 1.0, 3072),
    }
    assert decode.model == "meta-llama/Meta-Llama-3-8B-Instruct"


@pytest.mark.parametrize(
    ("recipe", "departs"),
    [
        ("mistral-7b", set()),
        ("glm4-9b", set()),
        ("llama3-70b", {"deepspeed", "micro_batch", "checkpoint_steps"}),
        ("single-80gb", {"deepspeed", "micro_batch"}),
        (
            "lora-24gb",
            {
                *("learning_rate", "method", "lora", "deepspeed", "micro_batch"),
                *("checkpoint_steps", "save_dtype"),
            },
        ),
    ],
)
def test_other_recipes_differ_only_in_memory(recipe: str, departs: set[str]) -> None:
    """They depart from llama3-8b only in what memory requires."""
    base, config = load_train("llama3-8b", {}), load_train(recipe, {})
    for trainer in ("dpo", "rft"):
        ours, papers = getattr(config, trainer), getattr(base, trainer)
        changed = {name for name in papers if ours[name] != papers[name]}
        assert changed <= departs
    # lora's own defaults are what the recipe writes out, so they are no difference
    assert config.decode.model_copy(update=_placed(base)) == base.decode


def _placed(config: TrainConfig) -> dict[str, Any]:
    names = ("model", "engine", "engine_args", "replicas", "replica_engine")
    return {name: getattr(config.decode, name) for name in names}


def test_adapters_learn_ten_times_as_fast() -> None:
    """The only learning rate that is not the paper's."""
    config = load_train("lora-24gb", {})
    assert (config.dpo["learning_rate"], config.rft["learning_rate"]) == (2e-6, 1e-5)
    assert config.dpo["lora"] == {
        "rank": 64,
        "alpha": 128,
        "dropout": 0.0,
        "targets": "all-linear",
    }


def values(recipe: str) -> list[tuple[str, str]]:
    """Each line of a recipe with a value, and its comment."""
    lines = (RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8").splitlines()
    matches = [re.fullmatch(r"\s+((?:- \{)?\w+: *\S[^#]*?)\s*(?:# (.*))?", line) for line in lines]
    return [(match[1], match[2] or "") for match in matches if match]


@pytest.mark.parametrize("recipe", OURS)
def test_every_value_has_a_source(recipe: str) -> None:
    """Its comment has the value of the paper or its code, why it departs, or that it is spar's."""
    lines = values(recipe)
    content = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8"))
    train = content["train"]
    leaves = [len(train["dpo"]), len(train["rft"]), len(train["benchmarks"]), len(train) - 3]
    assert len(lines) == len(content["decode"]) + sum(leaves)  # no line is overlooked
    bare = [line for line, comment in lines if not comment.startswith(SOURCES)]
    assert bare == []


@pytest.mark.parametrize("recipe", RIVALS)
def test_every_value_of_another_method_has_a_source(recipe: str) -> None:
    """Its own paper or code, why it departs, or that it is spar's; it trains one model in all roles."""
    lines = values(recipe)
    assert [line for line, comment in lines if not comment.startswith(SOURCES)] == []
    content = yaml.compose((RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8"))
    assert content is not None and len(lines) == num_values(content)  # no line is overlooked
    assert load_train(recipe, {}).one_model


def num_values(node: yaml.Node) -> int:
    """Values that have a line of their own: scalars, and what is written in brackets."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return bool(node.value)  # {} sets nothing
    children = [item[1] if isinstance(item, tuple) else item for item in node.value]
    return sum(map(num_values, children))


@pytest.mark.parametrize("recipe", OURS)
def test_learning_rates_match_their_comments(recipe: str) -> None:
    """A learning rate with the comment `paper` equals the paper's, and one with `departs` does not."""
    papers = {"dpo": 2e-7, "rft": 1e-6}
    config = load_train(recipe, {})
    comments = [comment for line, comment in values(recipe) if line.startswith("learning_rate")]
    assert len(comments) == 2
    for (trainer, value), comment in zip(papers.items(), comments, strict=True):
        ours = getattr(config, trainer)["learning_rate"]
        assert comment.startswith("departs" if ours != value else "paper")
        assert f"{value:.0e}".replace("e-0", "e-") in comment


@pytest.mark.parametrize("recipe", PAPERS)
def test_recipes_of_the_paper_start_from_a_bootstrap(recipe: str) -> None:
    """The header has the flags for the first actor and refiner."""
    head = (RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8").split("decode:")[0]
    assert "--actor-model" in head and "--refiner-model" in head
    config = load_train(recipe, {"actor_model": "a", "refiner_model": "r"})
    assert Origin.of_config(config) == Origin("a", "r")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("dop.learning_rate=1", "--set: unknown setting 'dop'; did you mean 'dpo'"),
        ("dpo.learning_rat=1", "'dpo.learning_rat'; did you mean 'dpo.learning_rate'"),
        ("rft.lora.rnk=1", "'rft.lora.rnk'; did you mean 'rft.lora.rank'"),
        ("decode.draft.temprature=1", "did you mean 'decode.draft.temperature'"),
        ("launch.proceses=2", "did you mean 'launch.processes'"),
        ("iteration=3", "unknown setting 'iteration'; did you mean 'iterations'"),
        ("dpo.learning_rate=-1", "dpo.learning_rate is -1: input should be greater than 0"),
        ("dpo.learning_rate=fast", "dpo.learning_rate is 'fast': input should be a valid number"),
        ("dpo.model=x", "dpo: 'model' is set by the loop; remove it"),
        ("dpo=3", "dpo is 3: input should be a mapping"),
        ("quotas=most", "quotas is 'most': input should be 'balanced' or 'official'"),
        ("benchmarks=nano-if", "benchmarks is 'nano-if': input should be a list"),
        ("benchmarks=[{name: x}]", "benchmarks.0.benchmark is missing"),
        (
            "benchmarks=[{benchmark: ifeval, setings: {}}]",
            "'benchmarks.0.setings'; did you mean 'benchmarks.0.settings'",
        ),
        ("dpo.learning_rate", "--set 'dpo.learning_rate': expected KEY=VALUE"),
        ("=1", "--set '=1': expected KEY=VALUE"),
        ("dpo.=1", "--set 'dpo.=1': expected KEY=VALUE"),
        ("pairs=[a", "--set pairs: '[a' is not a YAML value"),
    ],
)
def test_invalid_assignments_are_one_line(assignment: str, message: str) -> None:
    """One line with the setting, its value, and the closest name."""
    with pytest.raises(UsageError) as caught:
        load_train("nano", {}, [assignment])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dpo: {learning_rat: 1}", "unknown setting 'dpo.learning_rat'; did you mean"),
        ("dpo: {model: x}", "dpo: 'model' is set by the loop"),
        ("dpo: {modl: x}", "unknown setting 'dpo.modl'"),
        ("dpo: [1]", "dpo is (1,): input should be a mapping"),
        ("benchmarks: {a: 1}", "benchmarks is {'a': 1}: input should be a list"),
        ("iterations: 0", "iterations is 0: input should be greater than or equal to 1"),
    ],
)
def test_invalid_recipes_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    """The error names the recipe; a setting that the loop decides is not suggested."""
    path = tmp_path / "mine.yaml"
    path.write_text(f"decode: {{}}\ntrain: {{{text}}}\n")
    with pytest.raises(UsageError) as caught:
        load_train(str(path), {})
    assert str(caught.value).startswith(f"recipe {path}: {message}")
    assert "did you mean 'dpo.model'" not in str(caught.value)


def test_assignments_change_only_their_setting() -> None:
    """Numbers in any form, nested settings, and the empty text."""
    sets = [
        "dpo.learning_rate=1e-6",
        "decode.draft.temperature=0.5",
        "rft.deepspeed=",
        "dpo.lora.rank=8",
    ]
    base, config = load_train("single-80gb", {}), load_train("single-80gb", {}, sets)
    assert (config.dpo["learning_rate"], config.dpo["lora"]["rank"]) == (1e-6, 8)
    assert config.decode.draft == base.decode.draft.model_copy(update={"temperature": 0.5})
    assert config.rft == {**base.rft, "deepspeed": ""}
    assert config.dpo["lora"]["alpha"] == base.dpo["lora"]["alpha"]
