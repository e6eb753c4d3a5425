"""The constraint types that nano-if combines in one prompt, and how a prompt draws them."""

from __future__ import annotations

import random
from collections.abc import Mapping

from spar.nano import form_constraints, keyword_constraints, length_constraints
from spar.nano.constraint_type import Constraint, ConstraintType
from spar.nano.lexicon import KEYWORDS

_ALL = (
    *length_constraints.CONSTRAINT_TYPES,
    *keyword_constraints.CONSTRAINT_TYPES,
    *form_constraints.CONSTRAINT_TYPES,
)

CONSTRAINT_TYPES: Mapping[str, ConstraintType] = {each.id: each for each in _ALL}
"""Id to constraint type. The tasks in `synthetic.py` are not combined with these."""


def sample_constraints(rng: random.Random, count: int) -> tuple[Constraint, ...]:
    """Draw `count` constraints, no two of one group, keywords all distinct."""
    free = rng.sample(KEYWORDS, len(KEYWORDS))
    chosen: list[ConstraintType] = []
    for candidate in rng.sample(_ALL, len(_ALL)):
        groups = {constraint_type.group for constraint_type in chosen}
        if len(chosen) < count and not (candidate.group and candidate.group in groups):
            chosen.append(candidate)
    return tuple(Constraint(drawn.id, drawn.sample(rng, free)) for drawn in chosen)
