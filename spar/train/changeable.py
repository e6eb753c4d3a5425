"""Which settings of a loop may change: on resuming, before a stage has run, and over the iterations."""

from __future__ import annotations

from collections.abc import Mapping

from spar.config import FREE as FREE_OF_SEARCHES

WHAT_IS_EVALUATED = ("eval.limit", "eval.total_budget")
"""Settings that may differ in a run, whose answers remain, and not in a loop: its iterations would answer different examples,
or search them for different lengths. `eval.data` may differ, since it is only where the examples are."""
FREE_OF_EARLIER_VERSIONS = (
    *("iterations", "launch", "start_models"),
    *(f"{part}.{name}" for part in ("decode", "eval") for name in FREE_OF_SEARCHES),
    *(f"{part}.{name}" for part in ("dpo", "rft", "sft") for name in ("wandb", "checkpoint_steps")),
)
"""Settings that are not part of the digest by which earlier versions named a loop's folder."""
FREE = tuple(name for name in FREE_OF_EARLIER_VERSIONS if name not in WHAT_IS_EVALUATED)
"""Settings that may differ when a loop is resumed."""

CHANGEABLE = (
    "min_pairs",
    *(f"{part}.max_truncated" for part in ("dpo", "rft", "sft", "backtranslation.backward")),
)
"""Settings with which a stage that refused its data goes on: they may differ too, and belong to a loop's digest all the
same, as in earlier versions."""


def free_settings(*, iterative: bool) -> tuple[str, ...]:
    """`FREE` of a loop: without iterations, their number is that of the prompts, and fixed."""
    return FREE if iterative else tuple(name for name in FREE if name != "iterations")


STAGE_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "prompts": ("checkable",),
    "texts": ("backtranslation",),
    "functions": ("functions",),
    "draft": ("samples", "greedy_draft", "by_iteration", "harder", "references"),
    "judgements": ("judge_pairs", "meta_judge"),
    "search": ("search", "cut_drafts"),
    "build": (
        *("methods", "pairs", "shuffle_labels", "quotas"),
        *("length_control", "max_chosen_characters", "max_judgement_characters", "own_answers"),
        *("answer_score", "min_pairs", "max_pairs", "embedding_model", "restart"),
    ),
    "dpo": ("dpo",),
    "rft": ("rft",),
    "sft": ("sft",),
    "eval": ("eval", "benchmarks", "measure_start"),
}
"""Stage to the settings that no stage before it depends on."""

BY_ITERATION = (
    *(
        "samples",
        "greedy_draft",
        "search",
        "pairs",
        "length_control",
        "max_chosen_characters",
        "cut_drafts",
    ),
    *("judge_pairs", "max_judgement_characters", "methods", "answer_score"),
    *("shuffle_labels", "quotas", "min_pairs", "max_pairs", "dpo", "rft", "sft"),
)
"""Settings that may change over the iterations."""
