"""Parses a model's list of requirements, and its answers to one. Pure; knows no engine and no tree.

    1. The response is a poem.             1. eight lines that rhyme: Yes
    2. It has no comma.                    2. a comma in line 3: No

A list is read from numbered or bulleted lines, or from a JSON list that is not part of such a line. An answer counts only where it can be read for
certain: Yes or No at the end of the requirement's line, or right behind its number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from spar.templates import NARROW
from spar.templates.verdicts import find_verdict, parse_verdict

_ITEM = re.compile(
    r"^[ \t>*_#]*(?:[-*+\u2022\u2013]|\(?(?:\d{1,3}|[a-z])[.):])(?:[*_]*[ \t]+|(?=[*_]))(?P<text>\S.*)$",
    re.I,
)
"""A line of a list."""
_LINE_START = re.compile(r"^[ \t>]*(?:`{3}(?:json)?[ \t]*)?\Z", re.MULTILINE | re.IGNORECASE)
"""The end of a text after which a line has nothing yet but the fence of a block."""
_CHECKBOX = re.compile(r"^\[[ xX]?\][ \t]*")
_EMPHASIS = re.compile(r"^(\*\*|__|\*|_)(?=\S)(.{1,200}?)(?<=\S)\1(?![\w*_])")
"""A pair of marks around how an item begins, or around all of it."""
_CODE = re.compile(r"`([^`]+)`(\.?)")
_OPENING, _CLOSING_MARKS = re.compile(r"[*_]+"), re.compile(r"[*_]+$")
_NUMBER = re.compile(
    r"^[ \t>*_#(\[-]*(?:(?:requirement|item)[ \t#]*)?(?P<number>\d{1,3})[ \t*_]*[.):\]\u2013|-]",
    re.I,
)
"""The number of a requirement at the start of its answer."""
_LAST = re.compile(
    r"(?:^|[\s:;.,!?(\[|/*_\"'`>=\u2013\u2014-])(?P<word>yes|no)[\s.!*_\"'`)\]|]*$", re.I
)
"""Yes or No at the end of a line."""
_FIRST = re.compile(
    r"^[\s*_\"'`(\[:|>-]*(?P<word>yes|no)(?=[*_\"'`)\]]*(?:$|[.,;:!(\u2013\u2014]|\s+(?:[-(\u2013\u2014]|because|since|as)))",
    re.I,
)
"""Yes or No right behind a requirement's number."""
_CHOICE = re.compile(r"\b(?:yes|no)\b[\s*_\"'`]*(?:/|\bor\b)[\s*_\"'`]*(?:yes|no)\b", re.I)
"""Both, as where the request is repeated."""
_CLOSING = re.compile(r"^[ \t*_#]*(?:final|overall|conclusion|summary|in summary)\b", re.I)
"""A line about the whole response, after those on its requirements."""


@dataclass(frozen=True, slots=True)
class RequirementAnswer:
    """What a judge says of one requirement."""

    met: bool
    """Yes."""
    reason: str = ""
    """What the response does, in the judge's words."""


def parse_requirements(text: str, most: int, *, is_cut: bool = False) -> tuple[str, ...]:
    """The requirements in a model's list, in order and without repetitions; () if there is no list.

    Parameters
    ----------
    most:
        How many are read.
    is_cut:
        Whether the text ended at its token limit: its last line may then be torn, and is left out.
    """
    lines = text.splitlines()[: -1 if is_cut else None]
    items = [match["text"] for line in lines if (match := _ITEM.match(line))]
    start = min((at for at in map(text.find, "[{") if at >= 0), default=-1)
    if start >= 0 and (not items or _is_the_list(text, start)):
        items = _json_items(text[start:]) or items
    return unique_requirements(items, most)


def is_in_lines(text: str, at: int) -> bool:
    """Whether a numbered or bulleted line begins before a position: what stands there is then part of that list."""
    return any(map(_ITEM.match, text[:at].splitlines()))


def unique_requirements(items: Iterable[str], most: int) -> tuple[str, ...]:
    """The first `most` requirements among the items of a list, without marks around them and repetitions."""
    unique: dict[str, str] = {}
    for item in items:
        bare = _bare(_CHECKBOX.sub("", _bare(item)))
        whole = _CODE.fullmatch(bare)
        requirement = " ".join((whole[1] if whole else bare).split()).rstrip(".")
        # A heading of a part of the list is no requirement.
        if not requirement.endswith(":") and re.search(r"[^\W_]", requirement):
            unique.setdefault(re.sub(r"[\W_]+", " ", requirement).strip().casefold(), requirement)
    return tuple(unique.values())[:most]


def _bare(item: str) -> str:
    """An item without marks of emphasis around its beginning, or that lack the other one of their pair."""
    item = item.strip()
    pair = _EMPHASIS.match(item)
    if pair and (pair[1][0] == "*" or re.search(r"[ :]", pair[2])):  # `__init__` is a name
        item = pair[2] + item[pair.end() :]
    mark = _OPENING.match(item)
    if mark and mark[0] not in item[mark.end() :]:
        item = item[mark.end() :]
    mark = _CLOSING_MARKS.search(item)
    if mark and mark[0] not in item[: mark.start()]:
        item = item[: mark.start()]
    return item.strip()


def parse_answers(text: str, num: int) -> tuple[RequirementAnswer | None, ...]:
    """The answer to each of `num` numbered requirements, None where none can be read.

    The answer to a single requirement needs no number.
    """
    answers: list[RequirementAnswer | None] = [None] * num
    number = 0
    for line in text.splitlines():
        match = _NUMBER.match(line)
        if match:
            number = int(match["number"])
        elif _CLOSING.match(line):
            number = 0
        if 1 <= number <= num and answers[number - 1] is None:
            answers[number - 1] = _answer(line[match.end() :] if match else line)
    if num == 1 and answers[0] is None:
        answers[0] = parse_answer(text) or (None if "\n" in text.strip() else _answer(text))
    return tuple(answers)


def parse_answer(text: str, response: str = "") -> RequirementAnswer | None:
    """The answer of a reply about one requirement, which ends with a verdict as a judge's of the whole response does."""
    span = find_verdict(text, response)
    if span is None:
        return None
    heading = text.rfind("\n", 0, span[0]) + 1
    return RequirementAnswer(bool(parse_verdict(text, response)), short_reason(text[:heading]))


def _answer(line: str) -> RequirementAnswer | None:
    """Yes or No in one line; None where there is none, or both."""
    line = line.translate(NARROW)
    first, last = _FIRST.match(line), _LAST.search(line)
    verdicts = {match["word"].casefold() == "yes" for match in (first, last) if match}
    if len(verdicts) != 1 or _CHOICE.search(line):
        return None
    reason = (
        line[first.end() : last.start() if last and last.start() > first.end() else None]
        if first
        else ""
    )
    if not first and last:
        reason = line[: last.start("word")]
    return RequirementAnswer(verdicts.pop(), short_reason(reason))


def short_reason(text: str, limit: int = 200) -> str:
    """A reason as one line without the signs around it."""
    text = " ".join(text.split()).strip(" *_`:;,.|()[]<>=-\u2013\u2014\"'")
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " ..."


def _is_the_list(text: str, start: int) -> bool:
    """Whether the JSON at a position is the list, and not part of a list in lines or of what introduces that."""
    return bool(_LINE_START.search(text[:start])) and not is_in_lines(text, start)


def _json_items(text: str) -> list[str]:
    """The texts of the JSON list, or of the object with one, that a text begins with; [] if it begins with none."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return []
    if isinstance(value, dict):
        value = next((inner for inner in value.values() if isinstance(inner, list)), None)
    items = [_text_of(item) for item in value] if isinstance(value, list) else []
    return [item for item in items if item]


def _text_of(item: Any) -> str:
    """A list's item, or the first text of one that is an object."""
    if isinstance(item, dict):
        item = next((value for value in item.values() if isinstance(value, str)), "")
    return item if isinstance(item, str) else ""
