"""The layout of a response: lines, sentences, and how to take sentences out without touching the others.

Markdown is read as far as an edit needs it: code and what is like it (`spar.rewrite.code`), links, tables, headings, list
items, rules. Sentences end as `spar.rewrite.english.sentence_ends` says; every line is one of its own, as in lists
and poems. The rows of a table have no sentences: a row that is cut, marked or moved breaks the table.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from spar.rewrite.changes import changed
from spar.rewrite.code import Span as Span
from spar.rewrite.code import block_spans, code_spans
from spar.rewrite.english.sentence_ends import sentence_ends

Kind = Literal["prose", "item", "heading", "rule", "blank", "code", "table"]
"""What a line is; of code are the lines of a formula and of data, too."""

_ADDRESS = (
    r"(?i:\b(?:https?|ftp|sftp|ssh|git|file)://|\bwww\.|\bmailto:)[^\s<>\"”]*[^\s<>.,;:!?'\"”’)\]}*_]"
    r"|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|(?<![\w.-])(?:[\w-]+\.)+(?i:com|org|net|edu|gov|io|dev|app|info|be)\b(?:/[^\s<>\"”]*[^\s<>.,;:!?'\"”’)\]}*_])?"
)
ADDRESS = re.compile(rf"{_ADDRESS}|(?<=\]\()[^\s()]+(?=\))")
"""A URL, the target of a link, or an e-mail address."""
_PROTECTED = re.compile(
    r"<!--.{0,500}?-->|(?<!<)</?[A-Za-z][A-Za-z0-9-]*(?:[ \t][^<>\n]*)?/?>(?!>)"  # tags, but no title in <<>>
    r"|(?<=\])\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:[ \t]+\"[^\"\n]*\")?\)|^[ ]{0,3}\[[^\]\n]+\]:[ \t]*\S+"  # links
    rf"|{_ADDRESS}",
    re.MULTILINE,
)
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_TABLE_ROW = re.compile(r"[ \t]*(?:\|.*\||\+[-=+:]{2,}\+)[ \t]*$")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_MARKER = re.compile(r"[ \t]*(?:[*+•-][ \t]+|\d{1,3}[.)][ \t]+|>[ \t]*)")
_HEADING = re.compile(
    r"[ \t]*(?:#{1,6}[ \t].*|<<.*>>|\*\*[^*\n]+\*\*:?|[^\n.!?]{1,60}:|(?:SECTION|Section)[ ]?\d+.*)[ \t]*$"
)
_RULE = re.compile(r"[ \t]*([*_=-])(?:[ \t]*\1){2,}[ \t]*$")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a text."""

    start: int
    end: int
    """Without the line's end."""
    next: int
    """Where the next line starts."""
    kind: Kind
    sentences: tuple[Span, ...]
    """Of prose and list items, without a list's marker and without the white space between them."""


def newline(text: str) -> str:
    """The end of a line as the text has it."""
    return "\r\n" if "\r\n" in text else "\n"


@lru_cache(maxsize=64)
def protected_spans(text: str) -> tuple[Span, ...]:
    """What an edit of words never enters: code, formulas, HTML's tags, targets of links, URLs, e-mail addresses."""
    merged: list[Span] = []
    for start, end in sorted([*code_spans(text), *(m.span() for m in _PROTECTED.finditer(text))]):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def is_protected(text: str, start: int, end: int) -> bool:
    """Whether a part of a text touches what an edit of words never enters."""
    spans = protected_spans(text)
    before = bisect_right(spans, (start, len(text))) - 1
    return (before >= 0 and start < spans[before][1]) or (
        before + 1 < len(spans) and spans[before + 1][0] < end
    )


def outside_code(text: str) -> list[Span]:
    """The parts between code."""
    spans, start = [], 0
    for code_start, code_end in code_spans(text):
        spans.append((start, code_start))
        start = code_end
    return [(a, b) for a, b in [*spans, (start, len(text))] if a < b]


def map_outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text with every part between code changed."""
    return changed(text, [(a, b, change(text[a:b])) for a, b in outside_code(text)])


def finditer_outside_code(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Matches that lie between code."""
    spans = code_spans(text)
    for match in pattern.finditer(text):
        if not any(start < match.end() and match.start() < end for start, end in spans):
            yield match


def sub_outside_code(
    pattern: re.Pattern[str], replacement: Callable[[re.Match[str]], str], text: str
) -> str:
    """The text with every match that lies between code replaced; a pattern sees what stands around it."""
    matches = finditer_outside_code(pattern, text)
    return changed(text, [(*match.span(), replacement(match)) for match in matches])


@lru_cache(maxsize=64)
def lines(text: str) -> tuple[Line, ...]:
    """Every line, in order."""
    blocks = block_spans(text)
    every = text.islower()
    result, start = [], 0
    raws: list[str] = _LINE.findall(text)
    rows = _table_rows([raw.rstrip() for raw in raws])
    for number, raw in enumerate(raws):
        content = raw.removesuffix("\n").removesuffix("\r")
        end = start + len(content)
        in_code = any((a <= start and end <= b) or start <= a < end for a, b in blocks)
        kind: Kind = "code" if in_code else "table" if number in rows else _kind(content)
        spans = _sentences(text, start, end, is_lower=every) if kind in ("prose", "item") else ()
        result.append(Line(start, end, start + len(raw), kind, spans))
        start += len(raw)
    return tuple(result)


def sentences(text: str, span: Span) -> list[Span]:
    """The sentences of prose and list items that lie in a part of a text."""
    found = [sentence for line in lines(text) for sentence in line.sentences]
    return [(start, end) for start, end in found if span[0] <= start and end <= span[1]]


def begins_with_markup(text: str, place: int) -> bool:
    """Whether a line begins at a place with marks that are none where something stands before them."""
    line = _line_at(text, place)
    marks = line.kind == "heading" and text[line.start : line.end].lstrip().startswith("#")
    return marks or line.kind in ("item", "table", "code", "rule")


def separators_after(text: str, end: int) -> tuple[str, ...]:
    """What can part a text that ends at a place from more text, the best first, so that each stays what it is.

    A space only after prose: in the line of a list item, a heading or a table's row the addition would be a part of it.
    """
    eol, kind = newline(text), _line_at(text, max(0, end - 1)).kind
    if kind in ("table", "code"):  # a line right below could be one of its own
        return (eol * 2,)
    return (eol * 2, eol) if kind in ("item", "heading", "rule") else (eol * 2, eol, " ")


def _line_at(text: str, place: int) -> Line:
    table = lines(text)
    return table[bisect_right(table, place, key=lambda line: line.start) - 1]


def is_item_start(text: str, span: Span) -> bool:
    """Whether a sentence is the first of a list item, which has its mark already."""
    head = text[text.rfind("\n", 0, span[0]) + 1 : span[0]]
    return bool(re.fullmatch(r"[ \t]*(?:[*+•-]|\d{1,3}[.)])[ \t]+", head))


def cut_spans(text: str, removed: Collection[Span], others: Collection[int] = ()) -> list[Span]:
    """What has to go with some sentences: white space, markers and lines that only they had.

    Parameters
    ----------
    others:
        Numbers of lines without sentences that go, too.
    """
    gone = set(removed)
    cuts: list[Span] = []
    table = lines(text)
    dropped = [
        number in others or (bool(line.sentences) and gone.issuperset(line.sentences))
        for number, line in enumerate(table)
    ]
    for line, is_dropped in zip(table, dropped, strict=True):
        if not is_dropped:
            cuts += _cuts_in_line(line, gone)
    return [*cuts, *_dropped_lines(table, _with_blanks_between(table, dropped))]


def _with_blanks_between(table: tuple[Line, ...], dropped: list[bool]) -> list[bool]:
    """The dropped lines with the blank ones between two of them."""
    last, joined = None, [*dropped]
    for number, line in enumerate(table):
        if dropped[number]:
            if last is not None:
                joined[last:number] = [True] * (number - last)
            last = number
        elif line.kind != "blank":
            last = None
    return joined


def _cuts_in_line(line: Line, gone: Collection[Span]) -> list[Span]:
    cuts = []
    for index, (start, end) in enumerate(line.sentences):
        if (start, end) not in gone:
            continue
        if all(later in gone for later in line.sentences[index:]):
            cuts.append((line.sentences[index - 1][1], end))
        else:
            cuts.append((start, line.sentences[index + 1][0]))
    return cuts


def _dropped_lines(table: tuple[Line, ...], dropped: list[bool]) -> list[Span]:
    """Whole lines, each run of them with one of the blank lines around it."""
    cuts, index = [], 0
    while index < len(table):
        if not dropped[index]:
            index += 1
            continue
        stop = index
        while stop < len(table) and dropped[stop]:
            stop += 1
        blank_before = index == 0 or table[index - 1].kind == "blank"
        start, end = table[index].start, table[stop - 1].next
        last = stop
        while blank_before and last < len(table) and table[last].kind == "blank":
            end, last = table[last].next, last + 1
        if last == len(
            table
        ):  # the text's end: the line ends before the run go, one after it stays
            first = index
            while first and table[first - 1].kind == "blank":
                first -= 1
            start = table[first - 1].end if first else start
            end = table[stop - 1].end
        cuts.append((start, end))
        index = max(stop, last)
    return cuts


def _table_rows(contents: list[str]) -> set[int]:
    """Which lines are rows: those between two bars, and those with a bar around the rule below a table's head."""
    rows = {number for number, content in enumerate(contents) if _TABLE_ROW.match(content)}
    for number, content in enumerate(contents[1:], 1):
        if "|" in content and _TABLE_RULE.match(content) and "|" in contents[number - 1]:
            rows |= {number - 1, number}
            stop = number + 1
            while stop < len(contents) and "|" in contents[stop]:
                rows.add(stop)
                stop += 1
    return rows


def _kind(content: str) -> Kind:
    if not content.strip():
        return "blank"
    if _RULE.match(content):
        return "rule"
    if _HEADING.match(content):
        return "heading"
    return "item" if _MARKER.match(content) else "prose"


def _sentences(text: str, start: int, end: int, *, is_lower: bool) -> tuple[Span, ...]:
    marker = _MARKER.match(text, start, end)
    start = marker.end() if marker else start
    while start < end and text[start].isspace():
        start += 1
    spans = []
    for stop in sentence_ends(text, start, end, is_lower=is_lower):
        if not is_protected(text, stop.start(), stop.end()):
            spans.append((start, stop.end()))
            start = stop.end()
            while start < end and text[start].isspace():
                start += 1
    last = end
    while last > start and text[last - 1].isspace():
        last -= 1
    return (*spans, (start, last)) if start < last else tuple(spans)
