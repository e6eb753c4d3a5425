"""The files of stage specifications: their form is that of earlier versions, and every kind is parsed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spar.config import DecodeConfig, EvalConfig
from spar.errors import UsageError
from spar.train.loop_stages import Origin, loop_stages
from spar.train.methods import DEFAULT_METHODS, LOOP_METHODS, METHODS
from spar.train.recipe import load_train
from spar.train.specs import (
    AnswerSpec,
    BootstrapBuildSpec,
    BuildSpec,
    DraftSpec,
    EvalStageSpec,
    SearchSpec,
    TrainingSpec,
    VoteSpec,
    read_spec,
)

GENERATION = {
    "prompts": "i/prompts.jsonl",
    "source": "",
    "out": "i/x",
    "config": DecodeConfig(branching=4).stored(),
}
FILES: tuple[tuple[type[Any], dict[str, Any]], ...] = (
    (DraftSpec, {"kind": "draft", **GENERATION}),
    (VoteSpec, {"kind": "judge", **GENERATION, "source": "i/draft"}),
    (SearchSpec, {"kind": "search", **GENERATION, "source": "i/judge"}),
    (AnswerSpec, {"kind": "answer", **GENERATION}),
    (
        BuildSpec,
        {
            "kind": "build",
            "out": "i/build",
            "search": "i/search",
            "drafts": "i/judge",
            "seed": 1,
            "pairs": "refined",
            "shuffle_labels": False,
            "quotas": "balanced",
            "min_pairs": 1,
            "max_pairs": None,
            "embedding_model": "",
        },
    ),
    (
        EvalStageSpec,
        {
            "kind": "eval",
            "out": "i/eval",
            "items": [{"name": "n", "benchmark": "nano-if", "config": EvalConfig().stored()}],
        },
    ),
    (
        BootstrapBuildSpec,
        {
            "kind": "bootstrap",
            "out": "b/build",
            "answers": "b/answers",
            "judge": "b/judge",
            "refine": "b/refine",
            "max_answer_tokens": 9,
            "judgements": "decided",
            "max_answers": 1,
            "max_refinements": 2,
            "max_judgements": 3,
            "min_answers": 4,
            "min_examples": 5,
            "llamafactory": False,
            "seed": 6,
        },
    ),
)


@pytest.mark.parametrize(("kind", "content"), FILES)
def test_files_round_trip(kind: type[Any], content: dict[str, Any], tmp_path: Path) -> None:
    """A file of an earlier version is parsed, and written again with the same content."""
    path = tmp_path / "x.order.json"
    path.write_text(json.dumps(content))
    spec = read_spec(path)
    assert type(spec) is kind
    assert spec.stored() == content


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "other"}', '{"kind": "draft"}'])
def test_other_files_are_usage_errors(content: str, tmp_path: Path) -> None:
    """The message names the file."""
    path = tmp_path / "x.order.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"x\.order\.json is not the specification of a stage"):
        read_spec(path)


def test_a_training_file_holds_the_trainers_settings_alone(tmp_path: Path) -> None:
    """The trainer reads the file itself."""
    config = load_train("nano", {"iterations": 1})
    for stage in loop_stages(config, tmp_path, Origin("", "")):
        if isinstance(stage.spec, TrainingSpec):
            settings = METHODS[stage.name].settings.model_validate(stage.spec.stored())
            assert settings == stage.spec.settings
            assert (settings.out, settings.seed) == (str(stage.folder), config.seed)


def test_the_methods_of_the_paper_train_every_role_once() -> None:
    """`sft` trains the actor in place of `dpo`."""
    assert [LOOP_METHODS[name].role for name in DEFAULT_METHODS] == ["actor", "refiner"]
    assert LOOP_METHODS["sft"].role == "actor"


def test_trainings_have_the_template_arguments_of_their_searches(tmp_path: Path) -> None:
    """The actor's of drafts, the refiner's of votes and refinements, which may not differ."""

    def arguments(*changes: str, **decode: Any) -> dict[str, Any]:
        searches = [f"decode.{name}={value}" for name, value in decode.items()]
        config = load_train("nano", {"iterations": 1}, [*changes, *searches])
        return {
            stage.name: stage.spec.settings.chat_template_args
            for stage in loop_stages(config, tmp_path, Origin("", ""))
            if isinstance(stage.spec, TrainingSpec)
        }

    assert set(map(str, arguments().values())) == {"{}"}
    draft = arguments(**{"chat_template_args": "{a: 1}", "draft.reasoning_effort": "low"})
    assert draft["dpo"] == {"reasoning_effort": "low", "a": 1}
    assert draft["rft"] == {"a": 1}
    with pytest.raises(UsageError, match="votes and refinements have different chat_template_args"):
        arguments(**{"vote.chat_template_args": "{a: 1}"})
    judging = {"vote.chat_template_args": "{a: 1}", "refine.chat_template_args": "{a: 1}"}
    assert arguments(**judging)["dpo"] == {}
    with pytest.raises(UsageError, match="drafts and votes have different chat_template_args"):
        arguments("judge_pairs=true", "one_model=true", "methods=[dpo]", **judging)
    with pytest.raises(UsageError, match="votes and drafts have different chat_template_args"):
        arguments("own_answers=true", "one_model=true", "methods=[rft]", **judging)


@pytest.mark.parametrize(
    ("strategy", "has_actor"), [("bfs", False), ("iterative", False), ("ab-mcts", True)]
)
def test_a_search_that_may_draft_again_has_the_actor(strategy: str, has_actor: bool) -> None:
    """Its models are those of the strategy: one that leaves a failing draft writes another."""
    config = DecodeConfig.model_validate({"strategy": strategy})
    spec = SearchSpec(prompts="p", source="s", out="o", config=config)
    assert spec.roles == (("actor",) if has_actor else ()) + ("judge", "refiner")
