"""Beam search with fresh drafts mixed in: a bad first draft is left, which breadth-first search cannot do.

Each wave refines the nodes of the beam `branching` times and makes new drafts beside them; the best `beam_width` of the
whole wave are the next beam. A node at the depth limit is refined no further.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from spar.infer.rank import ranked
from spar.infer.strategy import Expand, Plan, SearchConfig, StrategySpec, drafted
from spar.types import Node


class BeamOptions(BaseModel):
    """`--strategy-arg drafts=2`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    drafts: int = Field(default=1, ge=1)
    """New drafts of each wave after the first."""


def beam(
    roots: tuple[Node, ...], config: SearchConfig, options: BeamOptions = BeamOptions()
) -> Plan:
    """Refine the beam and draft anew, until one passes or the budget binds."""
    frontier = yield from drafted(roots)
    while True:
        refinable = [node for node in frontier if node.depth < config.depth]
        wave = [Expand(node.id, config.branching) for node in refinable]
        children = yield [*wave, Expand(None, options.drafts)]
        frontier = tuple(ranked(children)[: config.beam_width])


SPEC = StrategySpec(beam, options=BeamOptions)
