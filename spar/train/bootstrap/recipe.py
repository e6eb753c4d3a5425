"""The settings of a bootstrap: the recipe's optional section `bootstrap`.

    decode: {model: meta-llama/Meta-Llama-3-8B-Instruct}       how the student generates
    bootstrap:                                                fields of `BootstrapConfig`
      teacher: {base_url: [https://host/v1], model: strong, votes: 5}
      actor: {epochs: 5}

Settings of `actor` and `refiner` default to those of `rft` in the recipe's `train` section, with twice its learning
rate (paper: 2e-6 to 1e-6), so that a recipe for a machine fits its bootstrap too.

`load_bootstrap` reads it; `--set actor.learning_rate=1e-6` and the flags override it. The paper's numbers
are of arXiv 2412.11605: 8k prompts for the actor and 5k for the refiner, both answered by gpt-4o-mini.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from spar.config import FREE as FREE_OF_SEARCHES
from spar.config import DecodeConfig, Settings, load_decode, reason_of, section, setting
from spar.errors import UsageError
from spar.plugins import JUDGES, STRATEGIES
from spar.record.training_data import JudgementFilter
from spar.train.assignments import (
    assignment,
    explain_validation_error,
    merge,
    put_value,
    require_rows,
    tuples,
)
from spar.train.set_by_pipeline import KEYWORDS, OF_BOOTSTRAP, refuse_assignments, refuse_set
from spar.train.settings import LaunchSettings, SftSettings, trainer_fields

FREE = (
    "launch",
    *(f"{part}.{name}" for part in ("student", "teacher") for name in FREE_OF_SEARCHES),
    *(f"{part}.{name}" for part in ("actor", "refiner") for name in ("wandb", "checkpoint_steps")),
)
"""Settings that may differ when a bootstrap is resumed."""

CHANGEABLE = ("actor.max_truncated", "refiner.max_truncated")
"""Settings with which a training that refused its data goes on: they may differ too, and belong to a bootstrap's digest all the
same, as in earlier versions."""

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

    prompts: str = setting("", is_path=True)
    """A file of prompts or a data set of the hub; "" for nano-if's training prompts of seed 1, which `spar train` does not use."""
    prompt_field: str = setting("", omit_default=True)
    """Field of the rows of these files or data sets that holds the prompt; "" for the names that docs/decode.md lists."""
    refiner_prompts: str = setting("", is_path=True)
    """A file of prompts for the refiner; "" for those of `prompts` after the actor's, where there are enough."""
    num_actor_prompts: int = Field(default=8000, ge=1)
    """Prompts that the teacher answers (paper: 8k)."""
    num_refiner_prompts: int = Field(default=5000, ge=1)
    """Prompts whose drafts the teacher judges and refines (paper: 5k examples)."""
    greedy_answers: bool = True
    """Whether the teacher's answers are decoded greedily, or sampled by `teacher.draft`."""
    samples: int = Field(default=2, ge=1)
    """The student's drafts for each of the refiner's prompts, sampled by `student.draft`: a failing one is
    refined, the others are only judged."""
    search: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """Fields of `teacher` that differ while it refines: by default a chain of at most three refinements."""
    judgements: JudgementFilter = "decided"
    """Judgements to learn from: all that the teacher's votes decided, or split ones, as in the loop."""
    max_answers: int = Field(default=8000, ge=1)
    """Most of the actor's examples (paper: 8k)."""
    max_refinements: int = Field(default=2100, ge=0)
    """Most refinements among the refiner's examples (paper: 5k in all; here in RFT's proportions)."""
    max_judgements: int = Field(default=2900, ge=0)
    """Most judgements among them, half of them Yes."""
    min_answers: int = Field(default=1, ge=1)
    """Fewer of the actor's examples stop the bootstrap before a model is trained."""
    min_examples: int = Field(default=1, ge=1)
    """The same for the refiner's examples."""
    llamafactory: bool = False
    """Whether the examples are also written in LLaMA-Factory's format, in `build/llamafactory/`."""
    actor: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """Fields of `spar.train.settings.SftSettings`, the actor's training (paper: 5 epochs)."""
    refiner: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """Fields of `SftSettings`, the refiner's training (paper: 3 epochs)."""
    launch: LaunchSettings = LaunchSettings()
    """How many processes train, and where."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of sampling, draws and training."""
    student: DecodeConfig = DecodeConfig()
    """How the student generates; its `model` is the base of both models."""
    teacher: DecodeConfig = DecodeConfig()
    """How the teacher generates answers, votes and refinements."""

    @model_validator(mode="after")
    def _prompt_field(self) -> Self:
        require_rows(self.prompt_field, self.prompts, self.refiner_prompts)
        return self

    @field_validator("search")
    @classmethod
    def _search(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return DecodeConfig.stored_names({"strategy": "iterative", "budget": 3, **settings})

    @field_validator("actor")
    @classmethod
    def _actor(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return trainer_fields(SftSettings, {"epochs": 5, **settings})

    @field_validator("refiner")
    @classmethod
    def _refiner(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return trainer_fields(SftSettings, settings)

    @property
    def base(self) -> str:
        """The model that both are trained from; "" for the embedded model."""
        return self.student.actor_model or self.student.model

    @property
    def refining(self) -> DecodeConfig:
        """How the teacher refines.

        Raises
        ------
        UsageError
            `search` has an unknown setting, or a wrong value.
        """
        try:
            refining = merge(self.teacher.stored(), tuples(self.search), DecodeConfig)
            config = DecodeConfig.model_validate(refining)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, ("search", *first["loc"])))
            raise UsageError(f"{name} {first['input']!r}: {reason_of(first)}") from error
        JUDGES.check(config.judge, "teacher.judge")
        STRATEGIES.check(config.strategy, "search.strategy")
        if "refiner" not in STRATEGIES.spec(config.strategy).roles:
            raise UsageError(
                f"search.strategy {config.strategy!r} refines nothing; choose iterative, bfs or dfs"
            )
        return config


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
        Field of `BootstrapConfig` to value; None values are left out, here and below. Some settings of a section leave
        its others as they are, as in `spar.train.recipe.load_train`.
    assignments:
        `actor.learning_rate=1e-6`, `teacher.votes=3`: dotted keys and their YAML values.
    student, teacher:
        Fields of `DecodeConfig` that flags give.

    Raises
    ------
    UsageError
        An unknown recipe, setting or name, a value out of range, or a setting that the stages set themselves.
    """
    values = dict(section(recipe, "bootstrap", optional=True))
    refuse_set(OF_BOOTSTRAP, {"decode": section(recipe, "decode"), **values}, f"recipe {recipe}")
    overrides, student, teacher = map(_without_none, (overrides, student, teacher))
    refuse_set(OF_BOOTSTRAP, {**overrides, "student": student, "teacher": teacher}, KEYWORDS)
    refuse_assignments(OF_BOOTSTRAP, assignments)
    values = merge(values, overrides)
    _inherit_from_loop(values, section(recipe, "train", optional=True))
    # The recipe's decode section is the student's; the teacher only inherits its sampling.
    sections = {
        "student": merge(_fields(values, "student", recipe), student, DecodeConfig),
        "teacher": merge(
            {**_DEFAULT_MODEL, **_fields(values, "teacher", recipe)}, teacher, DecodeConfig
        ),
    }
    flags = {"student": student, "teacher": teacher}
    values |= {
        name: load_decode(recipe, fields, by_hand=flags[name]) for name, fields in sections.items()
    }
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
    _ = config.refining  # raises for wrong settings
    return config


def _inherit_from_loop(values: dict[str, Any], loop: Mapping[str, Any]) -> None:
    """Fill in the settings of the trainings from the loop's RFT."""
    rft = dict(loop.get("rft", {}))
    if "learning_rate" in rft:
        rft["learning_rate"] = 2 * float(rft["learning_rate"])
    values["refiner"] = merge(rft, values.get("refiner", {}), SftSettings)
    rft.pop("epochs", None)  # the actor has more
    values["actor"] = merge(rft, values.get("actor", {}), SftSettings)
    values.setdefault("launch", loop.get("launch", {}))


def _fields(values: dict[str, Any], name: str, recipe: str) -> Mapping[str, Any]:
    fields = values.pop(name, {})
    if not isinstance(fields, Mapping):
        raise UsageError(
            f"recipe {recipe}: bootstrap.{name} is {fields!r}; it must be a mapping of settings"
        )
    return fields


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


_MODEL_FIELDS = (
    *("model", "actor_model", "judge_model", "refiner_model", "adapter", "speculative_decoding"),
    *("engine", "engine_args", "max_batch_size", "replicas", "replica_engine", "ray_address"),
    *("base_url", "actor_url", "judge_url", "refiner_url", "api_key_env"),
)
_DEFAULT_MODEL = {name: DecodeConfig.model_fields[name].default for name in _MODEL_FIELDS}
