"""Fixes of how a response is divided: sections, paragraphs, responses.

They add and remove marks; the words stay, but for a heading's. Where a mark goes is drawn among the places that fit.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from spar.rewrite.edits import Arguments, CannotFix, Context, Edit, body
from spar.rewrite.layout import code_spans, is_item_start, lines, newline, sentences

_BLANK = re.compile(r"[ \t]*\r?\n(?:[ \t]*\r?\n)+")
_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_DIVIDER_LINE = re.compile(r"\r?\n[ \t]*\*\*\*[ \t]*(?=\r?\n|$)")
_ROMAN = {word: number for number, word in enumerate("i ii iii iv v vi vii viii ix x".split(), 1)}
_SPELLED = {
    word: number
    for number, word in enumerate("one two three four five six seven eight nine ten".split(), 1)
}
_SECOND = re.compile(
    r"^[ \t#*_]*(?:(?:response|answer|option|version|alternative|poem|story|joke|draft|description|haiku|limerick|letter|email)"
    r"[ ]*(?:#|no\.?)?[ ]*(?:2|two|ii|b)\b|(?:the )?second (?:response|answer|option|version|alternative)\b|2[.):])",
    re.IGNORECASE | re.MULTILINE,
)
_GOES_ON = re.compile(
    r"(?:however|in conclusion|overall|finally|also|additionally|furthermore|moreover|then|therefore|thus|this|that|"
    r"these|those|it|they|he|she|and|but|so|as a result|for example)\b",
    re.IGNORECASE,
)
_LINE_RULE = re.compile(
    r"^[ \t]*(?:\*{3,}|-{3,}|_{3,}|={3,}|(?:\*[ ]){2,}\*)[ \t]*\r?$", re.MULTILINE
)


def sections(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Write section headings as asked, then put the missing ones before drawn paragraphs or sentences."""
    name = str(arguments["section_spliter"])
    needed = int(arguments["num_sections"])
    written = re.compile(
        rf"\b{re.escape(name)}[ ]?(?:no\.? ?|#)?(\d+|{'|'.join([*_SPELLED, *_ROMAN])})\b",
        re.IGNORECASE,
    )

    def numbered(match: re.Match[str]) -> str:
        number = match.group(1).lower()
        return f"{name} {_SPELLED.get(number) or _ROMAN.get(number) or number}"

    corrected = written.sub(numbered, text)
    if corrected != text:
        yield Edit(corrected, "wrote the section headings as asked")
    present = [*re.finditer(rf"\s?{re.escape(name)}\s?\d+\s?", text)]
    start, end = body(text, context)
    after = present[-1].end() if present else start
    missing = needed - len(present)
    first = len(present) + 1
    for places in _section_places(
        text, after if present else start, end, missing, bool(present), context
    ):
        yield Edit(
            _with_headings(text, places, name, first),
            f"added {missing} section heading{'s' * (missing > 1)}",
        )
    raise CannotFix(f"the text has no {needed} parts")


def _section_places(
    text: str, start: int, end: int, missing: int, has_some: bool, context: Context
) -> Iterator[list[int]]:
    opening = [] if has_some else [start]
    count = missing - len(opening)
    if count < 0:
        return
    for starts in (_paragraph_starts(text, start, end), _sentence_starts(text, start, end)):
        inner = [place for place in starts if place > start]
        if len(inner) >= count:
            yield [*opening, *_spread(inner, count, context.rng)]


def _with_headings(text: str, places: Sequence[int], name: str, first: int) -> str:
    eol = newline(text)
    pieces, end = [], 0
    for number, place in enumerate(places, first):
        before = text[end:place]
        if place and not text[:place].rstrip(" \t").endswith("\n") and text[:place].strip():
            before = before.rstrip(" \t") + eol * 2
        pieces += [before, f"{name} {number}{eol}"]
        end = place
    return "".join([*pieces, text[end:]])


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
        yield Edit(re.sub(r"(\*\*\*\s+)(?:\*\*\*\s+)+", r"\1", text), "removed an empty paragraph")
        return
    rules = [m for m in _LINE_RULE.finditer(text) if m.group().strip() != "***"]
    if len(rules) == missing:
        changed = text
        for match in reversed(rules):
            changed = f"{changed[: match.start()]}***{changed[match.end() - match.group().endswith(chr(13)) :]}"
        yield Edit(changed, "wrote the dividers of the paragraphs as asked")
    eol = newline(text)
    for starts in (_paragraph_starts(text, start, end), _sentence_starts(text, start, end)):
        inner = [place for place in starts if place > start and not _next_to_divider(text, place)]
        if len(inner) < missing:
            continue
        changed = text
        for place in reversed(_spread(inner, missing, context.rng)):
            before = changed[:place].rstrip(" \t")
            gap = "" if before.endswith("\n") else eol * 2
            changed = f"{before}{gap}***{eol * 2}{changed[place:]}"
        yield Edit(changed, f"put {missing} divider{'s' * (missing > 1)} between paragraphs")
    raise CannotFix(f"the text cannot be divided into {needed} paragraphs")


def _next_to_divider(text: str, place: int) -> bool:
    return text[:place].rstrip().endswith("***") or text[place:].lstrip().startswith("***")


def _fewer_dividers(text: str, surplus: int, context: Context) -> Iterator[Edit]:
    found = [*_DIVIDER_LINE.finditer(text)]
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
        if len([b for b in blocks if b.strip()]) == needed and len(blocks) >= nth:
            for changed, begun in _begun(blocks, nth - 1, word, context):
                summaries = [part for part in (summary, begun) if part]
                yield Edit(changed, " and ".join(summaries) or "divided the text")
    raise CannotFix(f"the text cannot be divided into {needed} paragraphs")


def _divided(text: str, needed: int, context: Context) -> Iterator[tuple[str, str]]:
    """The text in as many paragraphs as needed, and what was done for it."""
    tidy = re.sub(
        r"\n{3,}", "\n\n", text.strip("\n") if text.startswith("\n") else text.rstrip("\n")
    )
    blocks = [b for b in text.split("\n\n") if b.strip()]
    if len(blocks) == needed:
        yield (text, "") if text.split("\n\n") == blocks else (tidy, "removed empty paragraphs")
        return
    start, end = body(text, context)
    if len(blocks) > needed:
        for separator in ("\n", " "):
            joints = [
                m.span()
                for m in re.finditer(r"\n{2,}", text)
                if start < m.start() and m.end() < end
            ]
            surplus = len(blocks) - needed
            if len(joints) < surplus:
                return
            changed = text
            for a, b in sorted(context.rng.sample(joints, surplus), reverse=True):
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
    marks = [" - ", ". ", "! "]
    context.rng.shuffle(marks)
    for mark in marks:
        yield (
            _with_block(blocks, index, f"{block[:lead]}{shown}{mark}{inner}"),
            (f'began paragraph {index + 1} with "{word}"'),
        )


def _with_block(blocks: Sequence[str], index: int, block: str) -> str:
    return "\n\n".join([*blocks[:index], block, *blocks[index + 1 :]])


def two_responses(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Put the separator between two responses that the text has; it never writes a second one."""
    summary = "separated the two responses as asked"
    starred = re.sub(r"(?m)^[ \t]*\*{3,}[ \t]*(?=\r?$)", "******", text)
    if starred != text:
        yield Edit(starred, summary)
    rules = [*_LINE_RULE.finditer(text)]
    if len(rules) == 1:
        match = rules[0]
        yield Edit(text[: match.start()] + "******" + text[match.end() :], summary)
    second = [m for m in _SECOND.finditer(text) if text[: m.start()].strip()]
    if len(second) == 1:
        place, eol = second[0].start(), newline(text)
        yield Edit(f"{text[:place].rstrip()}{eol * 2}******{eol * 2}{text[place:]}", summary)
    gaps = [
        m.span()
        for m in _BLANK.finditer(text)
        if text[: m.start()].strip() and text[m.end() :].strip()
    ]
    if len(gaps) == 1 and not second and _are_alike(text[: gaps[0][0]], text[gaps[0][1] :]):
        (a, b), eol = gaps[0], newline(text)
        yield Edit(f"{text[:a]}{eol * 2}******{eol * 2}{text[b:]}", summary)
    raise CannotFix("the text does not have two responses")


def _are_alike(first: str, second: str) -> bool:
    """Whether two paragraphs can be two answers: of like length, and the second does not go on from the first."""
    sizes = sorted((len(first.split()), len(second.split())))
    return 3 * sizes[0] >= sizes[1] and not _GOES_ON.match(second.lstrip())


def _paragraph_starts(text: str, start: int, end: int) -> list[int]:
    """Where blocks between blank lines begin."""
    codes = code_spans(text)
    places = [start, *(m.end() for m in _BLANK.finditer(text, start, end))]
    return [p for p in places if p < end and not any(a < p < b for a, b in codes)]


def _line_starts(text: str, start: int, end: int) -> list[int]:
    return [
        line.start
        for line in lines(text)
        if start <= line.start < end and line.kind not in ("blank", "code")
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
