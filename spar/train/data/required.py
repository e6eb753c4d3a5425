"""What a build must have found, so that no training starts on too little: each a `UsageError` with numbers, reasons and the next step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spar.errors import UsageError
from spar.record.training_data import Answer, Pairing, RefinerExample
from spar.train.data.scan import BuildSettings, Scan, runs_of_pairs

_FAILING_AND_PASSING = "have a passing and a failing draft"
_PAIR_DRAFTS: Mapping[Pairing, str] = {
    "independent": _FAILING_AND_PASSING,
    "both": _FAILING_AND_PASSING,
    "best_worst": "have two drafts of different scores",
    "pass_rate": "have a passing draft and one with a score of 0",
    "reference": "have a reply of their own and another draft",
}
"""What the trees of drafts have that make a pair."""


def require_pairs(scan: Scan, settings: BuildSettings) -> None:
    """Refuse fewer pairs than `min_pairs`, where an actor learns from them."""
    runs = runs_of_pairs(settings)
    if runs and (settings.max_pairs or settings.min_pairs) < settings.min_pairs:
        raise UsageError(
            f"at most {settings.max_pairs} pairs are to be drawn, and {settings.min_pairs} are required; raise max_pairs, or lower min_pairs"
        )
    if not runs or len(scan.pairs) >= settings.min_pairs:
        return
    reasons = []
    for run in runs:
        num_pairs = sum(of_run == run for of_run, _ in scan.pairs)
        directory = settings.search if run == "search" else settings.drafts
        has = (
            _PAIR_DRAFTS[settings.pairs]
            if run == "drafts"
            else "turned a failing draft into a passing refinement"
        )
        reasons.append(f"{directory}: {num_pairs} of {scan.trees[run]} trees {has}")
    raise UsageError(
        f"{', '.join(reasons)}, and {settings.min_pairs} are required; run more prompts, or lower min_pairs",
        change=_fewer(len(scan.pairs)),
    )


def require_answers(answers: Sequence[Answer], scan: Scan, settings: BuildSettings) -> None:
    """Refuse fewer answers than `min_pairs`, where an actor learns them."""
    if "sft" not in settings.methods or len(answers) >= settings.min_pairs:
        return
    least = settings.answer_score
    passes = "passes" if least is None else f"has a score of {least:g} or more"
    passes += "" if settings.cut_drafts else " and was not cut"
    raise UsageError(
        f"{settings.drafts}: {len(answers)} of {scan.trees['drafts']} prompts have a draft that {passes}, and {settings.min_pairs} are "
        "required; run more prompts, or lower min_pairs" + (" or answer_score" if least else ""),
        change=_fewer(len(answers)),
    )


def require_examples(
    examples: Sequence[RefinerExample | Answer], scan: Scan, settings: BuildSettings
) -> None:
    """Refuse a refiner's training without an example, before the trainings that come first."""
    if not settings.is_trained or "rft" not in settings.methods or examples:
        return
    judged = sum(len(votes.scores) for votes in scan.votes.values())
    split = sum(votes.split for votes in scan.votes.values())
    others = [name for name in settings.methods if name != "rft"]
    raise UsageError(
        f"the refiner has no example to learn: none of {scan.trees['search']} searches turned a failing draft into a passing "
        f"refinement, and of {judged} judgements {split} are split, of which it learns as many Yes as No; run more prompts or "
        f"samples, or leave its training out{' (methods)' if others else ''}",
        change=f"methods=[{','.join(others)}]" if others else "",
    )


def _fewer(number: int) -> str:
    """The setting with which a loop goes on with as many pairs as there are; "" where there is none."""
    return f"min_pairs={number}" if number else ""
