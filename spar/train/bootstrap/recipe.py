"""The settings of a bootstrap: the recipe's section `bootstrap`, which may be left out.

    decode: {model: meta-llama/Meta-Llama-3-8B-Instruct}       how the student is asked
    bootstrap:                                                fields of `BootstrapConfig`
      teacher: {base_url: [https://host/v1], model: strong, votes: 5}
      actor: {epochs: 5}

What the trainings leave open is as the recipe's `train` section has it for `rft`, with twice its learning rate
(paper: 2e-6 to 1e-6), so a recipe that fits a machine fits its bootstrap too.

`load_bootstrap` reads it; `--set actor.learning_rate=1e-6` and the flags override it. The paper's numbers
are of arXiv 2412.11605: 8k prompts for the actor and 5k for the refiner, both answered by gpt-4o-mini.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError, field_validator

from spar.config import FREE as FREE_OF_SEARCHES
from spar.config import DecodeConfig, Settings, load_decode, section
from spar.errors import UsageError
from spar.plugins import JUDGES, STRATEGIES
from spar.record.training_data import JudgementFilter
from spar.train.recipe import (
    assignment,
    explain_validation_error,
    put_value,
    trainer_fields,
    tuples,
)
from spar.train.settings import LaunchSettings, SftSettings

FREE = (
    "launch",
    *(f"{part}.{name}" for part in ("student", "teacher") for name in FREE_OF_SEARCHES),
    *(f"{part}.{name}" for part in ("actor", "refiner") for name in ("wandb", "checkpoint_steps")),
)
"""Settings that may differ when a bootstrap is resumed."""

STAGE_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "answers": ("greedy_answers",),
    "drafts": ("samples",),
    "refine": ("search",),
    "build": (
        *("judgements", "max_answers", "max_refinements", "max_judgements"),
        *("min_answers", "min_examples", "llamafactory"),
    ),
    "sft-actor": ("actor",),
    "sft-refiner": ("refiner",),
}
"""Stage to the settings that no stage before it depends on."""


class BootstrapConfig(Settings):
    """Settings of `spar bootstrap`."""

    prompts: str = ""
    """A .jsonl or .txt file; "" for nano-if's training prompts of seed 1, which `spar train` does not draw."""
    refiner_prompts: str = ""
    """A file of the refiner's own prompts; "" for those of `prompts` that the actor does not get, as far
    as there are enough."""
    num_actor_prompts: int = Field(default=8000, ge=1)
    """Prompts that the teacher answers (paper: 8k)."""
    num_refiner_prompts: int = Field(default=5000, ge=1)
    """Prompts whose drafts the teacher judges and refines (paper: 5k examples)."""
    greedy_answers: bool = True
    """Whether the teacher's answers are decoded greedily; else they are sampled as `teacher.draft` says."""
    samples: int = Field(default=2, ge=1)
    """The student's drafts of a refiner's prompt, sampled as `student.draft` says: one that fails is
    refined, and the others are judged alone."""
    search: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """Fields of `teacher` that differ while it refines: by default a chain of three refinements at most."""
    judgements: JudgementFilter = "decided"
    """Which judgements are learnt from: all that the teacher's votes decided, or split ones, as in the loop."""
    max_answers: int = Field(default=8000, ge=1)
    """Most of the actor's examples (paper: 8k)."""
    max_refinements: int = Field(default=2100, ge=0)
    """Most refinements among the refiner's examples (paper: 5k in all; here in RFT's proportions)."""
    max_judgements: int = Field(default=2900, ge=0)
    """Most judgements among them, half of them Yes."""
    min_answers: int = Field(default=1, ge=1)
    """Fewer of the actor's examples stop the bootstrap before a model is trained."""
    min_examples: int = Field(default=1, ge=1)
    """Fewer of the refiner's examples do so too."""
    llamafactory: bool = False
    """Whether the examples are written for LLaMA-Factory as well, in `build/llamafactory/`."""
    actor: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """Fields of `spar.train.settings.SftSettings`, the actor's training (paper: 5 epochs)."""
    refiner: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """Fields of `SftSettings`, the refiner's training (paper: 3 epochs)."""
    launch: LaunchSettings = LaunchSettings()
    """How many processes train, and where."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of sampling, draws and training."""
    student: DecodeConfig = DecodeConfig()
    """How the student is asked; its `model` is the base that both models are trained from."""
    teacher: DecodeConfig = DecodeConfig()
    """How the teacher is asked: for answers, votes and refinements."""

    @field_validator("search")
    @classmethod
    def _search(cls, given: dict[str, Any]) -> dict[str, Any]:
        return DecodeConfig.stored_names({"strategy": "iterative", "budget": 3, **given})

    @field_validator("actor")
    @classmethod
    def _actor(cls, given: dict[str, Any]) -> dict[str, Any]:
        return trainer_fields(SftSettings, {"epochs": 5, **given})

    @field_validator("refiner")
    @classmethod
    def _refiner(cls, given: dict[str, Any]) -> dict[str, Any]:
        return trainer_fields(SftSettings, given)

    @property
    def base(self) -> str:
        """The model that both are trained from, "" for the embedded model."""
        return self.student.actor_model or self.student.model

    @property
    def refining(self) -> DecodeConfig:
        """How the teacher is asked while it refines.

        Raises
        ------
        UsageError
            `search` has a setting that is none, or a wrong value.
        """
        try:
            found = DecodeConfig.model_validate({**self.teacher.stored(), **tuples(self.search)})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, ("search", *first["loc"])))
            raise UsageError(f"{name} {first['input']!r}: {first['msg']}") from error
        JUDGES.check(found.judge, "teacher.judge")
        STRATEGIES.check(found.strategy, "search.strategy")
        if "refiner" not in STRATEGIES.spec(found.strategy).roles:
            raise UsageError(
                f"search.strategy {found.strategy!r} refines nothing; give iterative, bfs or dfs"
            )
        return found


def load_bootstrap(
    recipe: str,
    overrides: Mapping[str, Any],
    assignments: Sequence[str] = (),
    *,
    student: Mapping[str, Any],
    teacher: Mapping[str, Any],
) -> BootstrapConfig:
    """Settings of a bootstrap.

    Parameters
    ----------
    recipe:
        A YAML file, or the name of one in `spar/recipes`.
    overrides:
        Field of `BootstrapConfig` to value; None values are left out, here and below.
    assignments:
        `actor.learning_rate=1e-6`, `teacher.votes=3`: dotted keys and their YAML values.
    student, teacher:
        Fields of `DecodeConfig` that flags give.

    Raises
    ------
    UsageError
        An unknown recipe, setting or name, or a value out of range.
    """
    values = dict(section(recipe, "bootstrap", optional=True))
    values.update(_given(overrides))
    _train_as_loop(values, section(recipe, "train", optional=True))
    # The recipe's decode section is about the student: the teacher takes the sampling from it alone.
    asked = {
        "student": {**_fields(values, "student", recipe), **_given(student)},
        "teacher": {**_NOWHERE, **_fields(values, "teacher", recipe), **_given(teacher)},
    }
    values |= {name: load_decode(recipe, fields) for name, fields in asked.items()}
    config = _checked(values, recipe)
    if not assignments:
        return config
    changed = config.stored()
    for key, value in map(assignment, assignments):
        put_value(key, value, changed)
    return _checked(changed, "--set")


def _checked(values: Mapping[str, Any], recipe: str) -> BootstrapConfig:
    try:
        config = BootstrapConfig.model_validate(tuples(values))
    except ValidationError as error:
        raise UsageError(explain_validation_error(error, recipe, BootstrapConfig)) from error
    _ = config.refining  # what is wrong with it is told now
    return config


def _train_as_loop(values: dict[str, Any], loop: Mapping[str, Any]) -> None:
    """Fill in what the trainings leave open: what the loop's refiner is trained with."""
    rft = dict(loop.get("rft", {}))
    if "learning_rate" in rft:
        rft["learning_rate"] = 2 * float(rft["learning_rate"])
    values["refiner"] = {**rft, **values.get("refiner", {})}
    rft.pop("epochs", None)  # the actor's are more
    values["actor"] = {**rft, **values.get("actor", {})}
    values.setdefault("launch", loop.get("launch", {}))


def _fields(values: dict[str, Any], name: str, recipe: str) -> Mapping[str, Any]:
    found = values.pop(name, {})
    if not isinstance(found, Mapping):
        raise UsageError(f"recipe {recipe}: bootstrap.{name} is {found!r}; give settings below it")
    return found


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


_PLACE = (
    *("model", "actor_model", "judge_model", "refiner_model", "adapter", "speculative_decoding"),
    *("engine", "engine_args", "max_batch_size", "replicas", "replica_engine", "ray_address"),
    *("base_url", "actor_url", "judge_url", "refiner_url", "api_key_env"),
)
_NOWHERE = {name: DecodeConfig.model_fields[name].default for name in _PLACE}
