"""Which instructions take constraints, and how the two are joined."""

from __future__ import annotations

import random

import pytest

from spar.evolve.checkable import constraint_types as types
from spar.evolve.checkable.constraint_types import CONSTRAINT_TYPES, Constraint
from spar.evolve.checkable.join import finished, join
from spar.evolve.checkable.seeds import use_of
from tests.evolve.worlds import seed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Write a Python script that sorts names.", "asks for program code or is about it"),
        ("Why does my `for` loop never end?", "asks for program code or is about it"),
        ("Compare both phones in a table.", "asks for a form of its own"),
        ("Describe autumn in one word.", "asks for a form of its own"),
        ("What is 12 * 7?", "has one right answer"),
        ("Translate the following to the language of Rome: good day", "has one right answer"),
        ("Act as a travel guide through Lima.", "plays on rules or roles"),
        ("Explain the tides. " * 50, "longer than 120 words"),
        ("Erzähle über große Städte, möglichst schön.", "not in English"),
        ("Explain this", "shorter than three words"),
        ("My favourite review of the series is this:", "unfinished"),
        ("Describe a red kite in the wind.", ""),
    ],
)
def test_instructions_with_a_form_of_their_own_are_left_out(text: str, reason: str) -> None:
    """Each is counted under what it asks for."""
    assert use_of(seed(text)).skipped == reason


def test_instructions_that_carry_constraints_are_left_out() -> None:
    """Their truth would be lost."""
    carried = seed("Describe a red kite.", instruction_id_list=[types.NO_COMMA], kwargs=[{}])
    assert use_of(carried).skipped == "carries constraints already"


@pytest.mark.parametrize(
    ("text", "excluded", "included"),
    [
        ("Give me five tips for a calm evening.", types.BULLETS, types.NO_COMMA),
        ("Suggest five award-winning nature films.", types.BULLETS, types.NO_COMMA),
        ("Write a short story about a lamp.", types.WORDS, types.TITLE),
        ("Write an email to my landlord about the heating.", types.ENDING, types.HIGHLIGHTS),
        ("Explain how the French came to love cheese.", types.LANGUAGE, types.NO_COMMA),
        ("Describe a red kite in the wind.", types.CONSTRAINED, types.BULLETS),
        ("Describe a bird.\n\nRed kite", types.REPEAT, types.SECTIONS),
    ],
)
def test_an_instruction_excludes_types_that_contradict_it(
    text: str, excluded: str, included: str
) -> None:
    """And takes the others."""
    use = use_of(seed(text))
    assert not use.skipped
    assert excluded not in use.types
    assert included in use.types


@pytest.mark.parametrize(
    ("text", "is_yes_or_no"),
    [
        ("Is a garden worth the work?", True),
        ("My flight is late. Should I complain?", True),
        ("Is tea or coffee better in the morning?", False),
        ("Can you tell me about the tides?", False),
        ("Why is the sea salty?", False),
    ],
)
def test_only_questions_of_yes_or_no_take_such_an_answer(text: str, *, is_yes_or_no: bool) -> None:
    """A question with alternatives, or a request that looks like one, does not."""
    assert (types.CONSTRAINED in use_of(seed(text)).types) == is_yes_or_no


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" describe a red kite ", "describe a red kite."),
        ("what makes bread rise", "what makes bread rise?"),
        ("I bake. how do I make it rise", "I bake. how do I make it rise?"),
        ("Describe it!", "Describe it!"),
        ('Write about "red kites"', 'Write about "red kites".'),
        ('Explain "Who goes there?"', 'Explain "Who goes there?"'),
        ("Describe a bird.\n\nRed kite", "Describe a bird.\n\nRed kite"),
    ],
)
def test_an_instruction_gets_an_end_mark(text: str, expected: str) -> None:
    """A question mark where it asks."""
    assert finished(text) == expected


@pytest.mark.parametrize("text", ["Describe a red kite.", "Describe a bird.\n\nRed kite"])
@pytest.mark.parametrize("count", [1, 3])
def test_joining(text: str, count: int) -> None:
    """The instruction stays whole; what follows a text to work on is set apart; several layouts occur."""
    ids = (types.NO_COMMA, types.TITLE, types.CAPITALS)[:count]
    constraints = [Constraint(each, {}) for each in ids]
    texts = [join(text, constraints, random.Random(number)) for number in range(60)]
    assert all(text in each for each in texts)
    assert len({each.split(text)[0][:12] for each in texts}) > 1
    if "\n" in text:
        assert all(each.endswith(text) or f"{text}\n\n" in each for each in texts)


def test_a_request_to_repeat_comes_last() -> None:
    """So that what is to be repeated is clear; it is the argument as it stands."""
    request = finished("describe a red kite")
    constraints = [
        Constraint(types.NO_COMMA, {}),
        Constraint(types.REPEAT, {"prompt_to_repeat": request}),
    ]
    for number in range(20):
        assert join(request, constraints, random.Random(number)).endswith(f"\n\n{request}")


def test_all_types_are_taken_by_some_instruction() -> None:
    """A plain question of yes or no takes all of them."""
    assert {*use_of(seed("Is a garden worth the work?")).types} == CONSTRAINT_TYPES.keys()
