"""The JSON form of a checklist's replies: their schemas, and how they are read. Pure; knows no engine and no tree.

    {"requirements": ["The response is a poem.", "It has no comma."]}
    {"1": {"reason": "eight lines that rhyme", "met": "Yes"}, "2": {"reason": "a comma in line 3", "met": "No"}}
    {"reason": "a comma in line 3", "Final Judgement": "No"}

A reply that is cut counts as far as its entries are whole. A reply in lines is read as well: not every engine holds to
a schema. In the schemas a reason comes before its verdict, and nothing is optional, as OpenAI's servers require.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from spar.templates.checklist import (
    RequirementAnswer,
    is_in_lines,
    parse_answer,
    parse_answers,
    parse_requirements,
    short_reason,
    unique_requirements,
)

MAX_CHARACTERS = 300
"""Of a requirement or a reason, so that a small model that repeats itself comes to an end."""

_DECODER = json.JSONDecoder(strict=False)  # xgrammar permits tabs and the like in a text
_OBJECT = re.compile(r"^[ \t]*(?:`{3}(?:json)?[ \t]*)?\{", re.MULTILINE | re.IGNORECASE)
"""An object at the start of a line."""
_LIST = re.compile(
    r"^[ \t]*(?:`{3}(?:json)?[ \t]*)?(?:\{\s*\"[^\"]*\"\s*:\s*)?\[\s*", re.MULTILINE | re.IGNORECASE
)
"""A list at the start of a line, or as the first entry of an object there."""
_KEY = re.compile(r'\s*,?\s*"(?P<name>[^"\\]*)"\s*:\s*')
_COMMA = re.compile(r"\s*,\s*")


def requirements_schema(most: int) -> dict[str, Any]:
    """Of a list of one to `most` requirements."""
    items = {
        "type": "array",
        "items": {"type": "string", "maxLength": MAX_CHARACTERS},
        "minItems": 1,
        "maxItems": most,
    }
    return _object({"requirements": items})


def answers_schema(num: int) -> dict[str, Any]:
    """Of an answer to each of `num` requirements, in their order."""
    return _object({str(number): _answer_schema("met") for number in range(1, num + 1)})


def answer_schema() -> dict[str, Any]:
    """Of the answer to one requirement, whose verdict is a judge's of the whole response."""
    return _answer_schema("Final Judgement")


def parse_json_requirements(text: str, most: int, *, is_cut: bool = False) -> tuple[str, ...]:
    """The requirements of the first list, or those of numbered lines; parameters as of `parse_requirements`."""
    start = _LIST.search(text)
    listed = () if start is None or is_in_lines(text, start.start()) else _items(text, start)
    items = [item for item in listed if isinstance(item, str)]
    return unique_requirements(items, most) or parse_requirements(text, most, is_cut=is_cut)


def parse_json_answers(
    text: str, num: int, response: str = ""
) -> tuple[RequirementAnswer | None, ...]:
    """The answer to each of `num` numbered requirements, None where none can be read.

    Parameters
    ----------
    response:
        The response that was judged: an object that it has itself is a quotation.
    """
    for start in _OBJECT.finditer(text):
        entries, end = _entries(text, start.end())
        answers = tuple(_answer(entries.get(str(number))) for number in range(1, num + 1))
        if any(answers) and text[start.end() : end] not in response:
            return answers
    return parse_answers(text, num)


def parse_json_answer(text: str, response: str = "") -> RequirementAnswer | None:
    """The answer of a reply about one requirement."""
    answer, start = parse_answer(text, response), _OBJECT.search(text)
    if answer is None or start is None:
        return answer
    reason = _entries(text, start.end())[0].get("reason")
    return replace(answer, reason=short_reason(reason)) if isinstance(reason, str) else answer


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [*properties],
        "additionalProperties": False,
    }


def _answer_schema(verdict: str) -> dict[str, Any]:
    reason = {"type": "string", "maxLength": MAX_CHARACTERS}
    return _object({"reason": reason, verdict: {"type": "string", "enum": ["Yes", "No"]}})


def _answer(value: Any) -> RequirementAnswer | None:
    """The answer in an entry; None where it has none."""
    met, reason = (
        (value.get("met"), value.get("reason")) if isinstance(value, dict) else (value, "")
    )
    verdict = (
        {"yes": True, "no": False}.get(met.strip().casefold()) if isinstance(met, str) else met
    )
    if not isinstance(verdict, bool):
        return None
    return RequirementAnswer(verdict, short_reason(reason) if isinstance(reason, str) else "")


def _entries(text: str, at: int) -> tuple[dict[str, Any], int]:
    """The whole entries of the object that is open at a position, the first of each name, and where they end."""
    entries: dict[str, Any] = {}
    while key := _KEY.match(text, at):
        try:
            value, at = _DECODER.raw_decode(text, key.end())
        except (ValueError, RecursionError):
            break
        entries.setdefault(key["name"], value)
    return entries, at


def _items(text: str, start: re.Match[str]) -> Iterator[Any]:
    """The whole items of the list that begins with a match."""
    separator: re.Match[str] | None = start
    while separator:
        try:
            item, at = _DECODER.raw_decode(text, separator.end())
        except (ValueError, RecursionError):
            return
        yield item
        separator = _COMMA.match(text, at)
