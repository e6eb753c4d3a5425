"""Several runs on the same prompts against the first, by the statistics of `spar eval compare`.

    standings([[True, False, True], [True, True, True]])

The change of each run has a paired bootstrap interval and the p of McNemar's exact test. Where several runs are
compared with the first, p is adjusted by Holm's method, which keeps the chance of any false finding below the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spar.eval.compare import holm, mcnemar
from spar.eval.statistics import differences
from spar.record.evaluation import Example, Scored
from spar.record.standing import PairedChange, Standing


def standings(passes: Sequence[Sequence[bool]]) -> tuple[Standing, ...]:
    """How runs stand; for each run, whether it passes each of the same prompts."""
    first, *others = passes
    changes = [_change(first, other) for other in others] if first else []
    if len(changes) > 1:
        adjusted = holm([change.p for change in changes])
        changes = [replace(c, adjusted_p=p) for c, p in zip(changes, adjusted, strict=True)]
    known: list[PairedChange | None] = [None, *changes] if first else [None] * len(passes)
    return tuple(
        Standing(sum(run), len(run), change) for run, change in zip(passes, known, strict=True)
    )


def _change(first: Sequence[bool], second: Sequence[bool]) -> PairedChange:
    change = differences(_scored(first), _scored(second))["pass"]
    pairs = list(zip(first, second, strict=True))
    gained, lost = pairs.count((False, True)), pairs.count((True, False))
    return PairedChange(change.value, change.low, change.high, gained, lost, mcnemar(gained, lost))


def _scored(passes: Sequence[bool]) -> Scored:
    return Scored(
        examples=tuple(
            Example(id=str(number), response=None, passed=each, scores={"pass": (each, 1)})
            for number, each in enumerate(passes)
        )
    )
