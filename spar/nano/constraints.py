"""The constraint types of nano-if that are combined with each other, and how prompts draw them.

A constraint is an id and its keyword arguments, as in IFEval.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from spar.nano import kinds_form, kinds_keyword, kinds_length
from spar.nano.kind import Constraint, Kind
from spar.nano.lexicon import KEYWORDS

_ALL = (*kinds_length.KINDS, *kinds_keyword.KINDS, *kinds_form.KINDS)

KINDS: Mapping[str, Kind] = {kind.id: kind for kind in _ALL}
"""Constraint type to its kind. The synthetic tasks of `synthetic.py` are not combined with these."""


def sample_constraints(rng: random.Random, count: int) -> tuple[Constraint, ...]:
    """Draw `count` constraints, no two of one group, keywords all distinct."""
    free = rng.sample(KEYWORDS, len(KEYWORDS))
    chosen: list[Kind] = []
    for kind in rng.sample(_ALL, len(_ALL)):
        if len(chosen) < count and not (kind.group and kind.group in {k.group for k in chosen}):
            chosen.append(kind)
    return tuple(Constraint(kind.id, kind.sample(rng, free)) for kind in chosen)
