"""Reading the JSON form of a checklist's replies: whole, cut, and where a model did not keep to it."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given

from spar.templates.checklist_json import (
    MAX_CHARACTERS,
    answer_schema,
    answers_schema,
    parse_json_answer,
    parse_json_answers,
    parse_json_requirements,
    requirements_schema,
)
from tests.strategies import any_text, marker_text

TWO = '{"1": {"reason": "it does", "met": "Yes"}, "2": {"reason": "a comma", "met": "No"}}'


@pytest.mark.parametrize(
    ("text", "requirements"),
    [
        (
            '{"requirements": ["It is a poem.", "It has no comma."]}',
            ("It is a poem", "It has no comma"),
        ),
        ('{"requirements": ["It is a poem.", "It has no co', ("It is a poem",)),
        ('{"requirements": ["It is a po', ()),
        ('{"requirements": [', ()),
        (
            'Sure:\n```json\n{\n "requirements":\n [\n"It is a poem.",\n"Short"',
            ("It is a poem", "Short"),
        ),
        ('{"requirements": ["Tab\there", "tab HERE", "Short"]}', ("Tab here", "Short")),
        ('{"requirements": [{"text": "It is a poem."}]}', ("It is a poem",)),
        ("1. It is a poem.\n2. It has no co", ("It is a poem",)),
        ("1. It has [x].\n2. Short\n3. x", ("It has [x]", "Short")),
        ('1. One of:\n["a", "b"]\n2. Short\n3. x', ("Short",)),
        ("A poem.", ()),
    ],
)
def test_a_list_counts_as_far_as_it_is_whole(text: str, requirements: tuple[str, ...]) -> None:
    """Here every reply was cut; a list in lines is read too, without its last one."""
    assert parse_json_requirements(text, 9, is_cut=True) == requirements
    assert len(parse_json_requirements(text, 1)) <= 1


@pytest.mark.parametrize(
    ("text", "met"),
    [
        (TWO, [True, False]),
        (TWO[:-3], [True, None]),  # the verdict is there, but its entry is not whole
        (TWO[:20], [None, None]),
        (f"```json\n{TWO}\n```", [True, False]),
        (f"I check:\n\n{TWO}", [True, False]),
        (
            '{"2": {"reason": "", "met": " no "}, "2": {"met": "Yes"}, "3": {"met": "Yes"}}',
            [None, False],
        ),
        ('{"1": "Yes", "2": false}', [True, False]),
        ('{"1": {"reason": "ok"}, "2": {"met": "perhaps"}}', [None, None]),
        ('{"1": {"met": "Yes and no"}, "2": {"met": "No"}}', [None, False]),
        (json.dumps(json.loads(TWO), indent=2), [True, False]),
        ("1. it does: Yes\n2. a comma: No", [True, False]),
        ("1. says {no} braces: Yes\n2. {: No", [True, False]),
        ("{" * 5000, [None, None]),
    ],
)
def test_answers_count_as_far_as_they_are_whole(text: str, met: list[bool | None]) -> None:
    """One for each requirement, the first under its number; lines are read too."""
    answers = parse_json_answers(text, 2)
    assert [answer.met if answer else None for answer in answers] == met


def test_an_object_of_the_response_is_a_quotation() -> None:
    """The judge's own follows."""
    response = TWO.replace("No", "Yes")
    answers = parse_json_answers(f"The response is:\n{response}\n\n{TWO}", 2, response)
    assert [answer.met for answer in answers if answer] == [True, False]


@pytest.mark.parametrize(
    ("text", "met", "reason"),
    [
        ('{"reason": "a comma in line 3", "Final Judgement": "No"}', False, "a comma in line 3"),
        ('{"reason": "says \\"Final Judgement: No\\"", "Final Judgement": "Yes"}', True, None),
        ('{"reason": "a comma in line 3", "Final Judgement": "N', None, None),
        ("A comma in line 3.\nFinal Judgement: No", False, "A comma in line 3"),
        ("", None, None),
    ],
)
def test_the_answer_to_one_requirement(text: str, met: bool | None, reason: str | None) -> None:
    """Its verdict is that of a judge of the whole response."""
    answer = parse_json_answer(text)
    assert (answer.met if answer else None) is met
    assert reason is None or (answer is not None and answer.reason == reason)


def test_the_schemas_hold_to_what_is_read() -> None:
    """Every property is required and in order, the reason before its verdict; texts are bounded."""
    jsonschema.validate(json.loads(TWO), answers_schema(2))
    jsonschema.validate({"requirements": ["a"]}, requirements_schema(2))
    jsonschema.validate({"reason": "", "Final Judgement": "Yes"}, answer_schema())
    for wrong, schema in (
        (json.loads(TWO), answers_schema(3)),
        ({"requirements": []}, requirements_schema(2)),
        ({"requirements": ["a", "b", "c"]}, requirements_schema(2)),
        ({"reason": "x" * (MAX_CHARACTERS + 1), "Final Judgement": "Yes"}, answer_schema()),
        ({"reason": "", "Final Judgement": "Maybe"}, answer_schema()),
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
    assert [*answers_schema(12)["properties"]] == [str(number) for number in range(1, 13)]
    assert [*answer_schema()["properties"]] == ["reason", "Final Judgement"]


@given(any_text | marker_text)
def test_any_text_can_be_read(text: str) -> None:
    """Nothing that a model writes is an error, whole or behind an opening."""
    for whole in (text, '{"1": ' + text, '{"requirements": ["' + text):
        parse_json_requirements(whole, 3)
        assert len(parse_json_answers(whole, 3)) == 3
        parse_json_answer(whole)
