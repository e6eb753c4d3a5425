"""The health of a training loop as a table of texts, and the signs of a sick one in words. Pure.

iteration  score  tied  words  usable  judge passes  true  judge right  chosen  rejected
1          0.61   12 %  11.2   40 %    61 %          48 %  74 %          -2.1    -9.8
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from spar.record.health import MEASURES, IterationHealth, Measure

MORE_OPTIMISM, MORE_WORDS, MOST_TIED, LEAST_USABLE = 0.1, 1.5, 0.8, 0.1
"""When a sign is said: ten points more optimism than at first, half as many words again as at first, ties of four prompts in
five, nothing to learn from nine prompts in ten."""


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


_SHOWN: Mapping[str, Callable[[float], str]] = {
    "share": _percent,
    "score": "{:.2f}".format,
    "words": "{:.1f}".format,
    "nats": "{:+.1f}".format,
}
"""Unit of a measure to its text."""


def _text(measure: Measure, health: IterationHealth) -> str:
    value = measure.of(health)
    return "-" if value is None else _SHOWN[measure.unit](value)


COLUMNS: Mapping[str, tuple[Callable[[IterationHealth], str], str]] = {
    "iteration": (lambda each: str(each.iteration), ""),
    **{name: (partial(_text, measure), measure.meaning) for name, measure in MEASURES.items()},
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
        passes, true = (_text(MEASURES[name], health) for name in ("judge passes", "true"))
        if more > MORE_OPTIMISM:
            yield (
                f"the judge passes {passes} of the drafts and programs {true}: it is "
                f"{100 * more:.0f} points more optimistic {since}"
            )
    if now.mean_words and before.mean_words and now.mean_words > MORE_WORDS * before.mean_words:
        yield f"drafts grew from {before.mean_words:.0f} to {now.mean_words:.0f} words {since}"
