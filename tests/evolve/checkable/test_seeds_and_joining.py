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


FIXED_TEXT = {types.ENDING, types.FIRST_WORD, types.REPEAT, types.SECTIONS, types.LANGUAGE}
LENGTHS = {types.WORDS, types.SENTENCES, types.PARAGRAPHS, types.TWO, types.BULLETS, types.JSON}
CASES = {types.CAPITALS, types.LOWER_CASE, types.CAPITAL_WORDS}
IN_A_LANGUAGE = {*FIXED_TEXT, *CASES, types.EXISTENCE, types.FORBIDDEN} - {types.REPEAT}


@pytest.mark.parametrize(
    ("text", "excluded"),
    [
        (
            "Write a product description of a leather bag in under 200 characters.",
            LENGTHS | {types.TITLE, types.POSTSCRIPT, types.PLACEHOLDERS, types.LETTER},
        ),
        (
            "Write a story about a dragon that ends with 'and they lived happily ever after'.",
            FIXED_TEXT | {types.POSTSCRIPT, types.QUOTATION, types.CAPITALS, types.FORBIDDEN},
        ),
        ("Begin a story about a dragon with 'Once upon a time'.", {*FIXED_TEXT, types.TITLE}),
        ("Write an essay about winter in Ukrainian.", IN_A_LANGUAGE),
        ("Write an essay about winter in French.", IN_A_LANGUAGE),
        ("Write an essay about winter in Friulian.", IN_A_LANGUAGE),
        ("Explain how photosynthesis works in all caps.", {*FIXED_TEXT, *CASES}),
        ("Write a story about a dog in lower case.", {*FIXED_TEXT, *CASES, types.POSTSCRIPT}),
        (
            "Write a story about a dog that does not use the letter e.",
            FIXED_TEXT | {types.LETTER, types.EXISTENCE, types.FREQUENCY, types.POSTSCRIPT},
        ),
        (
            "Describe a beach without a mention of the sea.",
            FIXED_TEXT | {types.EXISTENCE, types.FREQUENCY},
        ),
    ],
)
def test_an_instruction_excludes_what_contradicts_its_form(text: str, excluded: set[str]) -> None:
    """A limit, an end, a beginning, a language, a case or a letter of its own leaves other types to it."""
    use = use_of(seed(text))
    assert not use.skipped
    assert not excluded & {*use.types}
    assert len(use.types) >= 4


OWN_FORMS = {
    types.EXISTENCE: "Write about a dragon, without any mention of fire.",
    types.FREQUENCY: "Repeat the name of the dragon twice in a story.",
    types.FORBIDDEN: "Avoid naming the dragon in your story.",
    types.LETTER: "Write an alliterative story about a dragon.",
    types.LANGUAGE: "Write about a dragon in Welsh.",
    types.SENTENCES: "Write about a dragon, at most two sentences.",
    types.WORDS: "Write a 500-word essay about a dragon.",
    types.PARAGRAPHS: "Write two paragraphs about a dragon.",
    types.FIRST_WORD: "Open a story about a dragon with a greeting.",
    types.PLACEHOLDERS: "Write to the dragon [name] about its treasure.",
    types.POSTSCRIPT: "Write to a dragon and close with a P.S. on gold.",
    types.BULLETS: "List the habits of a dragon.",
    types.CONSTRAINED: "Is a dragon or a griffin stronger?",
    types.HIGHLIGHTS: "Describe a dragon with its habits in bold.",
    types.SECTIONS: "Describe a dragon under three headings.",
    types.JSON: "Describe a dragon as a JSON object.",
    types.TITLE: "Describe a dragon and add a title.",
    types.TWO: "Write two versions of a tale about a dragon.",
    types.REPEAT: "Restate what I ask and describe a dragon.",
    types.ENDING: "Write about a dragon and finish with a farewell.",
    types.CAPITAL_WORDS: "Describe a dragon in capitalised prose.",
    types.CAPITALS: "Describe a dragon in upper case.",
    types.LOWER_CASE: "Describe a dragon in lower-case text.",
    types.NO_COMMA: "Describe a dragon without punctuation.",
    types.QUOTATION: "Describe a dragon inside quotation marks.",
}


@pytest.mark.parametrize("type_", CONSTRAINT_TYPES)
def test_every_type_is_excluded_by_an_instruction_of_its_own_form(type_: str) -> None:
    """What asks for the same, or for its contrary, in words of its own."""
    assert type_ not in use_of(seed(OWN_FORMS[type_])).types


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


@pytest.mark.parametrize("pair", [(types.REPEAT, types.TITLE), (types.TITLE, types.REPEAT)])
def test_no_two_wordings_claim_one_place(pair: tuple[str, str]) -> None:
    """A title beside a repeated request has none of the wordings that put it first; alone it has them all."""
    request = finished("describe a red kite")
    constraints = [
        Constraint(each, {"prompt_to_repeat": request} if each == types.REPEAT else {})
        for each in pair
    ]
    first = ("begin with a title", "head the text with a title")
    texts = [join(request, constraints, random.Random(n)).lower() for n in range(40)]
    assert not any(wording in text for text in texts for wording in first)
    alone = [
        join(request, [Constraint(types.TITLE, {})], random.Random(n)).lower() for n in range(40)
    ]
    assert all(any(wording in text for text in alone) for wording in first)


def test_all_types_are_taken_by_some_instruction() -> None:
    """A plain question of yes or no takes all of them."""
    assert {*use_of(seed("Is a garden worth the work?")).types} == CONSTRAINT_TYPES.keys()
