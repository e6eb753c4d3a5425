"""What of a response is no prose and stays byte for byte: code, formulas, JSON, CSV, aligned columns.

    def add(a, b):               The point is           name,age          Name    Age
        return a + b             $(x, y)$.              Ann,23            Ann     23
    print(add(1, 2))             {"a": [1, 2]}          Bob,31            Bob     31

Fences and backticks are code by their marks. What has none is recognised by its form, and prose that has a little of it stays
prose: lines that only are indented, a price in dollars, numbers with commas one below the other.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache

Span = tuple[int, int]
"""Start and end of a part of a text."""

_MARKED = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^\n]*(?:\n(?:.*?^[ \t]*(?P=fence)[`~]*[ \t]*\r?$|.*)|\Z)|`[^`\n]+`",
    re.MULTILINE | re.DOTALL,
)
_FORMULA = re.compile(
    r"(?s:\$\$.{1,2000}?\$\$|\\\[.{1,2000}?\\\]|\\begin\{(?P<env>\w+\*?)\}.{0,4000}?\\end\{(?P=env)\})"
    r"|\\\([^\n]{1,500}?\\\)|(?<![\\$\w])\$(?=[^\s$])[^$\n]*?(?<=[^\s\\$])\$(?![\d$])"  # in a line
    r"|\\[A-Za-z]+(?:\{[^{}\n]*\})*"
)
_MATHEMATICS = re.compile(r"[\\^_=<>{}]|\d\s*[-+*/]\s*\w")
_SENTENCE = re.compile(r"[a-z]{3,}[\s,]+[a-z]{3,}")
_OBJECT = re.compile(r"""\{\s*(?:"[^"\n]*"|'[^'\n]*'|[A-Za-z_]\w*)\s*:""")
_LIST = re.compile(r"""\[\s*(?:["'{\[\]]|-?\d|true|false|null|True|False|None)""")
_IN_JSON = re.compile(r'"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.|[^\'\\\n])*\'|[][{}]')
_LIST_OF_LITERALS = re.compile(
    r"""\[(?:\s*(?:'[^'\n]*'|"[^"\n]*"|-?\d+(?:\.\d+)?|None|True|False)\s*(?:,|(?=\])))+\s*\]"""
)
_REFERENCE = re.compile(r"\[\s*\d+(?:,\s*\d+)?\s*\]")
"""To one or two notes; more numbers are data."""
_GROUPED = re.compile(r"\D?\d{1,3}(?:,\d{3})+\D*")
_ROW_END = re.compile(r"[.,;:!?…]['\"”’)]*$")
_NO_CELL = re.compile(r"(?:and|or|but|so|then|which|who|i|we|you|he|she|it|they)\b", re.IGNORECASE)
_COLUMNS = re.compile(r"(?<![.!?:;,\s])(?:\t+|[ ]{2,})(?=\S)")
_ITEM = re.compile(r"(?P<marker>[ \t]*(?:[*+•-]|\d{1,3}[.)])[ \t]+)\S")
_INDENT = re.compile(r"(?:[ ]{4}|[ ]{0,3}\t)[ \t]*")
_CODE_LINE = re.compile(
    r"[\w\]]\((?!e?s\))[^()]*\)?"  # a call
    r"|(?:\w|\]|\))\s?[-+*/%|&^:]?={1,3}\s?\S|=>|->|&&|\|\||::"
    r"|[{}]\s*$|^\s*[}\])]|^\s*\S+(?:\s\S+){0,2};\s*$"
    r"|^\s*(?:if|elif|for|while|with|def|class|try|except|finally|else|switch|case)\b.*:\s*$"
    r"|^\s*(?:import \w|from \S+ import |return\b(?: \S+){0,3};?\s*$|@\w+|#!?\S|# |//|/\*|--[ \w]|>>> |\$ |</?[a-z!?])"
    r"|^\s*(?:sudo|apt|apt-get|npm|npx|yarn|pip3?|conda|git|docker|kubectl|curl|wget|brew|python3?|ssh|chmod|mkdir|cd|ls"
    r"|echo|export) [\w./~$\"'-]+|^\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|FROM|WHERE)\b"
)
_STATEMENT = re.compile(
    r"\s*(?:(?:const|let|var|int|float|double|auto|final|string|String)[ ])?[\w.\[\]\"']+(?:,[ ]?[\w.]+)*[ ]?[-+*/%|&]?=[ ]?[^\s=].*"
    r"|\s*[\w.]+\(.*\)\s*[;:{]?|\s*return\b.*[()\[\]=+*/<>].*"
    r"|\s*(?:async )?(?:def|class|function|public|private|static|void|fn|func)[ ]\w+.*[:{(]"
    r"|\s*(?:for|while|if|elif|else if|with|switch|catch)\b.*[()\[\]<>=].*[:{]"
    r"|\s*(?:import [\w.]+(?:,[ ]?[\w.]+)*;?|from [\w.]+ import .*|#include.*)"
    r"|[^.!?]*[\w)\]\"'][)\]}]+;|\s*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE)\b[^.!?]*"
)
"""A line that is code wherever it stands: an assignment, a call, the head of a block."""
_CALL = re.compile(r"(?<![\w.])[A-Za-z_][\w.]*\([^()\n]{0,80},[^()\n]{0,80}\)")
_WORDS = re.compile(r"[^\W\d_]{2,}[ ]+[^\W\d_]{2,}")
_WORD = re.compile(r"[^\W\d_]{2,}")
MOST_CELL_WORDS = 3
"""Words of a cell of rows whose commas have spaces after them; more is a clause."""
MOST_FAILURES = 200
"""Brackets that begin as JSON does and are none, after which no more are tried."""


@lru_cache(maxsize=64)
def code_spans(text: str) -> tuple[Span, ...]:
    """Everything that is no prose, in order and apart."""
    return _merged([*_inline(text), *block_spans(text)])


@lru_cache(maxsize=64)
def block_spans(text: str) -> tuple[Span, ...]:
    """What is no prose and has lines of its own."""
    marked = [match.span() for match in _MARKED.finditer(text)] if _may_be_marked(text) else []
    blocks = [
        (a, b) for a, b in marked if "\n" in text[a:b] or text[a:b].lstrip()[:3] in ("```", "~~~")
    ]
    formulas = [span for span in _formulas(text) if "\n" in text[slice(*span)]]
    data = [(a, b) for a, b in _json(text) if "\n" in text[a:b] or _is_line(text, a, b)]
    if "\n" in text:
        rows = _lines(text)
        blocks += _indented(text, rows)
        blocks += _runs(text, rows)
        blocks += _statements(rows)
    elif _STATEMENT.fullmatch(text.rstrip()):
        blocks.append((0, len(text.rstrip())))
    return _merged([*blocks, *formulas, *data])


def _inline(text: str) -> Iterator[Span]:
    if _may_be_marked(text):
        yield from (match.span() for match in _MARKED.finditer(text))
    yield from _formulas(text)
    yield from _json(text)
    if "(" in text:
        calls = _CALL.finditer(text)
        yield from (match.span() for match in calls if not _WORDS.search(match.group()))


def _may_be_marked(text: str) -> bool:
    return "`" in text or "~~~" in text


def _merged(spans: Sequence[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _formulas(text: str) -> Iterator[Span]:
    """LaTeX's; between two dollars there may be prose with prices."""
    if "$" not in text and "\\" not in text:
        return
    place = 0
    while match := _FORMULA.search(text, place):
        written = match.group()
        place = match.end()
        if written.startswith("$"):
            inner = written.strip("$")
            is_price = inner[:1].isdigit() and not _MATHEMATICS.search(inner)
            if is_price or (_SENTENCE.search(inner) and not re.search(r"[\\^_{}]", inner)):
                place = match.start() + 1
                continue
        yield match.span()


def _json(text: str) -> Iterator[Span]:
    """Objects and lists of JSON, and those of Python and JavaScript; one that is cut goes to its paragraph's end."""
    if "{" not in text and "[" not in text:
        return
    decoder, place = json.JSONDecoder(), 0
    starts = re.compile(f"{_OBJECT.pattern}|{_LIST.pattern}")
    failures = 0
    while failures < MOST_FAILURES and (match := starts.search(text, place)):
        start = match.start()
        end = _json_end(decoder, text, start)
        if end is None:
            place, failures = start + 1, failures + 1
        else:
            yield start, end
            place = end


def _json_end(decoder: json.JSONDecoder, text: str, start: int) -> int | None:
    with suppress(ValueError, RecursionError):
        end = decoder.raw_decode(text, start)[1]
        return None if _REFERENCE.fullmatch(text, start, end) else end
    if text[start] == "[" and not text.startswith("{", start + 1):
        literals = _LIST_OF_LITERALS.match(text, start)
        return literals.end() if literals else None
    depth = 0
    for token in _IN_JSON.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token.group(), 0)
        if depth == 0:
            return token.end()
    gap = re.compile(r"\n[ \t]*\r?\n").search(text, start)
    return gap.start() if gap else len(text.rstrip())


def _is_line(text: str, start: int, end: int) -> bool:
    """Whether nothing else stands in the lines of a part of a text."""
    before, after = text[:start].rpartition("\n")[2], text[end:].partition("\n")[0]
    return not before.strip() and not after.strip(" \t\r,;")


def _lines(text: str) -> list[tuple[int, str]]:
    """Where each line starts, and what stands in it."""
    rows, start = [], 0
    for raw in text.split("\n"):
        rows.append((start, raw.rstrip()))
        start += len(raw) + 1
    return rows


def _indented(text: str, rows: Sequence[tuple[int, str]]) -> Iterator[Span]:
    """Blocks of code behind four spaces or a tab, after an empty line; in a list they stand in deeper."""
    if "    " not in text and "\t" not in text:
        return
    index, margin = 0, 0
    while index < len(rows):
        content = rows[index][1]
        if content and (item := _ITEM.match(content)):
            margin = _width(item["marker"])
        elif content and not content[0].isspace():
            margin = 0
        is_after_blank = index == 0 or not rows[index - 1][1]
        if not (is_after_blank and _is_indented(content, margin)):
            index += 1
            continue
        stop = last = index
        while stop < len(rows) and (not rows[stop][1] or _is_indented(rows[stop][1], margin)):
            last = stop if rows[stop][1] else last
            stop += 1
        if _looks_like_code([row for _, row in rows[index : last + 1] if row]):
            yield rows[index][0], rows[last][0] + len(rows[last][1])
        index = last + 1


def _statements(rows: Sequence[tuple[int, str]]) -> Iterator[Span]:
    """Lines that are code without a mark of it, with the indented lines below them."""
    is_code = False
    for start, content in rows:
        is_code = _STATEMENT.fullmatch(content) is not None or (is_code and content[:1].isspace())
        if is_code:
            yield start, start + len(content)


def _is_indented(content: str, margin: int) -> bool:
    indent = _INDENT.match(content)
    return bool(content) and indent is not None and _width(indent.group()) >= margin + 4


def _width(white: str) -> int:
    return len(white.expandtabs(4))


def _looks_like_code(contents: Sequence[str]) -> bool:
    """Whether as many lines have a mark of code as say something without one."""
    marked = [content for content in contents if _CODE_LINE.search(content)]
    plain = [c for c in contents if c not in marked and len(_WORD.findall(c)) > MOST_CELL_WORDS]
    return len(marked) >= max(1, len(plain))


def _runs(text: str, rows: Sequence[tuple[int, str]]) -> Iterator[Span]:
    """Lines one below the other that have as many cells: CSV, and columns with tabs or spaces between."""
    for split, is_data in ((_cells, _is_csv), (_columns, _is_aligned)):
        first, table = 0, list[list[str]]()
        for index, (_, content) in enumerate([*rows, (len(text), "")]):
            cells = split(content)
            if table and (len(cells), _is_tight(cells)) != (len(table[0]), _is_tight(table[0])):
                if len(table) > 1 and is_data(table):
                    last_start, last = rows[index - 1]
                    yield rows[first][0], last_start + len(last)
                table = []
            if len(cells) > 1:
                first = first if table else index
                table.append(cells)


def _cells(content: str) -> list[str]:
    if "," not in content or _ITEM.match(content):
        return []
    if '"' in content:
        with suppress(csv.Error):  # a line's end within the line
            return next(csv.reader([content]), [])
    return content.split(",")


def _is_tight(cells: Sequence[str]) -> bool:
    """Whether no cell begins with a space, as in CSV and not in prose."""
    return all(cell == cell.lstrip() for cell in cells)


def _is_csv(table: Sequence[list[str]]) -> bool:
    if all(_GROUPED.fullmatch(",".join(cells)) for cells in table):
        return False
    if _is_tight(table[0]):
        head = [cell.strip("\"' ") for cell in table[0]]
        return len(head) > 2 or all(cell[:1].isalpha() for cell in head)
    return (
        len(table) > 2
        and len(table[0]) > 2
        and not any(_ROW_END.search(cells[-1]) for cells in table)
        and all(
            0 < len(cell.split()) <= MOST_CELL_WORDS and not _NO_CELL.match(cell.strip())
            for cells in table
            for cell in cells
        )
    )


def _columns(content: str) -> list[str]:
    stripped = content.strip()
    if _ITEM.match(content) or "|" in content:
        return []
    return _COLUMNS.split(stripped) if "\t" in stripped or "  " in stripped else []


def _is_aligned(table: Sequence[list[str]]) -> bool:
    """Three rows of two columns or more; two have to be of three."""
    return len(table) > 2 or len(table[0]) > 2
