"""The stages before the first iteration of a loop, which make its prompts; as data, nothing here runs or reads anything.

iteration-0/prompts                               checkable prompts
iteration-0/texts backward label                  texts, a backward model, the instructions that it writes for them
iteration-0/functions check back compare join     verification functions that a model writes, and prompts that they check
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT
from spar.errors import UsageError
from spar.record.training import PROMPTS, iteration_folder
from spar.train.assignments import merge
from spar.train.backtranslation import TextsSpec
from spar.train.functions import CheckSpec, JoinSpec
from spar.train.prompts_spec import PromptsSpec
from spar.train.recipe import TrainConfig
from spar.train.settings import SftSettings
from spar.train.specs import DraftSpec, TrainingSpec, training_seed, validated
from spar.train.stage import Stage

if TYPE_CHECKING:
    from spar.train.loop_stages import Origin

SAMPLED = {
    "strategy": "best-of-n",
    "strategy_args": {},
    "greedy_first": False,
    "vote_rule": "full",
}
"""All drafts are sampled, none is spared where an earlier one passes, and every vote is cast, since judges learn
from split votes."""


ReplyKind = Literal["draft", "vote", "refine"]
"""What a model writes in a search, as its settings are called."""
REPLIES: Mapping[ReplyKind, str] = {"draft": "drafts", "vote": "votes", "refine": "refinements"}


def start_stages(config: TrainConfig, run: Path, origin: Origin) -> Iterator[Stage]:
    """The stages before the first iteration; none where the prompts are a file's or nano-if's."""
    if config.makes_prompts:
        spec = prompts_spec(config, run, origin)
        yield Stage("prompts", iteration_folder(run, origin.iteration), spec)
    if config.functions is not None:
        yield from _functions(config, run, origin)
    if config.backtranslation is not None:
        yield from _backtranslation(config, run, origin)


def prompts_spec(config: TrainConfig, run: Path, origin: Origin) -> PromptsSpec:
    """The stage that makes the loop's prompts."""
    return PromptsSpec(
        out=str(iteration_folder(run, origin.iteration) / "prompts"),
        settings={"seed": config.seed, **config.checkable},
        data=config.eval.data,
    )


def texts_spec(config: TrainConfig, run: Path, origin: Origin) -> TextsSpec:
    """The stage that writes the texts whose instructions a backward model writes."""
    assert config.backtranslation is not None
    settings = config.backtranslation
    return TextsSpec(
        out=str(iteration_folder(run, origin.iteration) / "texts"),
        num_texts=config.prompts_per_iteration,
        **settings.model_dump(exclude={"backward"}),
    )


def _backtranslation(config: TrainConfig, run: Path, origin: Origin) -> Iterator[Stage]:
    """The texts, the backward model, and the instructions that it writes for them."""
    assert config.backtranslation is not None
    home, texts = iteration_folder(run, origin.iteration), texts_spec(config, run, origin)
    yield Stage("texts", home, texts)
    values = {
        "chat_template_args": template_arguments(config, "draft"),
        **config.backtranslation.backward,
        "seed": training_seed(config.backtranslation.backward, config.seed),
        "model": origin.actor or str(CHECKPOINT),
        "data": str(texts.backward),
        "out": str(home / "backward"),
    }
    settings = SftSettings.model_validate(values)
    backward = TrainingSpec(
        method_name="sft", role="actor", settings=settings, launch=config.launch
    )
    yield Stage("backward", home, backward)
    sampled = {"budget": 1, **SAMPLED, "actor_model": str(home / "backward" / "model")}
    stored = {**config.decode.stored(), "prompts": "texts/texts.jsonl", "limit": None}
    labelling = validated(
        DecodeConfig, {**stored, "seed": config.seed, **sampled}, "the settings of the stage label"
    )
    label = DraftSpec(prompts=str(texts.prompts), out=str(home / "label"), config=labelling)
    yield Stage("label", home, label)


def label_run(run: Path, origin: Origin) -> Path:
    """The run directory of the instructions that a backward model wrote."""
    return iteration_folder(run, origin.iteration) / "label"


def check_spec(config: TrainConfig, run: Path, origin: Origin) -> CheckSpec:
    """The stage that checks functions and test cases against each other."""
    assert config.functions is not None
    home, settings = iteration_folder(run, origin.iteration), config.functions
    names = ("min_accuracy", "min_functions", "min_cases", "back_translations")
    return CheckSpec(
        out=str(home / "check"),
        source=str(home / "functions"),
        permitted=settings.writer == "program",
        **{name: getattr(settings, name) for name in names},
    )


def join_spec(config: TrainConfig, run: Path, origin: Origin) -> JoinSpec:
    """The stage that writes the prompts whose functions are known."""
    assert config.functions is not None
    home = iteration_folder(run, origin.iteration)
    return JoinSpec(
        out=str(home / "join"),
        functions=str(check_spec(config, run, origin).functions),
        compare=str(home / "compare"),
        queries_file=config.prompts,
        prompt_field=config.prompt_field,
        queries=config.functions.queries,
        seed=config.seed,
    )


def _functions(config: TrainConfig, run: Path, origin: Origin) -> Iterator[Stage]:
    """The writer's functions, the check, their descriptions, the comparisons of these, and the prompts."""
    assert config.functions is not None
    home = iteration_folder(run, origin.iteration)

    def writing(name: str, budget: int) -> Stage:
        prompts = home / f"{name}.{PROMPTS}"
        values = {
            **config.decode.stored(),
            **SAMPLED,
            "budget": budget,
            "prompts": f"{home.name}/{prompts.name}",
            "seed": config.seed,
            "limit": None,
            "actor_model": origin.actor,
            "judge": "votes",
            "judge_args": {},
        }
        settings = validated(DecodeConfig, values, f"the settings of the stage {name}")
        is_program = config.functions is not None and config.functions.writer == "program"
        spec = DraftSpec(
            prompts=str(prompts), out=str(home / name), config=settings, program=is_program
        )
        return Stage(name, home, spec, prompts=prompts)

    yield writing("functions", config.functions.samples)
    yield Stage("check", home, check_spec(config, run, origin))
    yield writing("back", 1)
    yield writing("compare", 1)
    yield Stage("join", home, join_spec(config, run, origin))


def template_arguments(config: TrainConfig, *kinds: ReplyKind) -> dict[str, Any]:
    """Variables of the chat template in the searches whose replies a training learns.

    Raises
    ------
    UsageError
        They differ: one training has one set.
    """
    if kinds == ("draft",):
        return config.decode.template_arguments(config.decode.draft)
    values = merge(config.decode.stored(), config.search, DecodeConfig)
    search: DecodeConfig = validated(DecodeConfig, values, "the settings of the stage search")
    return shared_arguments({"draft": config.decode, "vote": search, "refine": search}, kinds)


def shared_arguments(
    configs: Mapping[ReplyKind, DecodeConfig], kinds: Sequence[ReplyKind]
) -> dict[str, Any]:
    """The variables that replies of several kinds have in common; raises `UsageError` where they differ."""
    arguments = {
        kind: configs[kind].template_arguments(getattr(configs[kind], kind)) for kind in kinds
    }
    first, *others = kinds
    for kind in others:
        if arguments[kind] != arguments[first]:
            raise UsageError(
                f"{REPLIES[first]} and {REPLIES[kind]} have different chat_template_args ({arguments[first]} and "
                f"{arguments[kind]}), and one training learns both; give both the same"
            )
    return arguments[first]
