"""The health of a training loop as a table of texts, and the signs of a sick one in words. Pure.

iteration  score  tied  words  usable  judge passes  true  judge right  chosen  rejected
1          0.61   12 %  11.2   40 %    61 %          48 %  74 %          -2.1    -9.8
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from spar.record.health import IterationHealth

MORE_OPTIMISM, MORE_WORDS, MOST_TIED, LEAST_USABLE = 0.1, 1.5, 0.8, 0.1
"""When a sign is said: ten points more optimism than at first, half as many words again as at first, ties of four prompts in
five, nothing to learn from nine prompts in ten."""


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _of_drafts(health: IterationHealth, name: str) -> float | None:
    """A field of the statistics of an iteration's drafts."""
    value: float | None = getattr(health.drafts, name, None)
    return value


def _change(health: IterationHealth, side: str) -> str:
    change = health.log_probabilities.get(side)
    return "-" if change is None else f"{change.change:+.1f}"


COLUMNS: Mapping[str, tuple[Callable[[IterationHealth], str], str]] = {
    "iteration": (lambda each: str(each.iteration), ""),
    "score": (
        lambda each: _number(_of_drafts(each, "mean_score"), ".2f"),
        "mean score of the drafts, by the judge",
    ),
    "tied": (
        lambda each: _percent(each.tied_share),
        "share of prompts whose drafts have one score",
    ),
    "words": (
        lambda each: _number(_of_drafts(each, "mean_words"), ".1f"),
        "mean words of a draft",
    ),
    "usable": (
        lambda each: _percent(each.usable_share),
        "share of prompts that something is learnt from",
    ),
    "judge passes": (
        lambda each: _percent(_of_drafts(each, "passed_share")),
        "share of drafts that the judge passes",
    ),
    "true": (
        lambda each: _percent(_of_drafts(each, "true_share")),
        "share of drafts that pass by programs",
    ),
    "judge right": (
        lambda each: _percent(_of_drafts(each, "right_share")),
        "share of drafts on which judge and programs agree",
    ),
    "chosen": (
        lambda each: _change(each, "chosen"),
        "how far the log-probability of chosen sides rose in the training",
    ),
    "rejected": (lambda each: _change(each, "rejected"), "the same of rejected sides"),
}
"""Heading to the text of an iteration, and what it means."""


def rows(healths: Sequence[IterationHealth]) -> list[tuple[str, ...]]:
    """The texts under each heading of `COLUMNS`, a row an iteration."""
    return [tuple(text(each) for text, _ in COLUMNS.values()) for each in healths]


def signs(healths: Sequence[IterationHealth]) -> list[str]:
    """What looks sick, a line each; [] where nothing does."""
    return [
        f"iteration {each.iteration}: {sign}" for each in healths for sign in _signs(each, healths)
    ]


def _signs(health: IterationHealth, healths: Sequence[IterationHealth]) -> Iterator[str]:
    first, drafts = healths[0], health.drafts
    if drafts is not None:
        yield from _signs_of_drafts(health, first)
        tied, usable = health.tied_share, health.usable_share
        if tied is not None and tied > MOST_TIED:
            yield f"the drafts of {drafts.tied:,} of {drafts.prompts:,} prompts have one score, so the judge tells little apart"
        if usable is not None and usable < LEAST_USABLE:
            yield f"only {drafts.usable:,} of {drafts.prompts:,} prompts give something to learn from"
    sides = health.log_probabilities
    if {"chosen", "rejected"} <= sides.keys():
        chosen, apart = sides["chosen"].change, sides["chosen"].change - sides["rejected"].change
        if chosen < 0 and apart < -chosen:
            yield (
                f"the log-probability of chosen sides fell by {-chosen:.1f}, further than the sides moved apart "
                f"({apart:.1f}): the model unlearns both"
            )


def _signs_of_drafts(health: IterationHealth, first: IterationHealth) -> Iterator[str]:
    """What changed since the first iteration."""
    now, before = health.drafts, first.drafts
    if now is None or before is None:
        return
    since = f"since iteration {first.iteration}"
    if health.optimism is not None and first.optimism is not None:
        more = health.optimism - first.optimism
        if more > MORE_OPTIMISM:
            yield (
                f"the judge passes {_percent(now.passed_share)} of the drafts and programs {_percent(now.true_share)}: it is "
                f"{100 * more:.0f} points more optimistic {since}"
            )
    if now.mean_words and before.mean_words and now.mean_words > MORE_WORDS * before.mean_words:
        yield f"drafts grew from {before.mean_words:.0f} to {now.mean_words:.0f} words {since}"
