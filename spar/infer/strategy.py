"""What a strategy is: a pure generator that asks for waves of children and is sent back the judged ones.

A strategy never sees an engine, a budget, an await or a text template. It may ask for as much as it
likes: the driver clips each wave to the budget, stops it once a node passes, and sends back only the
children that exist and were judged.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from spar.types import Node

DRAFT_ATTEMPTS = 3
"""Drafts that a refining strategy tries before it gives the prompt up."""
UNLIMITED = sys.maxsize
"""As many children as the budget allows."""


@dataclass(frozen=True, slots=True)
class Expand:
    """Ask for `n` children of a node: refinements of it, or drafts where `parent` is None."""

    parent: int | None
    n: int
    judged: bool = True
    """Whether the children are judged; an unjudged child never passes."""


Plan = Generator[Sequence[Expand], tuple[Node, ...], None]
"""Yields waves; is sent the wave's judged children in order; returning means nothing is left to try."""


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """The shape of a search, as strategies see it."""

    branch: int = 3
    """Refinements of each expanded node (paper: 3)."""
    keep: int = 2
    """Children of a level that are expanded further (paper: 2)."""
    depth: int = 3
    """Levels of refinement below a root (paper: 3)."""


class Strategy(Protocol):
    """A function from given roots (may be none) and the search's shape to a plan."""

    def __call__(self, roots: tuple[Node, ...], config: SearchConfig) -> Plan: ...


def drafted(
    roots: tuple[Node, ...],
) -> Generator[Sequence[Expand], tuple[Node, ...], tuple[Node, ...]]:
    """The given roots, or else one fresh draft; a draft that cannot be judged is tried again.

    Empty after `DRAFT_ATTEMPTS` drafts without a judgement: a prompt that does not fit, say.
    """
    for _ in range(DRAFT_ATTEMPTS):
        if roots:
            break
        roots = yield [Expand(None, 1)]
    return roots
