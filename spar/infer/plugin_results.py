"""What a judge, an actor and a refiner gave back, held against their protocols: they may be anybody's."""

from __future__ import annotations

from collections.abc import Iterator

from spar.errors import UsageError
from spar.types import Judgement


def require_shares(judgement: Judgement) -> None:
    """Raise `UsageError` for a probability or a share that is none: strategies sort, add up and draw by them."""
    for name, value in _shares(judgement):
        if value is not None and not 0 <= value <= 1:  # nor is NaN
            raise UsageError(f"a judge returned {name} {value!r}; expected a number from 0 to 1")


def _shares(judgement: Judgement) -> Iterator[tuple[str, float | None]]:
    yield "the probability", judgement.probability
    for value in judgement.probabilities:
        yield "a vote's probability", value
    for finding in judgement.findings:
        yield f"of {finding.constraint!r} the share", finding.share
