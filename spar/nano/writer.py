"""Write responses to order: solve a set of constraints, break some of them, mend what is broken.

Everything returned by `solve` and `mend` is checked by the verifiers; `break_some` returns whatever
its edits give, so the caller asks the verifiers what is wrong with it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from spar.nano import draft as edit
from spar.nano.constraints import KINDS
from spar.nano.draft import Draft
from spar.nano.kind import Constraint
from spar.nano.synthetic import SYNTHETIC
from spar.verifiers import verify

_ROUNDS = 30


def unmet(response: str, constraints: Sequence[Constraint]) -> list[Constraint]:
    """Constraints that `response` does not meet, in order."""
    return [c for c in constraints if not verify(response, c.id, c.kwargs)]


def solve(constraints: Sequence[Constraint], rng: random.Random) -> str | None:
    """A response that meets every constraint, None where none was found in reasonable time."""
    if constraints[0].id in SYNTHETIC:
        return SYNTHETIC[constraints[0].id].solve(constraints[0].kwargs, rng)
    draft = edit.random_draft(rng, rng.choice((1, 1, 2)), barred_words(constraints))
    return _repair(_guard(draft, constraints), constraints, rng)


def mend(response: str, constraints: Sequence[Constraint], rng: random.Random) -> str | None:
    """A small edit of `response` that meets every constraint, None where none was found.

    A response that already meets them all gets one word changed, so that a refinement always differs.
    """
    if constraints[0].id in SYNTHETIC:
        return SYNTHETIC[constraints[0].id].mend(response, constraints[0].kwargs, rng)
    draft = _guard(edit.parse(response), constraints)
    if not draft.sentences:
        return solve(constraints, rng)
    if not unmet(response, constraints):
        edit.swap_any(draft, rng)
    return _repair(draft, constraints, rng)


def break_some(
    response: str,
    constraints: Sequence[Constraint],
    broken: Sequence[Constraint],
    rng: random.Random,
) -> str:
    """An edit of `response` that most likely fails the constraints in `broken`."""
    if constraints[0].id in SYNTHETIC:
        return SYNTHETIC[constraints[0].id].break_(response, constraints[0].kwargs, rng)
    draft = edit.parse(response)
    for constraint in broken:
        KINDS[constraint.id].violate(draft, constraint.kwargs, rng)
    return draft.render()


def barred_words(constraints: Sequence[Constraint]) -> frozenset[str]:
    """Words that a draft should not bring in by chance."""
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


def _repair(draft: Draft, constraints: Sequence[Constraint], rng: random.Random) -> str | None:
    for _ in range(_ROUNDS):
        text = draft.render()
        wrong = unmet(text, constraints)
        if not wrong:
            return text
        constraint = rng.choice(wrong)
        KINDS[constraint.id].achieve(draft, constraint.kwargs, rng)
        if not draft.sentences:
            return None
    return None
