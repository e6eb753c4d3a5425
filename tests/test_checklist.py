"""Reading lists of requirements, and the answers to them: all shapes that models write, and what is no answer."""

from __future__ import annotations

import pytest
from hypothesis import given

from spar.templates.checklist import parse_answer, parse_answers, parse_requirements
from tests.strategies import any_text, marker_text

LISTS = [
    ("1. It is a poem.\n2. It has no comma.", ("It is a poem", "It has no comma")),
    ("Requirements:\n\n- It is a poem\n* It has no comma\n", ("It is a poem", "It has no comma")),
    ("1) **It is a poem.**\n(2) `no comma`\nb) short", ("It is a poem", "no comma", "short")),
    (
        "1. Form:\n   - It is a poem.\n   - [ ] It has no comma.",
        ("It is a poem", "It has no comma"),
    ),
    ("1. It is a poem.\n2. it is a  Poem!\n3. Short", ("It is a poem", "Short")),
    ("1. **Tone**: It is formal.\n2. __Short:__ 5 words", ("Tone: It is formal", "Short: 5 words")),
    (
        "1. `code` is used\n2. `all of it`\n**3.** snake_case_names",
        ("`code` is used", "all of it", "snake_case_names"),
    ),
    (
        "1. Use `*italic*` text\n2. Name it __init__\n3. End with `***`.",
        ("Use `*italic*` text", "Name it __init__", "End with `***`"),
    ),
    (
        "1. Highlight 3 *highlighted section*\n2.**Bold** item\n3. *All of it.*",
        ("Highlight 3 *highlighted section*", "Bold item", "All of it"),
    ),
    ("- [ ] **Short**\n- [x] _It rhymes:_ yes", ("Short", "It rhymes: yes")),
    ('["It is a poem.", "It has no comma."]', ("It is a poem", "It has no comma")),
    (
        '```json\n{"requirements": [{"text": "It is a poem."}, "Short", 3]}\n```',
        ("It is a poem", "Short"),
    ),
    ('1. It says "[one, two]".', ('It says "[one, two]"',)),
    ('1. It is one of ["a", "b"].\n2. Short', ('It is one of ["a", "b"]', "Short")),
    ('- It ends:\n  ["a", "b"]\n- Short', ("Short",)),
    ('For ["a", "b"]:\n1. Short\n2. No comma', ("Short", "No comma")),
    ('The list is ["a poem", "short"]', ("a poem", "short")),
    ('["a poem", "short"]\n\n- I left out the title.', ("a poem", "short")),
    ("Here is a poem\nabout rain", ()),
    ("1. ...\n2. --", ()),
    ("[]", ()),
    ("", ()),
]


@pytest.mark.parametrize(("text", "requirements"), LISTS)
def test_a_list_of_requirements(text: str, requirements: tuple[str, ...]) -> None:
    """Numbers, bullets or JSON, each requirement once and without the signs around it."""
    assert parse_requirements(text, 9) == requirements


def test_a_list_is_capped_and_its_torn_line_left_out() -> None:
    """The first ones count; a reply that was cut ends in the middle of one."""
    text = "1. one\n2. two\n3. thr"
    assert parse_requirements(text, 2) == ("one", "two")
    assert parse_requirements(text, 9, is_cut=True) == ("one", "two")
    assert parse_requirements("1. on", 9, is_cut=True) == ()


ANSWERS = [
    ("1. three lines, as asked: Yes\n2. a comma in line 2: No", "yn"),
    ("1: Yes\n2: no.", "yn"),
    ("**1.** It rhymes. **Yes**\n**2.** It has one: **No**", "yn"),
    ("1. Yes - it rhymes\n2. No, since there is a comma", "yn"),
    ("2. a comma | No\n1. it rhymes | Yes", "yn"),
    ("Requirement 1: it rhymes. Yes\nRequirement 2: it does not. No", "yn"),
    (
        "1. It is a poem.\n   It rhymes.\n   Answer: Yes\n2. No comma.\n   There is one.\n   No",
        "yn",
    ),
    ("1. it rhymes: Ｙｅｓ\n2. -> NO", "yn"),
    ("1. it rhymes: Yes\n2. no comma", "y-"),
    ("1. it rhymes: Yes\n\nFinal Judgement: No", "y-"),
    ("1. Yes or No\n2. Yes/No", "--"),
    ("1. Yes, there is no comma: No\n2. Yes", "-y"),
    ("1. a\n2. b\n3. c: Yes", "--"),
    ("1. it rhymes: Yes\n1. it does not: No\n2. No", "yn"),
    ("It rhymes: Yes", "--"),
    ("", "--"),
]


@pytest.mark.parametrize(("text", "answers"), ANSWERS)
def test_answers_to_two_requirements(text: str, answers: str) -> None:
    """Yes or No where it can be read for certain, else none."""
    letters = {True: "y", False: "n", None: "-"}
    parsed = parse_answers(text, 2)
    assert "".join(letters[answer.met if answer else None] for answer in parsed) == answers


@pytest.mark.parametrize(
    "text", ["Yes", "1. as asked: Yes", "as asked\nFinal Judgement: Yes", "as asked: Yes"]
)
def test_a_single_requirement_needs_no_number(text: str) -> None:
    """One line, or a judge's closing line, answers it."""
    (answer,) = parse_answers(text, 1)
    assert answer is not None and answer.met


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1. **three lines**, as asked: Yes", "three lines**, as asked"),
        ("1. Yes - it rhymes", "it rhymes"),
        ("1. Yes", ""),
        ("1. " + "word " * 60 + ": No", "word " * 40 + "..."),
    ],
)
def test_the_reason_is_one_short_line(text: str, reason: str) -> None:
    """What stands beside the answer, for the refiner."""
    (answer,) = parse_answers(text, 1)
    assert answer is not None
    assert answer.reason == reason


def test_the_answer_of_a_whole_reply() -> None:
    """It is the judge's closing line, and the text before is the reason."""
    answer = parse_answer("Asked for is rhyme.\nIt rhymes.\nFinal Judgement: Yes")
    assert answer is not None
    assert (answer.met, answer.reason) == (True, "Asked for is rhyme. It rhymes")
    assert parse_answer("It rhymes.") is None


@given(any_text | marker_text)
def test_any_text_can_be_read(text: str) -> None:
    """Whatever a model writes: so many answers, and requirements of one line each."""
    assert len(parse_answers(text, 3)) == 3
    assert all(
        requirement and len(requirement.splitlines()) == 1
        for requirement in parse_requirements(text, 9)
    )
