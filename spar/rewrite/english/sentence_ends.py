"""Where a sentence ends: at a stop and white space, or at a full-width stop, which needs none.

A stop does not end a sentence where a lower-case word follows, before the words that say who speaks (`"Why?" Anna asked.`),
after a number that only counts, and after an abbreviation or an initial. Where it cannot be known ("in the U.S. Tom
came") two sentences count as one: what is cut is then a whole, and never a half.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from spar.rewrite.english.vocabulary import FUNCTION_WORDS

_STOP = re.compile(
    r"[.!?…]+[\"'”’)\]*_]*(?=\s)|[。！？]+(?:[」』”’）]+(?=[\s「『“（])|(?![。！？」』”’）]))"
)
_CLOSING_QUOTES = "\"'”’"
_OPENING = "(\"'“‘*_["
_SPEAKER = re.compile(
    r"(?:[\w.'’-]+[ ]+){0,3}?(?:said|says|asked|asks|replied|replies|answered|answers|cried|cries|shouted|shouts|yelled"
    r"|whispered|whispers|exclaimed|exclaims|called|screamed|added|laughed|muttered|murmured|wondered|begged|demanded"
    r"|gasped|sighed|snapped|repeated|thought)\b",
    re.IGNORECASE,
)
_NO_END = frozenset("mr mrs ms mx dr prof messrs st mt e.g i.e cf vs viz p.s p.p.s".split())
"""Abbreviations that something always follows."""
_BEFORE_A_NUMBER = frozenset("no nos fig figs vol vols p pp ch chap sec eq art par".split())
_ABBREVIATIONS = frozenset(
    "jr sr etc inc ltd co corp bros al approx dept est gen col capt cpt cmdr lt sgt maj rev hon sen rep gov pres "
    "jan feb mar apr jun jul aug sep sept oct nov dec ave blvd rd".split()
)
"""Those that can be a sentence's last word."""
_LETTERS = re.compile(r"[^\W\d_](?:\.[^\W\d_])*")
"""An initial, or an abbreviation such as "U.S" and "a.m"."""
_FIRST_WORD = re.compile(r"[^\W\d_]+(?!\.)")
_NAMES = {"may", "will"}
"""Function words that may follow an initial as a name."""


def sentence_ends(text: str, start: int, end: int, *, is_lower: bool) -> Iterator[re.Match[str]]:
    """The stops that end a sentence of a line, with the marks that close it; the line's last sentence needs none.

    Parameters
    ----------
    is_lower:
        Whether the whole text is in lower case, so that a lower-case word can begin a sentence.
    """
    for stop in _STOP.finditer(text, start, end):
        if _is_end(text, start, stop, end, is_lower=is_lower):
            yield stop
            start = stop.end()


def _is_end(text: str, start: int, stop: re.Match[str], end: int, *, is_lower: bool) -> bool:
    following = text[stop.end() : min(end, stop.end() + 80)].lstrip().lstrip("*_")
    if not following:
        return False
    if following[0].islower() and not is_lower:
        return False
    if stop.group()[-1] in _CLOSING_QUOTES and _SPEAKER.match(following):
        return False
    return not stop.group().startswith(".") or not _is_abbreviated(
        text[start : stop.start()], following
    )


def _is_abbreviated(before: str, following: str) -> bool:
    """Whether a full stop belongs to the word before it."""
    words = before[-40:].split()
    last = words[-1].lstrip(_OPENING).lower() if words else ""
    if last in _NO_END or (last.isdigit() and len(words) == 1):
        return True
    if last in _BEFORE_A_NUMBER:
        return following[0].isdigit()
    is_letters = bool(_LETTERS.fullmatch(last)) and last != "i"
    if not is_letters and last not in _ABBREVIATIONS:
        return False
    begins = _FIRST_WORD.match(following)
    is_new = begins is not None and begins.group().lower() in FUNCTION_WORDS - _NAMES
    # A letter by itself numbers what follows it: "A. The first way".
    return not is_new or following[0].islower() or len(words) == 1
