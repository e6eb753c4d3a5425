"""Parses refinements out of model text. Pure; knows no engine and no tree.

A refinement is the text between `[[start]]` and `[[end]]` after the last heading `Final Refined Output`. Where no marker
follows, these words are a heading on a line of their own, before a colon or at the end: a closing remark has them too.
`refinement_text` is the inverse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from spar.errors import ParseError
from spar.templates import escape_markers, unescape_markers

_REFINED_HEADING = re.compile(r"final\s+refined\s+output", re.IGNORECASE)
_OWN_LINE = re.compile(r"[^\w\n]*(?:\n|\Z)")
_BEFORE_MORE = re.compile(r"[*_ \t]*(?:[:\[]|\Z)")
_START, _END = "[[start]]", "[[end]]"


@dataclass(frozen=True, slots=True)
class Refinement:
    """The parts of a refiner's reply."""

    reflection: str
    """The text before the refinement, without the heading."""
    response: str
    """The refined response."""


def parse_refinement(text: str) -> Refinement:
    """Parse a refiner's reflection and refined response.

    Raises
    ------
    ParseError
        A marker is missing, for instance since the text was cut off, or the refinement is empty.
    """
    headings = [
        heading
        for heading in _REFINED_HEADING.finditer(text)
        if _START in text[heading.end() :] or _is_title(text, heading)
    ]
    heading_start, search_from = headings[-1].span() if headings else (None, 0)
    start = text.find(_START, search_from)
    if start < 0:
        raise ParseError(f"the refinement lacks the marker {_START}")
    end = text.find(_END, start + len(_START))
    if end < 0:
        raise ParseError(f"the refinement lacks the marker {_END}")
    response = unescape_markers(text[start + len(_START) : end].strip())
    if not response:
        raise ParseError(f"there is no text between {_START} and {_END}")
    reflection = text[: start if heading_start is None else heading_start].strip()
    return Refinement(reflection=reflection, response=response)


def is_whole(text: str) -> bool:
    """Whether a refinement can be parsed, so that nothing of it is missing."""
    try:
        parse_refinement(text)
    except ParseError:
        return False
    return True


def refinement_text(refinement: Refinement) -> str:
    """The canonical text of a refinement, which `parse_refinement` parses to the same refinement.

    Parts that parsing discards follow the template: the spelling of the heading and the white space around
    the parts. Nothing follows the last marker, and markers inside the response are escaped.
    """
    response = escape_markers(refinement.response)
    parts = (refinement.reflection, f"Final Refined Output:\n{_START}\n{response}\n{_END}")
    return "\n".join(part for part in parts if part)


def _is_title(text: str, heading: re.Match[str]) -> bool:
    """Whether the words of the heading announce a refinement, though none begins behind them."""
    line_start = text.rfind("\n", 0, heading.start()) + 1
    begins_line = re.search(r"\w", text[line_start : heading.start()]) is None
    if begins_line and _OWN_LINE.match(text, heading.end()):
        return True
    return _BEFORE_MORE.match(text, heading.end()) is not None
