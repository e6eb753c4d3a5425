"""Parses a teacher's reply: the constraints it names and the prompt it wrote. Pure.

    Constraints: length/words; style/humour
    [[start]]
    (the new prompt)
    [[end]]

or the single word None. Required are both markers, a prompt between them, and the main constraint among those
named. The rest is parsed leniently: surrounding text, other separators, names in other spellings. The last pair
of markers counts, so that a teacher may reason before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from spar.errors import ParseError
from spar.evolve.taxonomy import CONSTRAINT_TYPES, match_name
from spar.templates import unescape_markers

START, END = "[[start]]", "[[end]]"
_HEADING = re.compile(r"^\W*constraints?(?:\s+used)?\W*:", re.IGNORECASE | re.MULTILINE)
_NONE = re.compile(r"\W*none\b|(?:.*\n)?\W*none\W*\Z", re.IGNORECASE | re.DOTALL)
"""The reply starts with the word, or its last line is the word."""
_ONLY_NONE = re.compile(r"\W*none\W*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TeacherReply:
    """A parsed reply."""

    prompt: str
    constraints: tuple[str, ...]
    """Ids of constraint types, or names of groups where no type was named; unique, the main one first."""
    unknown: tuple[str, ...] = ()
    """Names that are not in the taxonomy."""


def parse_reply(text: str, main: str) -> TeacherReply | None:
    """Parse a teacher's reply; None where it declines to rewrite the prompt.

    Parameters
    ----------
    main:
        Id of the constraint that the request asks for.

    Raises
    ------
    ParseError
        A marker or the line of constraints is missing, there is no text between the markers, or the main
        constraint is not among those named.
    """
    start = text.rfind(START)
    if start < 0:
        if _NONE.match(text):
            return None
        raise ParseError(f"the reply lacks the marker {START}")
    end = text.find(END, start)
    if end < 0:
        raise ParseError(f"the reply lacks the marker {END}")
    prompt = unescape_markers(text[start + len(START) : end].strip())
    if not prompt:
        raise ParseError(f"there is no text between {START} and {END}")
    if _ONLY_NONE.fullmatch(prompt):
        return None
    constraints, unknown = _constraints(text[:start], main)
    return TeacherReply(prompt, constraints, unknown)


def _constraints(before: str, main: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    headings = list(_HEADING.finditer(before))
    if not headings:
        raise ParseError("the reply lacks the line of constraints")
    written = re.split(r"[;,\n]", before[headings[-1].end() :])
    matches = {name.strip(): match_name(name) for name in written if re.search(r"\w", name)}
    ids = dict.fromkeys(id_ for id_ in matches.values() if id_ is not None)
    group = CONSTRAINT_TYPES[main].group
    if main not in ids and group not in ids:
        raise ParseError(f"the main constraint {main} is not among those named")
    ids.pop(group, None)  # the reply names the group in place of the requested type
    others = [id_ for id_ in ids if id_ != main]
    return (main, *others), tuple(name for name, id_ in matches.items() if id_ is None)
