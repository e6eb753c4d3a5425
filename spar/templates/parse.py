"""Verdicts and refinements out of model text. Pure; knows no engine and no tree.

A verdict is the first whole word Yes or No after the *last* `Final Judgement` in the text. The
official scripts read the first one; the last is the judge's own even when it quoted another before
it. A refinement stands between `[[start]]` and `[[end]]` after the last `Final Refined Output`.
`refinement_text` is the way back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from spar.errors import ParseError
from spar.templates import shield, unshield

_VERDICT_HEADING = re.compile(r"final\s+judge?ment", re.IGNORECASE)
_VERDICT = re.compile(r"(?<![^\W_])(yes|no)(?![^\W_])", re.IGNORECASE)
_REFINED_HEADING = re.compile(r"final\s+refined\s+output", re.IGNORECASE)
_START, _END = "[[start]]", "[[end]]"


@dataclass(frozen=True, slots=True)
class Refinement:
    """What a refiner wrote, taken apart."""

    reflection: str
    """Text before the refinement, without the heading."""
    response: str
    """The refined response."""


def parse_verdict(text: str) -> bool | None:
    """Read a judge's verdict: True for yes, False for no, None where there is none."""
    found = find_verdict(text)
    return None if found is None else text[slice(*found)].casefold() == "yes"


def find_verdict(text: str) -> tuple[int, int] | None:
    """Character span of the deciding Yes or No, None where there is none."""
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
    """Read a refiner's reflection and refined response.

    Raises
    ------
    ParseError
        A marker is missing (the text was cut, for instance) or nothing stands between the two.
    """
    headings = list(_REFINED_HEADING.finditer(text))
    heading_start, search_from = headings[-1].span() if headings else (None, 0)
    start = text.find(_START, search_from)
    if start < 0:
        raise ParseError(f"the refinement lacks the marker {_START}")
    end = text.find(_END, start + len(_START))
    if end < 0:
        raise ParseError(f"the refinement lacks the marker {_END}")
    response = unshield(text[start + len(_START) : end].strip())
    if not response:
        raise ParseError(f"nothing stands between {_START} and {_END}")
    reflection = text[: start if heading_start is None else heading_start].strip()
    return Refinement(reflection=reflection, response=response)


def refinement_text(refinement: Refinement) -> str:
    """The text of a refinement in its one canonical form: what `parse_refinement` reads back.

    It has the words that the refiner wrote. What reading leaves out is written as the template asks for
    it: the heading's spelling, blank space around the parts, what followed the last marker, and whether a
    marker inside the response was quoted with its shield, which here it is.
    """
    response = shield(refinement.response)
    parts = (refinement.reflection, f"Final Refined Output:\n{_START}\n{response}\n{_END}")
    return "\n".join(part for part in parts if part)
