"""The table of conflicts, and the arithmetic between constraints."""

from __future__ import annotations

import itertools

import pytest

from spar.evolve.checkable import constraint_types as types
from spar.evolve.checkable.conflicts import CONFLICTS, compatible, objection
from spar.evolve.checkable.constraint_types import CONSTRAINT_TYPES, Constraint
from spar.evolve.checkable.wordings import WORDINGS, places_of_all
from spar.ifeval_verifiers import IFEVAL_TYPES

GOES_TOGETHER = {
    # IFEval's generator keeps these apart; their arguments are compared here instead.
    frozenset({types.PARAGRAPHS, types.SENTENCES}),
    # IFEval says "highlighted sections"; our wordings say passages and phrases.
    frozenset({types.SECTIONS, types.HIGHLIGHTS}),
    frozenset({types.JSON, types.FREQUENCY}),
    frozenset({types.JSON, types.WORDS}),
    frozenset({types.TWO, types.CAPITALS}),
    frozenset({types.TWO, types.LOWER_CASE}),
    *(
        frozenset({types.REPEAT, each})
        for each in (
            *(types.FORBIDDEN, types.POSTSCRIPT, types.ENDING, types.BULLETS),
            *(types.PLACEHOLDERS, types.HIGHLIGHTS, types.SECTIONS),
        )
    ),
}
"""Pairs that IFEval's own table excludes and ours does not."""


def test_the_table_has_every_type_and_both_directions() -> None:
    """Each type excludes itself, and is excluded by what it excludes."""
    assert CONFLICTS.keys() == CONSTRAINT_TYPES.keys() == IFEVAL_TYPES
    for each, others in CONFLICTS.items():
        assert each in others
        assert all(each in CONFLICTS[other] for other in others)


def test_types_that_claim_one_place_exclude_each_other() -> None:
    """Where every wording of both claims the start, or the end, there is none that leaves it to the other."""
    assert types.ENDING in CONFLICTS[types.POSTSCRIPT]
    assert types.REPEAT in CONFLICTS[types.FIRST_WORD]
    for chosen, others in CONFLICTS.items():
        for other in CONSTRAINT_TYPES.keys() - others:
            for own, theirs in itertools.product(wordings(chosen), wordings(other)):
                assert not places_of_all(own) & places_of_all(theirs)


@pytest.mark.evalharness
def test_the_table_has_ifevals_conflicts() -> None:
    """But for the pairs that are named here."""
    registry = pytest.importorskip("lm_eval.tasks.ifeval.instructions_registry")
    theirs = registry.conflict_make({k: {*v} for k, v in registry.INSTRUCTION_CONFLICTS.items()})
    missing = {
        frozenset({a, b}) for a, others in theirs.items() for b in others if b not in CONFLICTS[a]
    }
    assert missing == GOES_TOGETHER


def test_compatible_types_go_with_all_chosen_ones() -> None:
    """With JSON and a keyword, only JSON's few companions remain."""
    remaining = compatible([types.JSON, types.EXISTENCE], CONSTRAINT_TYPES)
    assert {*remaining} == {types.FREQUENCY, types.FORBIDDEN, types.WORDS}
    assert compatible([types.CONSTRAINED], CONSTRAINT_TYPES) == []


def wordings(type_: str) -> list[tuple[str, ...]]:
    """The wordings of a type, for each relation."""
    return [templates for (each, _), templates in WORDINGS.items() if each == type_]


def words(relation: str, number: int) -> Constraint:
    """A bound on words."""
    return Constraint(types.WORDS, {"relation": relation, "num_words": number})


def sentences(relation: str, number: int) -> Constraint:
    """A bound on sentences."""
    return Constraint(types.SENTENCES, {"relation": relation, "num_sentences": number})


@pytest.mark.parametrize(
    ("constraints", "why"),
    [
        (
            [words("less than", 40), Constraint(types.SECTIONS, {"num_sections": 3})],
            "too few words",
        ),
        ([words("less than", 60), sentences("at least", 10)], "too few words"),
        (
            [sentences("less than", 3), Constraint(types.BULLETS, {"num_bullets": 6})],
            "too few sent",
        ),
        ([words("at least", 300), sentences("less than", 4)], "too many words"),
        (
            [Constraint(types.REPEAT, {}), Constraint(types.NO_COMMA, {})],
            "the request to repeat has commas",
        ),
        (
            [
                Constraint(types.REPEAT, {}),
                Constraint(types.FORBIDDEN, {"forbidden_words": ["kite"]}),
            ],
            "the request to repeat has a forbidden word",
        ),
        ([words("at least", 100), sentences("less than", 10)], ""),
        ([words("less than", 200), Constraint(types.SECTIONS, {"num_sections": 3})], ""),
    ],
)
def test_objections(constraints: list[Constraint], why: str) -> None:
    """Bounds that leave no room for each other are refused, others are not."""
    reason = objection(constraints, "Describe a red kite, please.")
    assert reason.startswith(why) if why else not reason
