"""The fix of `punctuation:no_comma`.

I met Ann, who paints. -> I met Ann who paints.       1,000 -> 1000    1,5 kg -> 1.5 kg    1,2,3 -> 1; 2; 3
tea, milk, and sugar   -> tea and milk and sugar, or tea; milk; and sugar: which of them is drawn
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

from spar.rewrite.code import code_spans
from spar.rewrite.edits import Arguments, CannotFix, Context, Edit
from spar.rewrite.layout import ADDRESS, finditer_outside_code, map_outside_code

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
_SERIES = re.compile(
    r"[\w'’-]+(?:[ ][\w'’-]+){0,2}(?:,[ ][\w'’-]+(?:[ ][\w'’-]+){0,2})+,?[ ](?:and|or)\b"
)
_NO_ITEM = re.compile(
    r"(?:who|whom|which|whose|where|when|while|but|so|because|although|though|as|if|including|such|especially|even|not"
    r"|then|yet|like|is|are|was|were|has|have|had|can|could|will|would|should|may|might|must|do|does|did)\b",
    re.IGNORECASE,
)
"""What follows a comma that is none of a series."""
_APPOSITION = re.compile(r"(?!.*\ban?\b.*,)[^,]+, an? [^,]+", re.IGNORECASE)
"""What may be one thing, "Nemo, a bold and bright fish", or two."""
_OPENING = re.compile(
    r"(?:(?:in|on|at|by|for|from|with|without|after|before|during|since|until|under|over|through|throughout|to|if|when"
    r"|whenever|while|as|because|although|though|unless|once|where|first|second|third|next|then|now|today|yesterday"
    r"|tomorrow|finally|also|however|moreover|furthermore|therefore|thus|hence|instead|meanwhile|overall|still"
    r"|sometimes|often|yes|no|well|oh|dear|so|here|there|afterwards|later|soon|indeed|otherwise|besides|nevertheless)\b"
    r"|\w+(?:ly|ing)\b)",
    re.IGNORECASE,
)
"""How a phrase before a sentence's subject begins."""
_CLAUSE = re.compile(
    r"(?:if|when|whenever|while|as|because|although|though|unless|once|where|after|before|since|until)\b",
    re.IGNORECASE,
)
"""What may begin a clause, which says something in fewer words."""
MOST_OPENING = 4
"""Words of a phrase that begins so and surely ends at the comma; more may be a sentence with a series."""
_BEFORE_SPACE = re.compile(r"[ \t]*,+(?=\s|$)|,+(?=[\"'”’)\]*_.!?:;])")
_BETWEEN = re.compile(r",+")


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
    styles: list[Callable[[re.Match[str]], str]] = [_with_conjunctions, _with_semicolons]
    context.rng.shuffle(styles)
    summary = "removed the comma" if number == 1 else f"removed {number} commas"
    for style in styles:
        yield Edit(map_outside_code(text, partial(_without, series=style)), summary)


def _without(text: str, series: Callable[[re.Match[str]], str]) -> str:
    text = _NUMBER.sub(lambda match: _number(match) or match.group(), text)
    text = _SERIES.sub(partial(_separated, series=series), text)
    return _BETWEEN.sub(" ", _BEFORE_SPACE.sub("", text))


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


def _separated(match: re.Match[str], series: Callable[[re.Match[str]], str]) -> str:
    """A series with another separator; commas that are not between items are left, to be removed."""
    written, text = match.group(), match.string
    if any(_NO_ITEM.match(item) for item in written.split(", ")[1:]):
        return written
    if _APPOSITION.fullmatch(written):
        return _with_semicolons(match)
    head = re.split(r"[.!?:;,\n]", text[: match.start()])[-1] + written.partition(",")[0]
    words = head.strip(" \t\"'“‘(*_#>-•")
    if not _OPENING.match(words):
        return series(match)
    if len(words.split()) > MOST_OPENING - (_CLAUSE.match(words) is not None):
        return _with_semicolons(match)
    opening, _, rest = written.partition(", ")
    inner = _SERIES.fullmatch(rest)
    return f"{opening} {_separated(inner, series) if inner else rest}"


def _with_conjunctions(match: re.Match[str]) -> str:
    items, conjunction = _series(match)
    return f" {conjunction} ".join(items) + f" {conjunction}"


def _with_semicolons(match: re.Match[str]) -> str:
    return match.group().replace(",", ";")


def _series(match: re.Match[str]) -> tuple[list[str], str]:
    conjunction = "or" if match.group().endswith("or") else "and"
    inner = match.group()[: -len(conjunction)].rstrip(" ").rstrip(",")
    return inner.split(", "), conjunction
