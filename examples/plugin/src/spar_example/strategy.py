"""A beam search that begins with several drafts."""

from __future__ import annotations

from pydantic import BaseModel, Field

import spar


class BeamOptions(BaseModel):
    """`--strategy-arg drafts=4 --strategy-arg width=2`."""

    drafts: int = Field(default=4, ge=1)
    """Drafts at the start."""
    width: int = Field(default=2, ge=1)
    """Nodes of a level that are refined."""


def beam(
    roots: tuple[spar.Node, ...], config: spar.SearchConfig, options: BeamOptions
) -> spar.Plan:
    """Keep the best nodes of each level, and refine each of them twice."""
    frontier = roots or (yield [spar.Expand(None, options.drafts)])
    for _ in range(config.depth):
        ranked = sorted(frontier, key=lambda node: -node.judgement.score if node.judgement else 0.0)
        if not ranked:
            return
        frontier = yield [spar.Expand(node.id, 2) for node in ranked[: options.width]]


BEAM = spar.StrategySpec(beam, options=BeamOptions)
