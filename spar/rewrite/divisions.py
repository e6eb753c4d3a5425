"""Fixes of how a response is divided: sections and paragraphs.

They add and remove marks; the words stay, but for a heading's. Where a mark goes is drawn among the places that fit.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from spar.rewrite.edits import Arguments, CannotFix, Context, Edit, body
from spar.rewrite.layout import (
    Kind,
    Span,
    finditer_outside_code,
    is_item_start,
    is_protected,
    lines,
    newline,
    protected_spans,
    sentences,
    sub_outside_code,
)
from spar.rewrite.responses import HEAD_ENDS, is_heading, rules_of

_BLANK = re.compile(r"[ \t]*\r?\n(?:[ \t]*\r?\n)+")
_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_DIVIDER_LINE = re.compile(r"\r?\n[ \t]*\*\*\*[ \t]*(?=\r?\n|$)")
_ROMAN = {word: number for number, word in enumerate("i ii iii iv v vi vii viii ix x".split(), 1)}
_SPELLED = {
    word: number
    for number, word in enumerate("one two three four five six seven eight nine ten".split(), 1)
}
_BLOCKS: tuple[Kind, ...] = ("code", "table", "heading", "item")


def sections(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Write section headings as asked, then put the missing ones before drawn paragraphs or sentences."""
    name = str(arguments["section_spliter"])
    needed = int(arguments["num_sections"])
    written = re.compile(
        rf"^(?P<marks>[ \t#*_]*){re.escape(name)}[ ]?(?:no\.? ?|#)?"
        rf"(?P<number>\d+|{'|'.join([*_SPELLED, *_ROMAN])})\b{HEAD_ENDS}",
        re.IGNORECASE | re.MULTILINE,
    )

    def numbered(match: re.Match[str]) -> str:
        number = match["number"].lower()
        if not is_heading(match):
            return match.group()
        shown = _SPELLED.get(number) or _ROMAN.get(number) or number
        return f"{match['marks']}{name} {shown}{match['ends'] or ''}"

    corrected = sub_outside_code(written, numbered, text)
    done = ""
    if corrected != text:
        done = "wrote the section headings as asked"
        yield Edit(corrected, done)
        text, done = corrected, f"{done} and "
    missing = needed - len(re.findall(rf"{re.escape(name)}\s?\d+", text))
    heading = re.compile(rf"^[ \t#*_]*{re.escape(name)}\s?(\d+)", re.MULTILINE)
    present = [*finditer_outside_code(heading, text)]
    start, end = body(text, context)
    after = present[-1].end() if present else start
    first = 1 + max([int(match[1]) for match in present], default=0)
    for starts in (_paragraph_starts(text, after, end), _sentence_starts(text, after, end)):
        inner = [
            place for place in starts if place > after and not _after_heading(text, place, name)
        ]
        count = missing if present else missing - 1
        if 0 <= count <= len(inner) and missing > 0:
            places = [*([] if present else [start]), *_spread(inner, count, context.rng)]
            yield Edit(
                _with_headings(text, places, name, first),
                f"{done}added {missing} section heading{'s' * (missing > 1)}",
            )
    raise CannotFix(f"the text has no {needed} parts")


def _after_heading(text: str, place: int, name: str = "") -> bool:
    """Whether a heading, one of sections of that name, or a lead-in that ends with a colon would be parted from its text."""
    table = lines(text)
    index = bisect_left(table, place, key=lambda line: line.start) - 1
    while index >= 0 and not text[table[index].start : min(place, table[index].end)].strip(" *_=-"):
        index -= 1
    if index < 0:
        return False
    content = text[table[index].start : min(place, table[index].end)]
    own = rf"[ \t#*_]*{re.escape(name)}\s?\d+(?:[^.!?]*|\W*)$"
    is_lead_in = table[index].kind == "heading" or content.rstrip(" \t*_").endswith(":")
    return is_lead_in or bool(name and re.match(own, content))


def _with_headings(text: str, places: Sequence[int], name: str, first: int) -> str:
    eol = newline(text)
    pieces, end = [], 0
    for number, place in enumerate(places, first):
        gap = _missing_gap(text, place)
        before = text[end:place].rstrip(" \t") if gap else text[end:place]
        pieces += [before, gap, f"{name} {number}{eol}"]
        end = place
    return "".join([*pieces, text[end:]])


def _missing_gap(text: str, place: int) -> str:
    """The line ends after which what is put at a place stands apart from what is before it."""
    before = text[:place].rstrip(" \t")
    if not before.strip() or re.search(r"\n[ \t]*\r?\n\Z", before):
        return ""
    return newline(text) * (1 if before.endswith("\n") else 2)


def paragraphs(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Put dividers between paragraphs, or take surplus ones out."""
    needed = int(arguments["num_paragraphs"])
    if needed < 1:
        raise CannotFix(f"no text has {needed} paragraphs")
    parts = [part for part in _DIVIDER.split(text) if part.strip()]
    start, end = body(text, context)
    if len(parts) > needed:
        yield from _fewer_dividers(text, len(parts) - needed, context)
        return
    missing = needed - len(parts)
    if missing <= 0:  # a divider too many: two in a row
        twice = re.compile(r"(\*\*\*\s+)(?:\*\*\*\s+)+")
        yield Edit(sub_outside_code(twice, lambda m: m[1], text), "removed an empty paragraph")
        return
    rules = [m for m in rules_of(text) if m.group().strip() != "***"]
    if len(rules) == missing:
        changed = text
        for match in reversed(rules):
            changed = f"{changed[: match.start()]}***{changed[match.end() - match.group().endswith(chr(13)) :]}"
        yield Edit(changed, "wrote the dividers of the paragraphs as asked")
    eol = newline(text)
    for starts in (_paragraph_starts(text, start, end), _sentence_starts(text, start, end)):
        inner = [p for p in starts if p > start and not _next_to_divider(text, p)]
        inner = [place for place in inner if not _after_heading(text, place)]
        if len(inner) < missing:
            continue
        changed = text
        for place in reversed(_spread(inner, missing, context.rng)):
            before, gap = changed[:place].rstrip(" \t"), _missing_gap(changed, place)
            changed = f"{before}{gap}***{eol * 2}{changed[place:]}"
        yield Edit(changed, f"put {missing} divider{'s' * (missing > 1)} between paragraphs")
    raise CannotFix(f"the text cannot be divided into {needed} paragraphs")


def _next_to_divider(text: str, place: int) -> bool:
    return text[:place].rstrip().endswith("***") or text[place:].lstrip().startswith("***")


def _fewer_dividers(text: str, surplus: int, context: Context) -> Iterator[Edit]:
    found = [*finditer_outside_code(_DIVIDER_LINE, text)]
    inner = [m for m in found if text[: m.start()].strip() and text[m.end() :].strip()]
    if len(inner) < surplus:
        raise CannotFix("its dividers do not stand on lines of their own")
    changed = text
    for match in sorted(context.rng.sample(inner, surplus), key=lambda m: -m.start()):
        # The blank line before the divider stays, the one after it goes.
        after = changed[match.end() :]
        changed = (
            changed[: match.start()].rstrip(" \t\r\n") + newline(text) * 2 + after.lstrip("\r\n")
        )
    yield Edit(changed, f"removed {surplus} divider{'s' * (surplus > 1)} between paragraphs")


def nth_paragraph(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Split or join paragraphs until there are as many as asked, and begin the nth with the word."""
    needed, nth = int(arguments["num_paragraphs"]), int(arguments["nth_paragraph"])
    word = str(arguments["first_word"])
    if not 1 <= nth <= needed:
        raise CannotFix(f"there is no paragraph {nth} of {needed}")
    for divided, summary in _divided(text, needed, context):
        blocks = divided.split("\n\n")
        if (
            len([b for b in blocks if b.strip()]) == needed
            and len(blocks) >= nth
            and not _begins_in_code(divided, blocks, nth - 1)
        ):
            for changed, begun in _begun(blocks, nth - 1, word, context):
                summaries = [part for part in (summary, begun) if part]
                yield Edit(changed, " and ".join(summaries) or "divided the text")
    raise CannotFix(f"the text cannot be divided into {needed} paragraphs")


def _divided(text: str, needed: int, context: Context) -> Iterator[tuple[str, str]]:
    """The text in as many paragraphs as needed, and what was done for it."""
    ends = text.strip("\n") if text.startswith("\n") else text.rstrip("\n")
    tidy = sub_outside_code(re.compile(r"\n{3,}"), lambda _: "\n\n", ends)
    blocks = [b for b in text.split("\n\n") if b.strip()]
    if len(blocks) == needed:
        yield (text, "") if text.split("\n\n") == blocks else (tidy, "removed empty paragraphs")
        return
    emptied = sub_outside_code(re.compile(r"(?<=\n)[ \t]+\n"), lambda _: "\n", text)
    if len(blocks) < len([b for b in emptied.split("\n\n") if b.strip()]) <= needed:
        done = "removed white space between paragraphs"
        for divided, summary in _divided(emptied, needed, context):
            yield divided, f"{done} and {summary}" if summary else done
        return
    start, end = body(text, context)
    if len(blocks) > needed:
        for separator in ("\n", " "):
            joints = [
                m.span()
                for m in re.finditer(r"\n{2,}", text)
                if start < m.start() and m.end() < end and _can_join(text, m, separator)
            ]
            surplus = len(blocks) - needed
            if len(joints) < surplus:
                return
            context.rng.shuffle(joints)
            joints.sort(key=lambda gap: _makes_one_item(text, gap))
            changed = text
            for a, b in sorted(joints[:surplus], reverse=True):
                changed = changed[:a] + separator + changed[b:]
            yield changed, f"joined {surplus + 1} paragraphs"
        return
    missing = needed - len(blocks)
    for starts in (_line_starts(text, start, end), _sentence_starts(text, start, end)):
        inner = [p for p in starts if p > start and not re.search(r"\n[ \t]*\n\Z", text[:p])]
        if len(inner) < missing:
            continue
        changed = text
        for place in reversed(_spread(inner, missing, context.rng)):
            changed = changed[:place].rstrip() + "\n\n" + changed[place:]
        yield changed, f"began {missing} new paragraph{'s' * (missing > 1)}"


def _can_join(text: str, gap: re.Match[str], separator: str) -> bool:
    """Whether two blocks stay what they are without the blank line between them; in one line only prose does."""
    if is_protected(text, *gap.span()):
        return False
    left, right = _kinds_around(text, gap.span())
    if separator == " ":
        return (left, right) in (("prose", "prose"), ("item", "prose"))
    return left != "table" and right not in ("rule", "blank")


def _kinds_around(text: str, gap: Span) -> tuple[Kind, Kind]:
    left = next(line.kind for line in lines(text) if line.start <= gap[0] <= line.end)
    return left, next(line.kind for line in lines(text) if line.start == gap[1])


def _makes_one_item(text: str, gap: Span) -> bool:
    """Whether a paragraph would become a part of the list item before it."""
    return _kinds_around(text, gap) == ("item", "prose")


def _begins_in_code(text: str, blocks: Sequence[str], index: int) -> bool:
    """Whether a block is the rest of code or of a formula that a blank line divides."""
    start = sum(len(block) + 2 for block in blocks[:index])
    return _splits(text, start + len(blocks[index]) - len(blocks[index].lstrip()))


def _begun(
    blocks: Sequence[str], index: int, word: str, context: Context
) -> Iterator[tuple[str, str]]:
    """The paragraphs with one of them begun by a word."""
    block = blocks[index]
    lead = len(block) - len(block.lstrip())
    inner = block[lead:]
    if re.match(rf"{re.escape(word)}(?:[.,?!'\"]|\s|$)", inner.lstrip("'\""), re.IGNORECASE):
        yield "\n\n".join(blocks), ""
        return
    bare = re.match(rf"[#*_\s]*({re.escape(word)})[*_]*:?[*_]*(?=\s)", inner, re.IGNORECASE)
    if bare:
        yield (
            _with_block(blocks, index, block[:lead] + bare.group(1) + inner[bare.end() :]),
            ("removed the marks around a paragraph's first word"),
        )
    shown = context.cased(word[:1].upper() + word[1:])
    kind = next((line.kind for line in lines(inner)), "prose")
    if kind == "rule":
        return
    eol = newline(block)
    marks = [f".{eol}"] if kind in _BLOCKS else [" - ", ". ", "! "]
    context.rng.shuffle(marks)
    for mark in marks:
        yield (
            _with_block(blocks, index, f"{block[:lead]}{shown}{mark}{inner}"),
            (f'began paragraph {index + 1} with "{word}"'),
        )


def _with_block(blocks: Sequence[str], index: int, block: str) -> str:
    return "\n\n".join([*blocks[:index], block, *blocks[index + 1 :]])


def _paragraph_starts(text: str, start: int, end: int) -> list[int]:
    """Where blocks between blank lines begin."""
    places = [start, *(m.end() for m in _BLANK.finditer(text, start, end))]
    rules = {line.start for line in lines(text) if line.kind == "rule"}
    return [p for p in places if p < end and p not in rules and not _splits(text, p)]


def _splits(text: str, place: int) -> bool:
    """Whether a place lies inside code or a formula."""
    return any(start < place < end for start, end in protected_spans(text))


def _line_starts(text: str, start: int, end: int) -> list[int]:
    return [
        line.start
        for line in lines(text)
        if start <= line.start < end and line.kind not in ("blank", "code", "table", "rule")
    ]


def _sentence_starts(text: str, start: int, end: int) -> list[int]:
    """Where lines and sentences begin that can stand alone."""
    prose = [s[0] for s in sentences(text, (start, end)) if not is_item_start(text, s)]
    return sorted({*prose, *_line_starts(text, start, end)})


def _spread(places: Sequence[int], count: int, rng: random.Random) -> list[int]:
    """So many of the places, one drawn from each of as many even parts."""
    chosen = []
    for part in range(count):
        low, high = part * len(places) // count, (part + 1) * len(places) // count
        chosen.append(places[rng.randrange(low, high)])
    return chosen
