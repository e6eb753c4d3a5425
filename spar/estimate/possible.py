"""Refuses a loop or a bootstrap that cannot end: one whose prompts give fewer examples than are required, whatever the models write.

10 prompts give at most 10 pairs, and min_pairs is 32: give more prompts, or lower the minimum by --set min_pairs=N, where N is 10 or less

The bounds are those of the estimate, so nothing is refused that may succeed. What a build has found is held against the
same minimum once it is known (`spar.train.data.required`).
"""

from __future__ import annotations

from collections.abc import Sequence

from spar.errors import UsageError
from spar.estimate.bootstrap import PromptCounts, most_examples
from spar.estimate.stage_counts import most_pairs
from spar.files import count_lines
from spar.record.training import PROMPTS
from spar.rows.read import read_texts
from spar.train.bootstrap.recipe import BootstrapConfig
from spar.train.bootstrap.stages import ACTOR_PROMPTS, REFINER_PROMPTS
from spar.train.data.backtranslation import TEXT
from spar.train.loop import setting_key
from spar.train.recipe import TrainConfig
from spar.train.specs import BootstrapBuildSpec, BuildSpec
from spar.train.stage import Stage


def check_pairs_possible(
    config: TrainConfig, stages: Sequence[Stage], num_prompts: int | None
) -> None:
    """Refuse a loop in which a build cannot have `min_pairs` pairs, or answers.

    Parameters
    ----------
    stages:
        Those that will run.
    num_prompts:
        Prompts of the file, or that the loop makes; None where their number is not limited.

    Raises
    ------
    UsageError
        With both numbers, and what to change.
    """
    for stage in stages:
        if isinstance(stage.spec, BuildSpec):
            _check_build(config, stage, num_prompts)


def check_examples_possible(
    config: BootstrapConfig, stages: Sequence[Stage], counts: PromptCounts
) -> None:
    """Refuse a bootstrap whose build cannot have `min_answers` and `min_examples`; parameters and errors as for a loop."""
    for stage in stages:
        if not isinstance(stage.spec, BootstrapBuildSpec):
            continue
        actor, refiner = (
            max(number, count_lines(stage.home / name))
            for number, name in ((counts.actor, ACTOR_PROMPTS), (counts.refiner, REFINER_PROMPTS))
        )
        most = most_examples(config, PromptCounts(actor, refiner))
        limits = ("max_answers", most.actor), ("max_refinements and max_judgements", most.refiner)
        for name, role, (limit, number) in zip(
            ("answers", "examples"), ("actor", "refiner"), limits, strict=True
        ):
            least = getattr(config, f"min_{name}")
            if number < least:
                raise UsageError(
                    f"the {role} has at most {number:,} examples, and min_{name} is {least:,}: give more prompts, raise {limit}, or "
                    f"lower the minimum by --set min_{name}=N, where N is {number:,} or less"
                )


def _check_build(loop: TrainConfig, stage: Stage, num_prompts: int | None) -> None:
    config = loop.of_iteration(stage.iteration)
    is_sft, least = "sft" in config.methods, config.min_pairs
    if not is_sft and "dpo" not in config.methods:
        return
    if not is_sft and (config.max_pairs or least) < least:
        raise UsageError(
            f"max_pairs is {config.max_pairs}, and min_pairs {least}: no iteration can have both; raise max_pairs, or lower "
            "min_pairs"
        )
    known = _num_texts(loop) if loop.backtranslation is not None else num_prompts
    at_once = loop.prompts_at_once if loop.backtranslation is None else loop.prompts_per_iteration
    # Prompts that an earlier start has written are used again, however many there are now.
    prompts = max(min(at_once, known or at_once), count_lines(stage.home / PROMPTS))
    most = prompts if is_sft else most_pairs(config, prompts)
    if most >= least:
        return
    if not most:
        raise UsageError(
            f"pairs={config.pairs} takes two drafts of a prompt, and samples is {config.samples}, so there can be no pair; "
            "set samples to 2 or more, or choose other pairs"
        )
    more = (
        "give more prompts"
        if known is not None and known <= at_once
        else "raise prompts_per_iteration"
    )
    lower = f"lower min_pairs in by_iteration to {most:,} or less"
    if setting_key(loop, stage, "min_pairs"):
        lower = f"lower the minimum by --set min_pairs=N, where N is {most:,} or less"
    raise UsageError(
        f"{prompts:,} prompt{'s' * (prompts != 1)} give{'s' * (prompts == 1)} at most {most:,} "
        f"{'answer' if is_sft else 'pair'}{'s' * (most != 1)}, and min_pairs is {least:,}: {more}, or {lower}"
    )


def _num_texts(config: TrainConfig) -> int | None:
    """Texts of the file whose instructions a backward model writes; None where a program writes them."""
    settings = config.backtranslation
    if settings is None or not settings.texts:
        return None
    return sum(1 for _ in read_texts(settings.texts, TEXT))
