"""The fix of `punctuation:no_comma`.

I met Ann, who paints. -> I met Ann who paints.       1,000 -> 1000    1,5 kg -> 1.5 kg    1,2,3 -> 1; 2; 3
a, b, c, and d         -> a and b as well as c and d, or a; b; c; and d: which of them is drawn

What stands in place of a comma is chosen by what it divides: `spar.rewrite.english.separators`, and `spar.rewrite.english.places` for dates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import cycle, islice, pairwise

from spar.rewrite.changes import Change, changed
from spar.rewrite.code import code_spans
from spar.rewrite.edits import Arguments, CannotFix, Context, Edit
from spar.rewrite.english.places import comma_changes
from spar.rewrite.english.separators import Join, separators
from spar.rewrite.layout import ADDRESS, finditer_outside_code

_NUMBER = re.compile(r"(?<![\w.,])(?P<currency>[$€£]?)\d+(?:\.\d{3})*(?:,\d+)+(?![\d])")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}")
"""Thousands, and lakhs and crores."""
_DOTTED = re.compile(r"\d{1,3}(?:\.\d{3})+,\d+")
_UNIT = re.compile(
    r"[ -]?(?:[%°€$£]|(?:lit(?:er|re|ro)s?|[mcd]?l|[km]?g|[mck]?m|t|km/h|mio|mrd|million(?:en)?|billion|milliarden?"
    r"|euros?|eur|usd|dollars?|stunden?|hours?|minuten?|minutes?|h|min|tage?|jahre?|years?|prozent|percent|grad"
    r"|degrees?|kilo(?:gramm)?s?|gramm|grams?|meter|metres?|tassen?|cups?)\b)",
    re.IGNORECASE,
)
_OF_SEVERAL = re.compile(
    r"\b(?:rooms|pages|chapters|lines|numbers|steps|questions|items|verses|figures|tables|exercises|sections|seats)[ ]\Z",
    re.IGNORECASE,
)
_DAY = re.compile(r"\b(?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?[ ]\Z")
_QUOTED = re.compile(r"[\"“][^\"“”\n,.!?;:]{1,40}[\"”]")
_QUOTE_AFTER = re.compile(r",?[ ]*(?:(?:and|or)[ ])?[\"“]")
_QUOTE_BEFORE = re.compile(r"[\"”],?[ ]*(?:(?:and|or)[ ])?\Z")
_GAP_FREE = re.compile(r"\s|$|['”’)\]*_.!?:;]|\"(?!\w)")
"""What stands right after a mark without a space."""
MOST_WITH_AND = 3
"""Items that are joined by "and" alone; more of them in pairs, or by semicolons."""


def no_comma(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Remove commas without making double spaces; the items of a series get another separator."""
    if any("," in text[a:b] for a, b in code_spans(text)):
        raise CannotFix("its code, data or formulas have commas")
    if any("," in m.group() for m in finditer_outside_code(ADDRESS, text)):
        raise CannotFix("an address in it has commas")
    for match in finditer_outside_code(_NUMBER, text):
        if _number(match) is None:
            raise CannotFix(f"{match.group()} may be one number or two")
    number = text.count(",")
    styles: list[Join] = [_with_words, _with_semicolons]
    context.rng.shuffle(styles)
    summary = "removed the comma" if number == 1 else f"removed {number} commas"
    for style in (*styles, _with_semicolons_alone):
        yield Edit(_without(text, style), summary)


def _without(text: str, join: Join) -> str:
    """The text with another mark, a word or nothing in place of every comma."""
    masked = _masked(text)
    changes: list[Change] = []
    for match in _NUMBER.finditer(masked):
        changes.append((*match.span(), _number(match) or match.group()))
    masked = _NUMBER.sub(lambda match: "0" * len(match.group()), masked)
    for start, end, new in comma_changes(masked):
        changes.append((start, end, new))
        masked = masked[:start] + masked[start:end].replace(",", "_") + masked[end:]
    for start, end, mark in separators(masked, join):
        gap = "" if _GAP_FREE.match(text, end) else " "
        changes.append((start, end, (mark.upper() if text.isupper() else mark) + gap))
    return changed(text, changes)


def _masked(text: str) -> str:
    """The text, as long as it is, with letters in place of code and of words in quotation marks that are items of a series."""
    spans = [*code_spans(text)]
    if '"' in text or "“" in text:
        spans += [
            match.span()
            for match in _QUOTED.finditer(text)
            if _QUOTE_AFTER.match(text, match.end())
            or _QUOTE_BEFORE.search(text[max(0, match.start() - 9) : match.start()])
        ]
    for start, end in spans:
        filler = "\n" if "\n" in text[start:end] else "x"
        text = text[:start] + filler * (end - start) + text[end:]
    return text


def _with_words(number: int, word: str) -> list[str]:
    """ "and" between few items, else pairs: a and b plus c and d as well as e and f."""
    if word.lower() not in ("and", "as well as") or number <= MOST_WITH_AND:
        return [f" {word}"] * (number - 1)
    joints = [" and", " as well as", *islice(cycle((" and", " plus")), number - 3)]
    return joints[::-1]


def _with_semicolons(number: int, word: str) -> list[str]:
    """The same between few items, else semicolons."""
    return _with_words(number, word) if number <= MOST_WITH_AND else [";"] * (number - 1)


def _with_semicolons_alone(number: int, word: str) -> list[str]:
    """Where another constraint has no room for a word more."""
    return [";"] * (number - 1)


def _number(match: re.Match[str]) -> str | None:
    """A number without commas, or numbers with another separator; None where it can be both."""
    written = match.group()
    digits = written.lstrip("$€£")
    groups = digits.split(",")
    before, after = match.string[: match.start()], match.string[match.end() :]
    is_several = _OF_SEVERAL.search(before) is not None
    if is_several:
        return written.replace(",", "; ")
    if _DOTTED.fullmatch(digits):
        return written.replace(".", "").replace(",", ".")
    if len(groups) == 2 and groups[0] == "0":
        return written.replace(",", ".")
    in_a_row = all(int(b) - int(a) == 1 for a, b in pairwise(groups) if a.isdigit())
    if _GROUPED.fullmatch(digits) and not (in_a_row and len(groups) > 2):
        return written.replace(",", "")
    if _DAY.search(before) and len(groups) == 2 and len(groups[1]) == 4:
        return written.replace(",", " ")
    if len(groups) == 2 and (match.group("currency") or _UNIT.match(after)):
        return written.replace(",", ".")
    return written.replace(",", "; ") if len(groups) > 2 or in_a_row else None
