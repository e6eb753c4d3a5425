"""The stages of a training loop, as data; nothing here runs or reads anything.

iteration-0/prompts                                    the loop's prompts, where it makes its own
iteration-0/functions check back compare join          prompts with functions that check them, where a model writes these
iteration-0/texts backward label                       instructions for unlabelled texts, where a loop learns from these
iteration-0/eval                                       the first models, evaluated
iteration-1/harder draft judge judgements meta search build dpo rft sft eval      an iteration, of which some stages may be left out
iteration-2/...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.config import DecodeConfig, EvalConfig
from spar.embedded import CHECKPOINT
from spar.record.training import PROMPTS, iteration_folder
from spar.train.assignments import merge
from spar.train.evaluations import EvalSpec
from spar.train.harder import HarderSpec
from spar.train.methods import LOOP_METHODS
from spar.train.recipe import TrainConfig, first_models
from spar.train.specs import (
    BuildSpec,
    ComparisonSpec,
    DraftSpec,
    EvalItem,
    EvalStageSpec,
    GenerationSpec,
    GivenSpec,
    JudgementsSpec,
    SearchSpec,
    TrainingSpec,
    VoteSpec,
    training_seed,
    validated,
)
from spar.train.stage import Stage
from spar.train.start_stages import (
    SAMPLED,
    ReplyKind,
    prompts_spec,
    start_stages,
    template_arguments,
    texts_spec,
)
from spar.types import Role

STAGES = (
    "prompts",
    "functions",
    "check",
    "back",
    "compare",
    "join",
    "texts",
    "backward",
    "label",
    "harder",
    "draft",
    "judge",
    "judgements",
    "meta",
    "search",
    "build",
    *LOOP_METHODS,
    "eval",
)
"""The stages of an iteration, in order; a loop may leave out the judge, the search, a training and the evaluation."""


@dataclass(frozen=True, slots=True)
class Models:
    """An actor and a refiner."""

    actor: str
    """Folder or hub name, "" for the embedded model."""
    refiner: str
    """The same; the judge too where it has no model of its own."""

    def of(self, role: Role) -> str:
        """The model of a role that is trained."""
        return self.actor if role == "actor" else self.refiner


@dataclass(frozen=True, slots=True)
class Origin(Models):
    """Where a loop starts: its first models."""

    iteration: int = 0
    """Iterations before them, in the loop that this one continues."""

    @classmethod
    def of_config(cls, config: TrainConfig) -> Origin:
        """The models that a recipe names."""
        return cls(*first_models(config))


def loop_stages(config: TrainConfig, run: Path, origin: Origin) -> tuple[Stage, ...]:
    """Every stage of a loop, in the order in which they run.

    Parameters
    ----------
    run:
        The loop's folder.

    Raises
    ------
    UsageError
        `search`, or the settings of a benchmark, have an unknown setting or a value out of range.
    """
    stages: list[Stage] = []
    stages += start_stages(config, run, origin)
    if config.measure_start and config.benchmarks:
        stages.append(_eval(config, run, origin.iteration, origin))
    for iteration in range(origin.iteration + 1, config.last_iteration + 1):
        stages += _iteration(config, run, iteration, origin)
    return tuple(stages)


def trained_models(config: TrainConfig, run: Path, iteration: int) -> tuple[str, ...]:
    """Folders of the models that an iteration trains."""
    home = iteration_folder(run, iteration)
    return tuple(str(home / name / "model") for name in config.of_iteration(iteration).methods)


def models_after(config: TrainConfig, run: Path, iteration: int, origin: Origin) -> Models:
    """The models at the end of an iteration: the last ones that were trained, and the first one of a role that no one trains."""
    if config.one_model:
        first = iteration <= origin.iteration
        (model,) = (origin.actor,) if first else trained_models(config, run, iteration)
        return Models(model, model)
    trained: dict[Role | None, str] = {}
    while iteration > origin.iteration and len(trained) < 2:
        names = config.of_iteration(iteration).methods
        folders = trained_models(config, run, iteration)
        found = {LOOP_METHODS[name].role: m for name, m in zip(names, folders, strict=True)}
        trained = {**found, **trained}
        # Earlier iterations of the same settings train no other roles.
        iteration = min(iteration - 1, max(len(config.by_iteration) - 1, 0))
    return Models(trained.get("actor", origin.actor), trained.get("refiner", origin.refiner))


def _iteration(loop: TrainConfig, run: Path, iteration: int, origin: Origin) -> Iterator[Stage]:
    config, home = loop.of_iteration(iteration), iteration_folder(run, iteration)
    models = models_after(loop, run, iteration - 1, origin)
    start = models_after(loop, run, origin.iteration, origin) if config.restart else models
    sampled = {"budget": config.samples, **SAMPLED}
    drafting_settings = {**sampled, "greedy_first": config.greedy_draft}

    def generation(
        kind: type[GenerationSpec], name: str, source: str, changes: Mapping[str, Any], **more: Any
    ) -> Stage:
        values = {
            **config.decode.stored(),
            # The stage's own file holds the prompts; its path is of no interest to the run's record.
            "prompts": f"{home.name}/{PROMPTS}",
            "seed": config.seed,
            "limit": None,
            "actor_model": models.actor,
            "refiner_model": models.refiner,
        }
        values = merge(values, changes, DecodeConfig)
        spec = kind(
            prompts=str(home / PROMPTS),
            source=str(home / source) if source else "",
            out=str(home / name),
            config=validated(DecodeConfig, values, f"the settings of stage {iteration}/{name}"),
            permitted=config.functions is not None and config.functions.writer == "program",
            **more,
        )
        return Stage(name, home, spec, prompts=None if source else home / PROMPTS)

    if config.harder is not None and iteration > origin.iteration + 1:
        yield Stage("harder", home, harder_spec(config, run, iteration))
    drafting = DraftSpec if config.backtranslation is None else GivenSpec
    yield generation(drafting, "draft", "", drafting_settings)
    if config.judges:
        yield generation(VoteSpec, "judge", "draft", drafting_settings)
    if config.judge_pairs:
        again = {**sampled, "budget": config.decode.votes}
        yield generation(JudgementsSpec, "judgements", "judge", again)
        if config.meta_judge == "model":
            yield generation(ComparisonSpec, "meta", "judgements", {**sampled, "budget": 1})
    if config.searches:
        cut = {"cut_drafts": config.cut_drafts}
        yield generation(SearchSpec, "search", "judge", config.search, **cut)
    yield Stage("build", home, _build(config, home, _seeds(config, run, origin)))
    for name in config.methods:
        role = LOOP_METHODS[name].role
        assert role is not None
        yield Stage(name, home, _training(config, home, name, start.of(role)))
    if config.benchmarks:
        yield _eval(loop, run, iteration, origin)


def harder_spec(config: TrainConfig, run: Path, iteration: int) -> HarderSpec:
    """The stage that makes harder versions of the easy prompts of the iteration before."""
    assert config.harder is not None
    return HarderSpec(
        out=str(iteration_folder(run, iteration) / "harder"),
        source=str(iteration_folder(run, iteration - 1) / "judge"),
        name=f"harder-{iteration}",
        easy=config.harder.easy,
        most=int(config.harder.share * config.prompts_at_once),
        seed=config.seed,
    )


def _seeds(config: TrainConfig, run: Path, origin: Origin) -> str:
    """The file of the seed conversations, which `sft` learns too; "" where there are none."""
    learns = config.backtranslation is not None and "sft" in config.methods
    return str(texts_spec(config, run, origin).answers) if learns else ""


def _build(config: TrainConfig, home: Path, seeds: str) -> BuildSpec:
    return BuildSpec(
        out=str(home / "build"),
        search=str(home / "search") if config.searches else "",
        drafts=str(home / ("judge" if config.judges else "draft")),
        judgement_run=str(home / "judgements") if config.judge_pairs else "",
        comparison_run=str(home / "meta")
        if config.judge_pairs and config.meta_judge == "model"
        else "",
        own_answers=config.own_answers,
        answer_score=config.answer_score,
        seeds=seeds,
        max_judgement_characters=config.max_judgement_characters,
        seed=config.seed,
        methods=config.methods,
        pairs=config.pairs,
        length_control=config.length_control,
        max_chosen_characters=config.max_chosen_characters,
        cut_drafts=config.cut_drafts,
        shuffle_labels=config.shuffle_labels,
        quotas=config.quotas,
        min_pairs=config.min_pairs,
        max_pairs=config.max_pairs,
        embedding_model=config.embedding_model,
    )


def _training(config: TrainConfig, home: Path, name: str, model: str) -> TrainingSpec:
    method = LOOP_METHODS[name]
    assert method.role is not None
    values: Mapping[str, Any] = {
        "chat_template_args": template_arguments(config, *_learned(config, name)),
        **getattr(config, name),
        "seed": training_seed(getattr(config, name), config.seed),
        "model": model or str(CHECKPOINT),
        "data": str(home / "build" / f"{name}.jsonl"),
        "out": str(home / name),
    }
    return TrainingSpec(
        method_name=name,
        role=method.role,
        settings=method.settings.model_validate(values),
        launch=config.launch,
    )


def _learned(config: TrainConfig, method: str) -> tuple[ReplyKind, ...]:
    """What the replies that a training learns were written as."""
    if LOOP_METHODS[method].role == "actor":
        return ("draft", "vote") if method == "dpo" and config.judge_pairs else ("draft",)
    return ("vote", "refine", "draft") if config.own_answers else ("vote", "refine")


def _eval(config: TrainConfig, run: Path, iteration: int, origin: Origin) -> Stage:
    home = iteration_folder(run, iteration)
    models = models_after(config, run, iteration, origin)
    trained = trained_models(config, run, iteration) if iteration > origin.iteration else ()
    held_out = str(prompts_spec(config, run, origin).held_out) if config.holds_out else ""
    is_first = iteration == origin.iteration + (not config.measure_start)
    items = tuple(
        _eval_item(config, item, models, origin, held_out).model_copy(
            update={"show": item.show if is_first else ()}
        )
        for item in config.benchmarks
        if held_out or not item.held_out
    )
    return Stage("eval", home, EvalStageSpec(out=str(home / "eval"), items=items, models=trained))


def _eval_item(
    config: TrainConfig, item: EvalSpec, models: Models, origin: Origin, held_out: str
) -> EvalItem:
    values = {
        **merge({**config.eval.stored(), "seed": config.seed}, item.settings, EvalConfig),
        **({"prompts": held_out} if item.held_out else {}),
        "actor_model": origin.actor if item.actor == "first" else models.actor,
        "refiner_model": models.refiner,
    }
    settings = validated(EvalConfig, values, f"the settings of benchmark {item.title!r}")
    return EvalItem(name=item.title, benchmark=item.benchmark, config=settings)
