"""What the stages of a bootstrap generate and train, at most, where every reply parses.

answers: 8,000 answers of the teacher
drafts: 10,000 drafts of the student, 2 for each of 5,000 prompts
judge: at most 50,000 votes of the teacher, 5 on each of 10,000 drafts
refine: at most 15,000 refinements and 75,000 votes of the teacher, by iterative from one failing draft of ...
build: at most 8,000 examples for the actor and 5,000 for the refiner
sft-actor: at most 625 steps of 64 examples, from ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spar.config import DecodeConfig
from spar.estimate.calls import most_responses
from spar.plugins import JUDGES
from spar.run.resolve import shown_model
from spar.train.bootstrap.recipe import BootstrapConfig
from spar.train.specs import (
    AnswerSpec,
    BootstrapBuildSpec,
    DraftSpec,
    SearchSpec,
    TrainingSpec,
    VoteSpec,
)
from spar.train.stage import Stage
from spar.train.stage_spec import StageSpec


@dataclass(frozen=True, slots=True)
class PromptCounts:
    """The prompts of a bootstrap."""

    actor: int
    refiner: int


@dataclass(frozen=True, slots=True)
class ExampleCounts:
    """The examples of a bootstrap."""

    actor: int
    refiner: int


def most_examples(config: BootstrapConfig, counts: PromptCounts) -> ExampleCounts:
    """The examples that the generations can give, within the quotas: of a search a refinement, and a judgement of either verdict."""
    drafts = counts.refiner * config.samples
    judgements = min(config.max_judgements // 2 * 2, drafts + 2 * counts.refiner)
    refinements = min(config.max_refinements, counts.refiner)
    return ExampleCounts(min(counts.actor, config.max_answers), refinements + judgements)


def plan_lines(
    config: BootstrapConfig, stages: Iterable[Stage], counts: PromptCounts
) -> Iterator[str]:
    """A line for each stage."""
    for stage in stages:
        yield f"{stage.title}: {_line(config, stage.spec, counts)}"


def _line(config: BootstrapConfig, spec: StageSpec, counts: PromptCounts) -> str:
    drafts = counts.refiner * config.samples
    most = most_examples(config, counts)
    match spec:
        case AnswerSpec():
            return f"{counts.actor:,} answers of the teacher"
        case DraftSpec():
            return (
                f"{drafts:,} drafts of the student, {config.samples} for each of {counts.refiner:,} "
                "prompts"
            )
        case VoteSpec():
            votes = _votes_each(spec.config)
            return f"at most {drafts * votes:,} votes of the teacher, {votes} on each of {drafts:,} drafts"
        case SearchSpec():
            search = spec.config
            # The root is given: `most_responses` counts it as a draft, which is not written.
            unbounded = search.model_copy(update={"budget": 1 << 30})
            refinements = counts.refiner * min(search.budget, most_responses(unbounded) - 1)
            return (
                f"at most {refinements:,} refinements and {refinements * _votes_each(search):,} votes of "
                f"the teacher, by {search.strategy} from one failing draft of each prompt that has one"
            )
        case BootstrapBuildSpec():
            return f"at most {most.actor:,} examples for the actor and {most.refiner:,} for the refiner"
        case TrainingSpec():
            settings = spec.settings
            steps = settings.num_steps(most.actor if spec.role == "actor" else most.refiner)
            base = shown_model(config.base)
            model = "the embedded model" if base == "embedded" else base
            return f"at most {steps:,} steps of {settings.batch} examples, from {model}"
    raise TypeError(f"a bootstrap has no stage with a {type(spec).__name__}")


def _votes_each(config: DecodeConfig) -> int:
    return JUDGES.spec(config.judge).num_calls(config)
