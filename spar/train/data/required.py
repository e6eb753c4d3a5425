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
    runs, least, num_pairs = runs_of_pairs(settings), settings.min_pairs, len(scan.pairs)
    if runs and (settings.max_pairs or least) < least:
        raise UsageError(
            f"at most {settings.max_pairs} pairs are to be drawn, and {least} are required; raise "
            f"{_shown('max_pairs', settings)}, or lower {_shown('min_pairs', settings)}"
        )
    if not runs or num_pairs >= least:
        return
    reasons = []
    for run in runs:
        of_run = sum(each == run for each, _ in scan.pairs)
        directory = settings.search if run == "search" else settings.drafts
        has = (
            _PAIR_DRAFTS[settings.pairs]
            if run == "drafts"
            else "turned a failing draft into a passing refinement"
        )
        counted = f"{of_run} of {scan.trees[run]} trees {has}"
        none = run == "search" and not scan.trees[run]
        reasons.append(f"{directory}: {_why_no_search(scan, settings) if none else counted}")
    raise UsageError(
        f"{', '.join(reasons)}, and {least} are required; {_advice(num_pairs, settings)}",
        change=_fewer(num_pairs),
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
        f"required; {_advice(len(answers), settings)}"
        + (", or lower answer_score" if least else ""),
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


def _why_no_search(scan: Scan, settings: BuildSettings) -> str:
    """Why there is no search, by the drafts that could have begun one."""
    drafts = scan.drafts
    num_failing = drafts.passed.count(False)
    if not drafts.words:
        return "no search is in it"
    if not drafts.passed:
        return f"nothing was searched, since no judgement of {len(drafts.words)} drafts can be read"
    if not num_failing:
        return f"nothing was searched, since all {len(drafts.passed)} judged drafts pass"
    failing = f"{num_failing} of {len(drafts.passed)} judged drafts fail"
    if settings.cut_drafts:
        return f"nothing was searched, though {failing}"
    return f"nothing was searched: {failing}, and all of these ended at their token limit, which cut_drafts=false leaves out"


def _advice(number: int, settings: BuildSettings) -> str:
    """What to do about too few; a lower minimum where there is something to learn from."""
    lower = f", or lower {_shown('min_pairs', settings)} to {number} or less" if number else ""
    return f"run more prompts{lower}"


def _shown(name: str, settings: BuildSettings) -> str:
    """A setting as its caller names it: of a stage by the recipe, else the flag of the command."""
    return name if settings.is_trained else f"--{name.replace('_', '-')}"


def _fewer(number: int) -> str:
    """The setting with which a loop goes on with as many pairs as there are; "" where there is none."""
    return f"min_pairs={number}" if number else ""
