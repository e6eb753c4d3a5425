"""Sentences cut together with what only introduced them: headings, rules, and lead-ins such as "Here are three tips:".

What is left of a list, or of numbered steps, is numbered without a gap.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from spar.rewrite.changes import changed
from spar.rewrite.layout import Line, Span, cut_spans, lines

_INTRODUCES = re.compile(r":[*_\"”’)]*$")
_MARKS = re.compile(r"[ \t]*(#{1,6})[ \t]")
_TITLE = re.compile(r"[ \t]*<<.*>>")
_BOLD_LEVEL, _COLON_LEVEL = 7, 8
"""A line in bold is a heading below those with marks, one that ends with a colon below both."""
_NUMBER = re.compile(
    r"(?P<before>[ \t]*(?:#{1,6}[ \t]+)?[*_]*"
    r"(?:(?:step|section|part|chapter|tip|reason|point|rule|question|idea|lesson|method|benefit)[ \t]+)?)"
    r"(?P<number>\d{1,3})(?=[*_]*[.):]|[*_]*[ \t]*$)",
    re.IGNORECASE,
)


def cut_sentences(text: str, removed: Collection[Span]) -> str:
    """The text without some of its sentences, without what introduced nothing else, and with the other numbers going on."""
    table = lines(text)
    gone = set(removed)
    dropped = {
        number
        for number, line in enumerate(table)
        if line.sentences and gone.issuperset(line.sentences)
    }
    for number in reversed(range(len(table))):
        if number in dropped or not _is_bare(text, table, number, dropped):
            continue
        gone |= {*table[number].sentences[-1:]}  # of a paragraph the lead-in alone
        if gone.issuperset(table[number].sentences):
            dropped.add(number)
    changes = [(start, stop, "") for start, stop in cut_spans(text, gone, dropped)]
    changes += _renumbered(text, table, dropped)
    return changed(text, changes)


def _is_bare(text: str, table: Sequence[Line], number: int, dropped: Collection[int]) -> bool:
    """Whether a line introduces what is dropped and nothing else, or is a second one with nothing below."""
    line = table[number]
    content = text[line.start : line.end].rstrip()
    is_lead_in = bool(line.sentences) and _INTRODUCES.search(content)
    if _TITLE.match(content) or not (line.kind in ("heading", "rule") or is_lead_in):
        return False
    below = [n for n in _introduced(text, table, number) if _has_content(table[n])]
    if below:
        return all(n in dropped for n in below)
    if line.sentences or any(_has_content(other) for other in table[number + 1 :]):
        return False
    above = next((n for n in reversed(range(number)) if _has_content(table[n])), None)
    return above in dropped and any(
        text[other.start : other.end].strip() == content.strip() for other in table[:number]
    )


def _has_content(line: Line) -> bool:
    return line.kind not in ("blank", "heading", "rule")


def _introduced(text: str, table: Sequence[Line], number: int) -> range:
    """The lines that a heading, a rule or a lead-in introduces."""
    level = _level(text, table[number])
    first = number + 1
    while first < len(table) and table[first].kind == "blank":
        first += 1
    if level == _COLON_LEVEL and first < len(table) and table[first].kind == "item":
        return _list_from(text, table, first, number)
    if table[number].kind == "item":
        return range(0)
    stop = first
    while stop < len(table) and not (
        table[stop].kind in ("heading", "rule") and _level(text, table[stop]) <= level
    ):
        stop += 1
    return range(first, stop)


def _list_from(text: str, table: Sequence[Line], first: int, introduction: int) -> range:
    """The items of a list, with what is below each; none where they do not belong to the item that should introduce them."""
    indent = _indent(text, table[first])
    if table[introduction].kind == "item" and indent <= _indent(text, table[introduction]):
        return range(0)
    stop = first
    while stop < len(table) and (
        table[stop].kind == "blank"
        or _indent(text, table[stop]) > indent
        or (table[stop].kind == "item" and _indent(text, table[stop]) == indent)
    ):
        stop += 1
    return range(first, stop)


def _level(text: str, line: Line) -> int:
    """How far down a heading stands: a rule above all, then by its marks."""
    if line.kind == "rule":
        return 0
    content = text[line.start : line.end].rstrip()
    marks = _MARKS.match(content)
    if marks:
        return len(marks[1])
    return _COLON_LEVEL if _INTRODUCES.search(content) and content[0] != "*" else _BOLD_LEVEL


def _indent(text: str, line: Line) -> int:
    content = text[line.start : line.end]
    return len(content) - len(content.lstrip())


def _renumbered(
    text: str, table: Sequence[Line], dropped: Collection[int]
) -> list[tuple[int, int, str]]:
    """New numbers of lines that a dropped one of their row stood before."""
    last: dict[str, tuple[int, int]] = {}
    changes = []
    for index, line in enumerate(table):
        match = _NUMBER.match(text, line.start, line.end)
        if match is None or line.kind in ("code", "table"):
            continue
        row, number = match["before"].lower(), int(match["number"])
        before, shown = last.get(row, (0, 0))
        if number != before + 1:
            shown = number - 1  # a row of its own begins
        shown += index not in dropped
        last[row] = number, shown
        if index not in dropped and shown != number:
            changes.append((*match.span("number"), str(shown)))
    return changes
