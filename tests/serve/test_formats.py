"""`response_format`: JSON as a verifier, whose failures are refined, and schemas that are hostile."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine
from spar.serve.errors import ApiError
from spar.serve.schema import answer_format, extract_json
from tests.serve.harness import asking, serving
from tests.serve.test_streaming import data_of, stream

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 2}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}


def schema_format(schema: Any) -> dict[str, Any]:
    """A `response_format` with a schema."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def writer(drafts: str, refinement: str) -> tuple[FakeEngine, list[Request]]:
    """An engine that drafts one text, refines to another, and judges every answer a success."""
    seen: list[Request] = []

    def reply(request: Request) -> str:
        seen.append(request)
        text = request.messages[-1].content
        if "[[start]]" in text:
            return f"It must be JSON.\nFinal Refined Output:\n[[start]]\n{refinement}\n[[end]]"
        return "Fine.\nFinal Judgement: Yes" if "Final Judgement" in text else drafts

    return FakeEngine(reply), seen


def test_an_answer_that_fails_its_schema_is_refined() -> None:
    """The failing draft costs no vote; the critique says what is wrong; the refinement that meets it is judged."""
    good = json.dumps({"city": "Kyiv", "people": 3_000_000})
    engine, seen = writer('{"city": "K"}', good)
    with serving(engine) as served:
        reply = served.post(asking("A city?", response_format=schema_format(CITY))).json()
    assert reply["choices"][0]["message"]["content"] == good
    assert reply["spar"]["choices"][0]["solved"]
    assert "meets this JSON schema" in seen[0].messages[-1].content
    refining = next(r for r in seen if "[[start]]" in r.messages[-1].content)
    assert any("is JSON and nothing else" in message.content for message in refining.messages)
    votes = [r for r in seen if "Final Judgement" in r.messages[-1].content and r is not refining]
    assert all('{"city": "K"}' not in vote.messages[-1].content for vote in votes)


def test_progress_says_what_a_format_lacks() -> None:
    """A stream's thinking names the constraint and what was found."""
    engine, _ = writer('{"city": "Rome"}', '{"city": "Rome", "people": 1}')
    with serving(engine) as served:
        *chunks, _ = data_of(stream(served, asking(response_format=schema_format(CITY)))[1])
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    progress = "".join(delta.get("reasoning_content", "") for delta in deltas)
    assert "draft 1: 0 of 1 met; not met: the answer is JSON" in progress
    assert "'people' is a required property" in progress


def test_json_in_a_fence_is_taken_out() -> None:
    """Models like to fence their JSON; a client parses the answer as it is."""
    engine, _ = writer('```json\n{"a": 1}\n```', "unused")
    with serving(engine) as served:
        for model in ("bfs-7/tiny", "greedy/tiny"):
            body = asking(model=model, response_format={"type": "json_object"})
            reply = served.post(body).json()
            assert json.loads(reply["choices"][0]["message"]["content"]) == {"a": 1}


@pytest.mark.parametrize(
    ("draft", "error"),
    [
        ('{"city": "Rome", "people": 1}', None),
        ('{"city": "Rome"}', "'people' is a required"),
        ("Rome", "not JSON"),
    ],
)
def test_a_greedy_answer_says_whether_it_meets_the_format(draft: str, error: str | None) -> None:
    """In the side field, since nothing refines it; plain answers have no such fields."""
    engine, _ = writer(draft, "unused")
    with serving(engine) as served:
        body = asking(model="greedy/tiny", response_format=schema_format(CITY))
        (choice,) = served.post(body).json()["spar"]["choices"]
        (plain,) = served.post(asking(model="greedy/tiny")).json()["spar"]["choices"]
    assert choice["format_met"] == (error is None)
    assert (error or "") in (choice["format_error"] or "")
    assert (choice["format_error"] is None) == (error is None)
    assert "format_met" not in plain


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("```\n[1]\n```", "[1]"),
        ("  ```json\n{}```  ", "{}"),
        ("a ```json\n{}\n```", "a ```json\n{}\n```"),
        ("{}", "{}"),
        ("``````", "``````"),
    ],
)
def test_only_a_fence_around_everything_is_taken_off(text: str, inner: str) -> None:
    """Text beside it stays, and fails the check."""
    assert extract_json(text) == inner


@pytest.mark.parametrize(
    ("schema", "response", "found"),
    [
        (CITY, '{"city": "Rome", "people": 1}', ""),
        (CITY, '{"city": "Rome"}', "'people' is a required property"),
        (CITY, "Rome", "not JSON"),
        (CITY, "[" * 100_000, "not JSON"),
        ({"type": "string", "pattern": "^a+$"}, '"aaa"', ""),
        ({"type": "string", "pattern": "^a+$"}, '"ab"', "does not match"),
        ({"$defs": {"n": {"type": "null"}}, "$ref": "#/$defs/n"}, "null", ""),
        ({}, "1", ""),
        ({}, '{"a": NaN}', "not JSON"),
        ({}, "-Infinity", "not JSON"),
        ({"multipleOf": 0.1}, "1" + "0" * 400, "the schema cannot be checked: OverflowError"),
    ],
)
def test_what_a_schema_finds(schema: Any, response: str, found: str) -> None:
    """The first thing that is wrong, in words."""
    form = answer_format(schema_format(schema))
    assert form is not None
    finding = form.finding(response)
    assert finding.met == (not found)
    assert found in finding.found


def nested(levels: int) -> dict[str, Any]:
    """A schema of a few lines that takes 2 ** levels steps."""
    defs: dict[str, Any] = {
        f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(levels)
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": "#/$defs/d0",
        "$defs": {**defs, f"d{levels}": {}},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "#/nowhere"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "#"},
        {"pattern": "("},
        {"patternProperties": {"(a+)+$": {}}},
        {"properties": 5},
        {"minimum": "x"},
        {"properties": {"a": {"$ref": "#/definitions/x"}}, "$defs": {"x": {}}},
        {"items": {"anyOf": [{"$ref": "http://127.0.0.1:9/schema.json"}]}},
    ],
)
def test_a_schema_that_cannot_be_checked_is_refused(schema: Any) -> None:
    """Nothing is fetched, and the error names the field."""
    with pytest.raises(ApiError, match=r"^response_format\.json_schema\.schema: ") as caught:
        answer_format(schema_format(schema))
    assert caught.value.status == 400


def test_a_check_is_bounded() -> None:
    """An exponential schema or pattern fails in seconds, and does not hold up the server."""
    start = time.monotonic()
    form = answer_format(schema_format(nested(60)))
    assert form is not None
    assert form.finding("{}").found == "the schema is too complex to be checked"
    form = answer_format(schema_format({"pattern": "^(a|a)*(b|b|ab)*(a*)*$"}))
    assert form is not None
    assert not form.finding(json.dumps("a" * 5000 + "!")).met
    assert time.monotonic() - start < 20
