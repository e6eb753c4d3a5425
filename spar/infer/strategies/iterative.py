"""Iterative refinement: a chain, each refinement made from the one before; with restarts, several chains."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from spar.infer.strategy import DRAFT_ATTEMPTS, Expand, Plan, SearchConfig, StrategySpec, drafted
from spar.types import Node


class IterativeOptions(BaseModel):
    """`--strategy-arg restart_after=3`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    restart_after: int = Field(default=0, ge=0)
    """Attempts at refining after which a new draft begins a new chain; 0 never leaves the first draft."""


def iterative(
    roots: tuple[Node, ...], config: SearchConfig, options: IterativeOptions = IterativeOptions()
) -> Plan:
    """Refine the newest response until one passes or the budget binds."""
    newest = (yield from drafted(roots))[:1]
    while newest:
        num_tried, chain_end = 0, newest
        while not options.restart_after or num_tried < options.restart_after:
            chain_end = (yield [Expand(chain_end[0].id, 1)]) or chain_end
            num_tried += 1
        newest = yield from drafted(())


def max_drafts(options: IterativeOptions) -> int | None:
    """The first draft and its repetitions; any number where chains begin anew."""
    return None if options.restart_after else DRAFT_ATTEMPTS


SPEC = StrategySpec(iterative, max_drafts=max_drafts, options=IterativeOptions)
