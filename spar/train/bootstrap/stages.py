"""The stages of a bootstrap, as data; nothing here runs or reads anything.

answers                       the teacher answers the actor's prompts
drafts judge refine           the student drafts, the teacher judges and refines what fails
build                         the two sets of examples
sft-actor sft-refiner         both models, in `actor/model` and `refiner/model`
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT
from spar.train.bootstrap.recipe import BootstrapConfig
from spar.train.settings import SftSettings
from spar.train.specs import (
    AnswerSpec,
    BootstrapBuildSpec,
    DraftSpec,
    GenerationSpec,
    SearchSpec,
    TrainingSpec,
    VoteSpec,
    training_seed,
)
from spar.train.stage import Stage
from spar.train.start_stages import ReplyKind, shared_arguments
from spar.types import Role

STAGES = ("answers", "drafts", "judge", "refine", "build", "sft-actor", "sft-refiner")
"""Every stage, in order."""
ACTOR_PROMPTS, REFINER_PROMPTS = "actor.prompts.jsonl", "refiner.prompts.jsonl"
"""The prompts for each model, in the bootstrap's folder; each belongs to the first stage that reads it."""


def bootstrap_stages(config: BootstrapConfig, run: Path) -> tuple[Stage, ...]:
    """Every stage of a bootstrap, in the order in which they run.

    Parameters
    ----------
    run:
        The bootstrap's folder.
    """
    teacher, student = config.teacher, config.student
    sampled = {
        "strategy": "best-of-n",
        "strategy_args": {},
        "budget": config.samples,
        "greedy_first": False,
    }
    answering = {
        "strategy": "greedy",
        "strategy_args": {},
        "budget": 1,
        "greedy_first": config.greedy_answers,
    }

    def generation(
        kind: type[GenerationSpec],
        name: str,
        prompts: str,
        decode: DecodeConfig,
        changes: Mapping[str, Any],
        source: str = "",
    ) -> Stage:
        # The stage's own file holds the prompts; its path is of no interest to the run's record.
        common = {"prompts": prompts, "seed": config.seed, "limit": None}
        spec = kind(
            prompts=str(run / prompts),
            source=str(run / source) if source else "",
            out=str(run / name),
            config=DecodeConfig.from_stored({**decode.stored(), **changes, **common}),
        )
        return Stage(name, run, spec, prompts=None if source else run / prompts)

    return (
        generation(AnswerSpec, "answers", ACTOR_PROMPTS, teacher, answering),
        generation(DraftSpec, "drafts", REFINER_PROMPTS, student, sampled),
        generation(VoteSpec, "judge", REFINER_PROMPTS, teacher, sampled, "drafts"),
        generation(SearchSpec, "refine", REFINER_PROMPTS, config.refining, {}, "judge"),
        _build(config, run),
        _training(config, run, "actor", config.actor),
        _training(config, run, "refiner", config.refiner),
    )


def _build(config: BootstrapConfig, run: Path) -> Stage:
    spec = BootstrapBuildSpec(
        answers=str(run / "answers"),
        judge=str(run / "judge"),
        refine=str(run / "refine"),
        out=str(run / "build"),
        seed=config.seed,
        judgements=config.judgements,
        max_answers=config.max_answers,
        max_refinements=config.max_refinements,
        max_judgements=config.max_judgements,
        min_answers=config.min_answers,
        min_examples=config.min_examples,
        max_answer_tokens=config.teacher.draft.max_tokens,
        llamafactory=config.llamafactory,
    )
    return Stage("build", run, spec)


def _training(config: BootstrapConfig, run: Path, role: Role, settings: Mapping[str, Any]) -> Stage:
    kinds: tuple[ReplyKind, ...] = ("draft",) if role == "actor" else ("vote", "refine")
    values = {
        "chat_template_args": shared_arguments(dict.fromkeys(kinds, config.student), kinds),
        **settings,
        "seed": training_seed(settings, config.seed),
        "model": config.base or str(CHECKPOINT),
        "data": str(run / "build" / f"{role}.jsonl"),
        "out": str(run / role),
    }
    spec = TrainingSpec(
        method_name="sft",
        role=role,
        settings=SftSettings.model_validate(values),
        launch=config.launch,
    )
    return Stage(f"sft-{role}", run, spec)
