"""Writes responses to constraints: solves a set, breaks some of them, repairs a response.

`solve` and `repair` return verified responses. `break_constraints` does not verify: its edits most likely
violate the constraints that it is given.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from spar.nano import draft as edit
from spar.nano.constraint_type import Constraint
from spar.nano.constraints import CONSTRAINT_TYPES
from spar.nano.draft import Draft
from spar.nano.synthetic import SYNTHETIC_TASKS
from spar.own_verifiers import verify

_ROUNDS = 30


def violated(response: str, constraints: Sequence[Constraint]) -> list[Constraint]:
    """Constraints that `response` does not meet, in order."""
    return [c for c in constraints if not verify(response, c.id, c.kwargs)]


def solve(constraints: Sequence[Constraint], rng: random.Random) -> str | None:
    """A response that meets every constraint, None if `_ROUNDS` edits did not lead to one."""
    if constraints[0].id in SYNTHETIC_TASKS:
        return SYNTHETIC_TASKS[constraints[0].id].solve(constraints[0].kwargs, rng)
    draft = edit.random_draft(rng, rng.choice((1, 1, 2)), barred_words(constraints))
    return meet(draft, constraints, rng)


def meet(draft: Draft, constraints: Sequence[Constraint], rng: random.Random) -> str | None:
    """A draft edited until it meets every constraint, None if `_ROUNDS` edits did not lead there."""
    return _edit_until_met(_guard(draft, constraints), constraints, rng)


def repair(response: str, constraints: Sequence[Constraint], rng: random.Random) -> str | None:
    """A small edit of `response` that meets every constraint, None if `_ROUNDS` edits did not lead to one.

    In a response that already meets them all one word is changed, so that a refinement always differs.
    """
    if constraints[0].id in SYNTHETIC_TASKS:
        return SYNTHETIC_TASKS[constraints[0].id].repair(response, constraints[0].kwargs, rng)
    draft = _guard(edit.parse(response), constraints)
    if not draft.sentences:
        return solve(constraints, rng)
    if not violated(response, constraints):
        edit.swap_any(draft, rng)
    return _edit_until_met(draft, constraints, rng)


def break_constraints(
    response: str,
    constraints: Sequence[Constraint],
    broken: Sequence[Constraint],
    rng: random.Random,
) -> str:
    """An edit of `response` that most likely violates the constraints in `broken`."""
    if constraints[0].id in SYNTHETIC_TASKS:
        return SYNTHETIC_TASKS[constraints[0].id].break_(response, constraints[0].kwargs, rng)
    draft = edit.parse(response)
    for constraint in broken:
        CONSTRAINT_TYPES[constraint.id].violate(draft, constraint.kwargs, rng)
    return draft.render()


def barred_words(constraints: Sequence[Constraint]) -> frozenset[str]:
    """Words that a draft must not introduce by chance."""
    barred: set[str] = set()
    for constraint in constraints:
        barred |= set(constraint.kwargs.get("forbidden_words", ()))
        if constraint.kwargs.get("relation") == "less than" and "keyword" in constraint.kwargs:
            barred.add(constraint.kwargs["keyword"])
    return frozenset(barred)


def _guard(draft: Draft, constraints: Sequence[Constraint]) -> Draft:
    protected: set[str] = set()
    for constraint in constraints:
        protected |= set(constraint.kwargs.get("keywords", ()))
        if constraint.kwargs.get("relation") == "at least" and "keyword" in constraint.kwargs:
            protected.add(constraint.kwargs["keyword"])
        if "first_word" in constraint.kwargs:
            protected.add(constraint.kwargs["first_word"])
    draft.protected, draft.barred = frozenset(protected), barred_words(constraints)
    return draft


def _edit_until_met(
    draft: Draft, constraints: Sequence[Constraint], rng: random.Random
) -> str | None:
    for _ in range(_ROUNDS):
        text = draft.render()
        failing = violated(text, constraints)
        if not failing:
            return text
        constraint = rng.choice(failing)
        CONSTRAINT_TYPES[constraint.id].achieve(draft, constraint.kwargs, rng)
        if not draft.sentences:
            return None
    return None
