"""Parses verdicts and refinements out of model text. Pure; knows no engine and no tree.

A verdict is the first whole word Yes or No after the *last* `Final Judgement` in the text. The
official scripts read the first one; the last is the judge's own even if it quoted another before. A
refinement is the text between `[[start]]` and `[[end]]` after the last `Final Refined Output`.
`refinement_text` is the inverse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from spar.errors import ParseError
from spar.templates import escape_markers, unescape_markers

_VERDICT_HEADING = re.compile(r"final\s+judge?ment", re.IGNORECASE)
_VERDICT = re.compile(r"(?<![^\W_])(yes|no)(?![^\W_])", re.IGNORECASE)
_REFINED_HEADING = re.compile(r"final\s+refined\s+output", re.IGNORECASE)
_START, _END = "[[start]]", "[[end]]"


@dataclass(frozen=True, slots=True)
class Refinement:
    """The parts of a refiner's reply."""

    reflection: str
    """The text before the refinement, without the heading."""
    response: str
    """The refined response."""


def parse_verdict(text: str) -> bool | None:
    """Parse a judge's verdict: True for yes, False for no, None if there is none."""
    span = find_verdict(text)
    return None if span is None else text[slice(*span)].casefold() == "yes"


def find_verdict(text: str) -> tuple[int, int] | None:
    """The character span of the deciding Yes or No; None if there is none."""
    headings = list(_VERDICT_HEADING.finditer(text))
    if not headings:
        return None
    match = _VERDICT.search(text, headings[-1].end())
    if match is None or (len(headings) > 1 and _is_choice(text, headings[-2].end(), match)):
        return None
    return match.span()


def _is_choice(text: str, start: int, match: re.Match[str]) -> bool:
    # "Final Judgement: Yes if ..., otherwise Final Judgement: No" on one line is the request, repeated.
    before = _VERDICT.search(text, start, match.start())
    one_line = "\n" not in text[start : match.start()]
    return one_line and before is not None and before[0].casefold() != match[0].casefold()


def parse_refinement(text: str) -> Refinement:
    """Parse a refiner's reflection and refined response.

    Raises
    ------
    ParseError
        A marker is missing, for instance since the text was cut off, or the refinement is empty.
    """
    headings = list(_REFINED_HEADING.finditer(text))
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


def refinement_text(refinement: Refinement) -> str:
    """The canonical text of a refinement, which `parse_refinement` parses to the same refinement.

    Parts that parsing discards follow the template: the spelling of the heading and the white space around
    the parts. Nothing follows the last marker, and markers inside the response are escaped.
    """
    response = escape_markers(refinement.response)
    parts = (refinement.reflection, f"Final Refined Output:\n{_START}\n{response}\n{_END}")
    return "\n".join(part for part in parts if part)
