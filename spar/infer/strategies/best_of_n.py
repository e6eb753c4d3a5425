"""Best-of-N: independent drafts, the best one answers; all at once, or in waves that grow until one passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict

from spar.infer.strategy import UNLIMITED, Expand, Plan, SearchConfig, StrategySpec
from spar.types import Node


class BestOfNOptions(BaseModel):
    """`--strategy-arg waves=growing`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    waves: Literal["all", "growing"] = "all"
    """`all` drafts the whole budget at once, whatever passes, so the best of N is chosen (the papers' best-of-N, and
    what runs without this option did). `growing` drafts 1, 1, 2, 4, 8 ... and stops at the first wave that passes."""


def best_of_n(
    roots: tuple[Node, ...], config: SearchConfig, options: BestOfNOptions = BestOfNOptions()
) -> Plan:
    """Sample N independent drafts, where N is the budget."""
    sizes = _growing() if options.waves == "growing" else iter([UNLIMITED])
    for size in sizes:
        yield [Expand(None, size)]


def _growing() -> Iterator[int]:
    """Each wave doubles the number of drafts."""
    total = 0
    while True:
        size = max(1, total)
        yield size
        total += size


SPEC = StrategySpec(best_of_n, roles=frozenset({"actor", "judge"}), options=BestOfNOptions)
