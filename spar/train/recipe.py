"""The settings of a training loop: a recipe, one YAML file.

    decode: {model: meta-llama/Meta-Llama-3-8B-Instruct, strategy: bfs, budget: 15}   how models generate
    eval: {limit: 100}                                                               how they are evaluated
    train: {iterations: 3, dpo: {learning_rate: 2.0e-7}, benchmarks: [...]}           fields of `TrainConfig`

`load_train` reads it; `--set dpo.learning_rate=1e-6` and the flags override it. Settings of the trainers
are checked here, before anything runs, and stored in `run.json` with their defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from spar.config import (
    DecodeConfig,
    EvalConfig,
    Settings,
    load_decode,
    load_eval,
    override,
    section,
    setting,
)
from spar.errors import UsageError
from spar.record.training_data import PAIR_RUNS, MetaJudge, Pairing
from spar.train.assignments import (
    assignment,
    explain_validation_error,
    merge,
    put_value,
    require_rows,
    tuples,
)
from spar.train.backtranslation import BacktranslationSettings
from spar.train.changeable import BY_ITERATION
from spar.train.evaluations import EvalSpec
from spar.train.functions import FunctionSettings
from spar.train.harder import HarderSettings
from spar.train.set_by_pipeline import OF_LOOP, refuse_assignments, refuse_set, split_keywords
from spar.train.settings import (
    DpoSettings,
    LaunchSettings,
    SftSettings,
    trainer_fields,
)

Method = Literal["dpo", "rft", "sft"]
"""A training of an iteration (`spar.train.methods.LOOP_METHODS`)."""
MIXES: Mapping[str, str] = {"balanced": "last", "official": "all"}
"""The refiner's mix, which names its quotas, to the turns of a conversation that it learns (`rft.train_on`)."""


class TrainConfig(Settings):
    """Settings of `spar train`."""

    iterations: int = Field(default=3, ge=1, le=1_000)
    """Iterations in all (paper: 3)."""
    iterative: bool = True
    """False is the paper's ablation without iterative training: all prompts in one iteration, from the first
    models."""
    prompts: str = setting("", is_path=True)
    """A file of prompts or a data set of the hub; "" for those of `checkable`, else nano-if's training prompts."""
    prompt_field: str = setting("", omit_default=True)
    """Field of the rows of that file or data set that holds the prompt; "" for the names that docs/decode.md lists."""
    checkable: dict[str, Any] = setting({}, omit_default=True)
    """Without a file of prompts: the settings by which the loop makes its own (`n`, `holdout`, `constraints`, ... of `spar
    evolve --checkable`); {} makes none. Their `prompts` are the seed prompts, by default the data set `seed_prompts`."""
    prompts_per_iteration: int = Field(default=10_000, ge=1)
    """New prompts of each iteration (paper: about 30,000 in three); the file is repeated where it is too
    short."""
    samples: int = Field(default=5, ge=1)
    """Drafts for each prompt (paper, code: K = 5)."""
    greedy_draft: bool = setting(False, omit_default=True)
    """Whether the first of them is greedy, as the answers of most tests are (paper: all are sampled)."""
    search: dict[str, Any] = Field(default_factory=dict)
    """Fields of `decode` that differ in the search stage, such as `{strategy: iterative}` for the
    paper's ablation without tree search."""
    methods: tuple[Method, ...] = setting(("dpo", "rft"), omit_default=True)
    """The trainings of an iteration: `dpo` is the actor's, `rft` the refiner's (paper: both); `sft` trains the actor on
    drafts that pass, in place of `dpo`. A role whose training is left out keeps its first model; its data are not built, and
    where nothing else needs the searches, they are left out too."""
    one_model: bool = setting(False, omit_default=True)
    """Whether one model plays all roles (paper: two models): what the one training of an iteration makes of it is the
    actor, the judge and the refiner of the next."""
    by_iteration: tuple[dict[str, Any], ...] = setting((), omit_default=True)
    """Settings that change over the iterations: the first entry is that of iteration 1, the last one also that of all
    after it, such as `[{}, {dpo: {beta: 5}}]`. `BY_ITERATION` in `spar/train/changeable.py` lists those that may change."""
    pairs: Pairing = "refined"
    """Draft and refinement (paper), two drafts (its ablation without refinement), both kinds, the drafts with the highest
    and the lowest score (`best_worst`), the prompt's own reply and a draft (`reference`, which needs no judge), or a draft
    that passes and one with a score of 0 (`pass_rate`)."""
    length_control: float | None = setting(None, omit_default=True, ge=0, lt=0.5)
    """With `best_worst`: the shortest of the drafts whose score is within this share of the range from the highest one,
    against the longest of those as close to the lowest (Meta-Rewarding's rho); null draws among the highest and the
    lowest themselves."""
    max_chosen_characters: int | None = setting(None, omit_default=True, ge=1)
    """With `best_worst`: a pair with a longer chosen side is left out; null for none."""
    answer_score: float | None = setting(None, omit_default=True, ge=0, le=1)
    """With `sft`: a draft is learnt from this score on; null: where it passes."""
    backtranslation: BacktranslationSettings | None = setting(None, omit_default=True)
    """Settings by which a backward model writes the instructions of unlabelled texts (Humpback), listed below; null for none. The
    loop's prompts are these, and a prompt's draft is its text."""
    functions: FunctionSettings | None = setting(None, omit_default=True)
    """Settings by which a model writes functions that check instructions (AutoIF), listed below; null for none. The loop's prompts
    are instructions that stay, joined with the file of prompts as queries, and `decode.judge=functions` scores by these functions."""
    harder: HarderSettings | None = setting(None, omit_default=True)
    """Settings by which prompts get harder over the iterations (SEIF), listed below; null: an iteration has the next prompts."""
    restart: bool = setting(False, omit_default=True)
    """Whether each iteration trains the first models anew, and not those of the iteration before."""
    own_answers: bool = setting(False, omit_default=True)
    """With `one_model`: whether `rft` also learns to answer as the model does after its refinements: of each prompt the
    refinement that passes, else a draft that does (SELF)."""
    judge_pairs: bool = setting(False, omit_default=True)
    """With `one_model`: whether `dpo` also prefers better judgements to worse ones (Meta-Rewarding). Of each prompt the
    response on which the judge disagrees most with itself is judged again, `decode.votes` times."""
    meta_judge: MetaJudge = setting("model", omit_default=True)
    """Who ranks these judgements: the model itself, which compares each two in both orders, or programs, which know the
    right verdict."""
    max_judgement_characters: int | None = setting(None, omit_default=True, ge=1)
    """A pair whose chosen judgement is longer is left out; null for none."""
    references: str = setting("", is_path=True, omit_default=True)
    """With `reference`: a file of replies with the fields `id` and `response`, for prompts without a reply of their own."""
    cut_drafts: bool = setting(True, omit_default=True)
    """Whether drafts that ended at their token limit take part in pairs and are answers to learn (code: they do). Such a draft
    stops in the middle, refined by a program too, and the actor learns to stop there."""
    shuffle_labels: bool = False
    """Whether the sides of pairs are swapped at random: a control that must teach nothing."""
    quotas: Literal["balanced", "official"] = "balanced"
    """The refiner's examples: as many Yes as No (paper's text), or as its code counts. The code also learns the critique
    in each refinement, always a No: `mix: official`, in place of this, sets `rft.train_on` too."""
    min_pairs: int = Field(default=1, ge=1)
    """Fewer pairs stop the loop before a model is trained. It may change whenever a loop is resumed."""
    max_pairs: int | None = Field(default=None, ge=1)
    """Most pairs, drawn by the seed; null for all (paper)."""
    embedding_model: str = setting("", is_path=True)
    """A sentence-transformers model that also measures the pairs; "" for none."""
    dpo: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """Fields of `spar.train.settings.DpoSettings`, the actor's training."""
    rft: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """Fields of `spar.train.settings.SftSettings`, the refiner's training."""
    sft: dict[str, Any] = setting({}, omit_default=True)
    """Fields of `SftSettings`, the actor's training on drafts that pass."""
    launch: LaunchSettings = LaunchSettings()
    """How many processes train, and where."""
    measure_start: bool = True
    """Whether the first models are evaluated as well."""
    benchmarks: tuple[EvalSpec, ...] = ()
    """The evaluations of each iteration's models."""
    start: str = setting("", is_path=True)
    """Folder of another loop to continue: its last models, its numbering, its position in the prompts."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of sampling, draws and training."""
    decode: DecodeConfig = DecodeConfig()
    """How models generate: engine, sampling, votes, search. Its `model`, `actor_model` and `refiner_model`
    are the first actor and refiner, by default the embedded model."""
    eval: EvalConfig = EvalConfig()
    """How models are evaluated."""

    @model_validator(mode="before")
    @classmethod
    def _mix(cls, values: Any) -> Any:
        """`mix` is not stored: it is a name for two settings that belong together."""
        if not isinstance(values, Mapping) or "mix" not in values:
            return values
        others = {name: value for name, value in values.items() if name != "mix"}
        if values["mix"] not in MIXES:
            raise ValueError(f"mix is {values['mix']!r} (accepted: {', '.join(MIXES)})")
        rft = {**(others.get("rft") or {}), "train_on": MIXES[values["mix"]]}
        return {**others, "quotas": values["mix"], "rft": rft}

    @field_validator("search")
    @classmethod
    def _search(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return DecodeConfig.stored_names(settings)

    @field_validator("dpo")
    @classmethod
    def _dpo(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return trainer_fields(DpoSettings, settings)

    @field_validator("rft")
    @classmethod
    def _rft(cls, settings: dict[str, Any]) -> dict[str, Any]:
        # RFT is half as fast as the bootstrap (paper).
        return trainer_fields(SftSettings, {"learning_rate": 1e-6, **settings})

    @field_validator("sft")
    @classmethod
    def _sft(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return trainer_fields(SftSettings, settings) if settings else {}

    @field_validator("methods")
    @classmethod
    def _methods(cls, names: tuple[Method, ...]) -> tuple[Method, ...]:
        if not names:
            raise ValueError(f"it names no training (accepted: {', '.join(get_args(Method))})")
        if {"dpo", "sft"} <= set(names):
            raise ValueError(
                "dpo and sft both train the actor: name one of them (by_iteration may change it)"
            )
        return tuple(name for name in get_args(Method) if name in names)

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if not self.one_model:
            if self.own_answers:
                raise ValueError("own_answers train the actor by rft: add one_model: true")
            if self.judge_pairs:
                raise ValueError(
                    "judge_pairs trains the judge by the actor's dpo: add one_model: true"
                )
            return self
        if self.judge_pairs and self.methods != ("dpo",):
            raise ValueError("judge_pairs are trained by dpo: add methods: [dpo]")
        if self.own_answers and self.methods != ("rft",):
            raise ValueError("own_answers are trained on by rft: add methods: [rft]")
        decode = self.decode
        if len(self.methods) > 1:
            raise ValueError("one_model is trained by one method: add methods: [dpo]")
        if decode.refiner_model not in ("", decode.actor_model or decode.model):
            raise ValueError("one_model has no refiner of its own: give --model alone")
        return self

    @model_validator(mode="after")
    def _prompt_field(self) -> Self:
        require_rows(self.prompt_field, self.prompts)
        return self

    @model_validator(mode="after")
    def _texts(self) -> Self:
        if self.functions is not None and (self.checkable or self.backtranslation):
            raise ValueError(
                "functions make the loop's prompts: leave out checkable and backtranslation"
            )
        if self.harder is not None and (self.functions or self.backtranslation):
            raise ValueError(
                "harder adds constraints that programs check: leave out functions and backtranslation"
            )
        if self.harder is not None and not self.judges:
            raise ValueError("harder needs judged drafts, and these settings judge none")
        if self.backtranslation is None:
            return self
        if self.methods != ("sft",):
            raise ValueError("backtranslation makes answers for sft: add methods: [sft]")
        if self.prompts or self.checkable:
            raise ValueError(
                "backtranslation writes the loop's prompts: give a file of texts as backtranslation.texts, and no prompts"
            )
        return self

    @model_validator(mode="after")
    def _by_iteration(self) -> Self:
        for number, changes in enumerate(self.by_iteration, start=1):
            for name in changes:
                if name not in BY_ITERATION:
                    raise ValueError(
                        f"by_iteration, entry {number}: {name!r} does not change over iterations "
                        f"(accepted: {', '.join(BY_ITERATION)})"
                    )
            try:
                self.of_iteration(number)
            except ValidationError as error:
                text = explain_validation_error(error, f"entry {number}", TrainConfig)
                raise ValueError(f"by_iteration, {text.removeprefix('recipe ')}") from error
        return self

    def of_iteration(self, iteration: int) -> TrainConfig:
        """The settings of one iteration."""
        if not self.by_iteration:
            return self
        # An empty section of an entry changes nothing.
        changes = {name: each for name, each in self.changes_of(iteration).items() if each != {}}
        values = merge({**self.stored(), "by_iteration": ()}, changes)
        return TrainConfig.model_validate(tuples(values))

    def changes_of(self, iteration: int) -> Mapping[str, Any]:
        """The entry of `by_iteration` for an iteration."""
        last = len(self.by_iteration)
        return self.by_iteration[min(max(iteration, 1), last) - 1] if last else {}

    @property
    def makes_prompts(self) -> bool:
        """Whether the loop makes its own prompts."""
        return bool(self.checkable) and not self.prompts

    @property
    def holds_out(self) -> bool:
        """Whether there are prompts that are held out."""
        return self.makes_prompts and bool(self.checkable.get("holdout"))

    @property
    def searches(self) -> bool:
        """Whether an iteration searches: pairs, or the refiner's examples, are taken from its searches."""
        return "rft" in self.methods or (
            "dpo" in self.methods and "search" in PAIR_RUNS[self.pairs]
        )

    @property
    def judges(self) -> bool:
        """Whether an iteration judges its drafts."""
        if "sft" in self.methods:
            return True
        return self.searches or self.judge_pairs or self.pairs != "reference"

    @property
    def last_iteration(self) -> int:
        """Number of the last iteration."""
        return self.iterations if self.iterative else 1

    @property
    def prompts_at_once(self) -> int:
        """Prompts of one iteration."""
        whole = 1 if self.iterative else self.iterations
        return self.prompts_per_iteration * whole


def load_train(
    recipe: str, overrides: Mapping[str, Any], assignments: Sequence[str] = ()
) -> TrainConfig:
    """Settings of a loop.

    Parameters
    ----------
    recipe:
        A YAML file, or the name of one in `spar/recipes`.
    overrides:
        Field of `TrainConfig` or of `DecodeConfig` to value; None values are ignored. Some settings of a section, such as
        `{"dpo": {"beta": 0.2}}`, leave its others as they are.
    assignments:
        `dpo.learning_rate=1e-6`, `decode.votes=3`, `dpo={beta: 0.2}`: dotted keys of `TrainConfig` and their YAML values.

    Raises
    ------
    UsageError
        An unknown recipe, setting or name, a value out of range, or a setting that the loop sets itself.
    """
    own, generation = split_keywords(OF_LOOP, overrides, TrainConfig.model_fields)
    values = merge(section(recipe, "train"), own)
    sections = {name: section(recipe, name, optional=True) for name in ("decode", "eval")}
    refuse_set(OF_LOOP, {**section(recipe, "train"), **sections}, f"recipe {recipe}")
    values["decode"] = load_decode(recipe, merge(generation, own.get("decode", {})))
    values["eval"] = load_eval(recipe, merge(generation, own.get("eval", {})))
    config = _checked(values, recipe)
    return with_changes(config, {}, assignments) if assignments else config


def with_changes(
    stored: TrainConfig, overrides: Mapping[str, Any], assignments: Sequence[str] = ()
) -> TrainConfig:
    """The settings of a loop that is there already, changed by flags; parameters and errors as `load_train`'s."""
    own, generation = split_keywords(OF_LOOP, overrides, TrainConfig.model_fields)
    values = merge(stored.stored(), own)
    values["decode"] = override(DecodeConfig, values["decode"], generation)
    values["eval"] = override(EvalConfig, values["eval"], generation)
    refuse_assignments(OF_LOOP, assignments)
    for key, value in map(assignment, assignments):
        put_value(key, value, values)
    return _checked(values, "--set")


def _checked(values: Mapping[str, Any], recipe: str) -> TrainConfig:
    try:
        return TrainConfig.model_validate(tuples(values))
    except ValidationError as error:
        raise UsageError(explain_validation_error(error, recipe, TrainConfig)) from error


def first_models(config: TrainConfig) -> tuple[str, str]:
    """Actor and refiner that a loop starts from, "" for the embedded model."""
    decode = config.decode
    actor = decode.actor_model or decode.model
    return actor, actor if config.one_model else decode.refiner_model or decode.model
