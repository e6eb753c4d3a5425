"""Fixes of the marks of a response: bullets and highlights. The words stay; which of them get a mark is drawn."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise

from spar.rewrite.code import block_spans
from spar.rewrite.cuts import cut_sentences
from spar.rewrite.edits import Arguments, CannotFix, Context, Edit, body
from spar.rewrite.english.vocabulary import FUNCTION_WORDS
from spar.rewrite.layout import (
    Line,
    Span,
    finditer_outside_code,
    is_item_start,
    is_protected,
    lines,
    newline,
    sentences,
)

_STAR = re.compile(r"^(?P<indent>\s*)\*[^\*].*$", re.MULTILINE)
_DASH = re.compile(r"^(?P<indent>\s*)-.*$", re.MULTILINE)
_NUMBERED = re.compile(r"^([ \t]*)\d{1,3}[.)](?=[ \t]+\S)", re.MULTILINE)
_OTHER_BULLET = re.compile(r"^([ \t]*)(?:[•‣◦▪●○](?=[ \t]*\S)|\+(?=[ \t]+\S))", re.MULTILINE)
"""Marks of list items that IFEval's verifier does not count."""
_RULE_OF_DASHES = re.compile(r"^([ \t]*)-{3,}([ \t]*)(?=\r?$)", re.MULTILINE)
_CONTENT = re.compile(r"[^\W\d_]{4,}(?:[-'’][^\W\d_]+)?(?:[ ][^\W\d_]{4,})?")


def bullets(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Make lines or sentences into bullets, or join surplus ones to those before them."""
    yield from _to_number(text, int(arguments["num_bullets"]), context)


def _to_number(text: str, needed: int, context: Context) -> Iterator[Edit]:
    present = sorted(m.span() for pattern in (_STAR, _DASH) for m in pattern.finditer(text))
    if any(a < stop and start < b for a, b in present for start, stop in block_spans(text)):
        raise CannotFix("its code has lines that count as bullets")
    if len(present) > needed:
        yield from _fewer_bullets(text, len(present) - needed, context)
    else:
        yield from _more_bullets(text, needed - len(present), present, context)


def _fewer_bullets(text: str, surplus: int, context: Context) -> Iterator[Edit]:
    rules = [*_RULE_OF_DASHES.finditer(text)]
    if rules:
        number = min(surplus, len(rules))
        changed = text
        for match in reversed(rules[-number:]):
            changed = f"{changed[: match.start()]}{match.group(1)}___{match.group(2)}{changed[match.end() :]}"
        if number == surplus:
            yield Edit(changed, "wrote a rule so that it is no bullet")
        text, surplus = changed, surplus - number
    items = [
        line
        for line in lines(text)
        if line.kind == "item" and text[line.start : line.end].lstrip()[0] in "*-"
    ]
    chosen = _joints(text, items, surplus, context.rng)
    joined = "joined two bullets" if surplus == 1 else f"joined {surplus + 1} bullets"
    if surplus > 0 and len(chosen) == surplus:
        changed = text
        for left, right in sorted(chosen, key=lambda pair: -pair[1].start):
            changed = _joined_lines(changed, left, right)
        yield Edit(changed, joined)
    last = [span for line in items[len(items) - surplus :] for span in line.sentences]
    if 0 < surplus <= len(items) and last:
        cut = cut_sentences(text, last)
        if cut.strip():
            yield Edit(cut, f"cut {surplus} bullet{'s' * (surplus > 1)}")
    raise CannotFix("its surplus bullets cannot be joined")


def _joints(
    text: str, items: Sequence[Line], surplus: int, rng: random.Random
) -> list[tuple[Line, Line]]:
    """Drawn pairs of an item and the one before it that can be one: two of a list, or an item and the only one below it."""
    before = {right: left for left, right in pairwise(items) if _are_neighbours(text, left, right)}
    left_over: list[Line] = [*items]
    joints: list[tuple[Line, Line]] = []
    while len(joints) < surplus:
        indents = [_indent(text, line) for line in left_over] + [-1]
        places = [at for at in range(1, len(left_over)) if left_over[at] in before]
        leaves = [at for at in places if indents[at + 1] <= indents[at]]
        equal = [at for at in leaves if indents[at - 1] == indents[at]]
        only = [at for at in leaves if indents[at + 1] <= indents[at - 1] < indents[at]]
        if not equal and not only:
            break
        right = left_over.pop(rng.choice(equal or only))
        joints.append((before[right], right))
    return joints


def _are_neighbours(text: str, left: Line, right: Line) -> bool:
    between = text[left.end : right.start]
    return not between.strip() and between.count("\n") <= 2


def _joined_lines(text: str, left: Line, right: Line) -> str:
    marker = re.compile(r"[ \t]*[*-][ \t]*").match(text, right.start)
    assert marker is not None
    head = text[: left.end].rstrip()
    ending = head.rstrip("*_")[-1:]
    is_below = _indent(text, right) > _indent(text, left)
    separator = " " if ending in ".!?:;" else ": " if is_below else "; "
    return head + separator + text[marker.end() :]


def _indent(text: str, line: Line) -> int:
    content = text[line.start : line.end]
    return len(content) - len(content.lstrip())


def _more_bullets(
    text: str, missing: int, present: Sequence[Span], context: Context
) -> Iterator[Edit]:
    marker = "-" if present and text[present[0][0] : present[0][1]].lstrip()[:1] == "-" else "*"
    summary = f"made {missing} part{'s' * (missing > 1)} of the text into bullets"
    start, end = body(text, context)
    for pattern, turned in (
        (_OTHER_BULLET, "wrote the marks of the bullets as asked"),
        (_NUMBERED, "made the numbered items into bullets"),
    ):
        items = [
            m for m in finditer_outside_code(pattern, text) if start <= m.start() and m.end() <= end
        ]
        if not items or (len(items) < missing and pattern is _NUMBERED):
            continue
        changed = text
        for match in reversed(items):
            after = changed[match.end() :]
            gap = "" if after[:1].isspace() else " "
            changed = f"{changed[: match.start()]}{match.group(1)}{marker}{gap}{after}"
        if len(items) == missing:
            yield Edit(changed, turned)
            continue
        # One way of several; where the surplus cannot be joined, another way may do.
        with suppress(CannotFix):
            for edit in _to_number(changed, len(present) + missing, context):
                yield Edit(edit.text, f"{turned} and {edit.summary}")
    plain = [
        line
        for line in lines(text)
        if line.kind == "prose" and start <= line.start and line.end <= end and line.sentences
    ]
    for run in _runs([(line.start, line.end) for line in plain], missing, context.rng):
        if missing > 1 or len(plain) > 2:
            yield Edit(_with_marks(text, run, marker), summary)
            break
    spans = [s for s in sentences(text, (start, end)) if not is_item_start(text, s)]
    for run in _runs(spans, missing, context.rng)[:4]:
        yield Edit(_with_marks(text, run, marker), summary)
    raise CannotFix(f"the text has no {missing} more parts for bullets")


def _runs(parts: Sequence[Span], size: int, rng: random.Random) -> list[list[Span]]:
    """Neighbouring parts, in a drawn order; not the first one where there are others."""
    order = [*range(1 if len(parts) > size else 0, len(parts) - size + 1)]
    rng.shuffle(order)
    return [list(parts[at : at + size]) for at in order] if size > 0 else []


def _with_marks(text: str, parts: Sequence[Span], marker: str) -> str:
    """The text with a mark before each part, which begins a line; what follows in the last line begins one, too."""
    eol = newline(text)
    pieces, end = [], 0
    for start, _ in parts:
        before = text[end:start]
        if start and not text[:start].rstrip(" \t").endswith("\n"):
            before = before.rstrip(" \t") + eol
        pieces += [before, f"{marker} "]
        end = start
    last = parts[-1][1]
    pieces.append(text[end:last])
    rest = text[last:]
    if rest.lstrip(" \t")[:1] not in ("", "\r", "\n") and rest[:1].isspace():
        pieces.append(eol * 2)
        rest = rest.lstrip(" \t")
    elif any(line.start == last + len(eol) and line.kind == "prose" for line in lines(text)):
        pieces.append(eol)  # else the next line would be a part of the last bullet
    return "".join([*pieces, rest])


def highlights(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Put stars around headings and drawn words."""
    single = [h for h in re.findall(r"\*[^\n\*]*\*", text) if h.strip("*").strip()]
    double = [h for h in re.findall(r"\*\*[^\n\*]*\*\*", text) if h.strip("*").strip()]
    missing = int(arguments["num_highlights"]) - len(single) - len(double)
    start, end = body(text, context)
    places = [
        span
        for line in lines(text)
        if start <= line.start
        and line.end <= end
        and line.kind in ("prose", "item")
        and "*" not in text[line.start : line.end]
        for sentence in line.sentences
        for span in _emphasis(text, sentence)
    ]
    context.rng.shuffle(places)
    if len(places) < missing:
        raise CannotFix(f"the text has only {len(places)} more words to highlight")
    for number in range(max(1, missing), min(len(places), max(1, missing) + 2) + 1):
        changed = text
        for a, b in sorted(places[:number], reverse=True):
            changed = f"{changed[:a]}*{changed[a:b]}*{changed[b:]}"
        yield Edit(changed, f"highlighted {number} part{'s' * (number > 1)} of the text")


def _emphasis(text: str, sentence: Span) -> list[Span]:
    """Words of a sentence that can be highlighted, apart from each other."""
    return [
        m.span()
        for m in _CONTENT.finditer(text, *sentence)
        if not is_protected(text, *m.span())
        and not {word.lower() for word in m.group().split()} & FUNCTION_WORDS
        and text[max(0, m.start() - 1)] not in "/.@[(<_'’-"
        and text[m.end() : m.end() + 1] not in ("/", "@", "]", ")", ">", "_")
    ]
