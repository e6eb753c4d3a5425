"""The fix of `punctuation:no_comma`.

I met Ann, who paints. -> I met Ann who paints.       1,000 -> 1000
tea, milk, and sugar   -> tea and milk and sugar, or tea; milk; and sugar: which of them is drawn
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from spar.rewrite.edits import Arguments, CannotFix, Context, Edit
from spar.rewrite.layout import code_spans, map_outside_code

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SERIES = re.compile(
    r"[\w'’-]+(?:[ ][\w'’-]+){0,2}(?:,[ ][\w'’-]+(?:[ ][\w'’-]+){0,2})+,?[ ](?:and|or)\b"
)
_BEFORE_SPACE = re.compile(r"[ \t]*,+(?=\s|$)|,+(?=[\"'”’)\]*_.!?:;])")
_BETWEEN = re.compile(r",+")


def no_comma(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Remove commas without making double spaces; the items of a series get another separator."""
    if any("," in text[a:b] for a, b in code_spans(text)):
        raise CannotFix("its code has commas")
    number = text.count(",")
    styles: list[Callable[[re.Match[str]], str]] = [_with_conjunctions, _with_semicolons]
    context.rng.shuffle(styles)
    summary = "removed the comma" if number == 1 else f"removed {number} commas"
    for style in styles:
        yield Edit(map_outside_code(text, partial(_without, series=style)), summary)


def _without(text: str, series: Callable[[re.Match[str]], str]) -> str:
    text = _SERIES.sub(series, _THOUSANDS.sub("", text))
    return _BETWEEN.sub(" ", _BEFORE_SPACE.sub("", text))


def _with_conjunctions(match: re.Match[str]) -> str:
    items, conjunction = _series(match)
    return f" {conjunction} ".join(items) + f" {conjunction}"


def _with_semicolons(match: re.Match[str]) -> str:
    return match.group().replace(",", ";")


def _series(match: re.Match[str]) -> tuple[list[str], str]:
    conjunction = "or" if match.group().endswith("or") else "and"
    inner = match.group()[: -len(conjunction)].rstrip(" ").rstrip(",")
    return inner.split(", "), conjunction
