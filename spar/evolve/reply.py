"""A teacher's reply taken apart: the constraints it names and the prompt it wrote. Pure.

    Constraints: length/words; style/humour
    [[start]]
    (the new prompt)
    [[end]]

or the one word None. What decides is strict: both markers, a prompt between them, the main constraint among
those named. What does not is read kindly: words around it, other separators, names in another dress. The
last pair of markers counts, so a teacher may think aloud before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from spar.errors import ParseError
from spar.evolve.taxonomy import KINDS, find
from spar.templates import unshield

START, END = "[[start]]", "[[end]]"
_HEADING = re.compile(r"^\W*constraints?(?:\s+used)?\W*:", re.IGNORECASE | re.MULTILINE)
_NONE = re.compile(r"\W*none\b|(?:.*\n)?\W*none\W*\Z", re.IGNORECASE | re.DOTALL)
"""It opens with the word, or ends in a line of it."""
_ONLY_NONE = re.compile(r"\W*none\W*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a teacher wrote."""

    prompt: str
    constraints: tuple[str, ...]
    """Ids of kinds, or names of groups where no kind was named; the main one first, each once."""
    unknown: tuple[str, ...] = ()
    """Names that the taxonomy does not have."""


def parse_reply(text: str, main: str) -> Reply | None:
    """Read a teacher's reply; None where it says that the prompt is none to be rewritten.

    Parameters
    ----------
    main:
        Id of the constraint that it was told to use.

    Raises
    ------
    ParseError
        A marker or the line of constraints is missing, nothing stands between the markers, or the main
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
    prompt = unshield(text[start + len(START) : end].strip())
    if not prompt:
        raise ParseError(f"nothing stands between {START} and {END}")
    if _ONLY_NONE.fullmatch(prompt):
        return None
    constraints, unknown = _constraints(text[:start], main)
    return Reply(prompt, constraints, unknown)


def _constraints(before: str, main: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    headings = list(_HEADING.finditer(before))
    if not headings:
        raise ParseError("the reply lacks the line of constraints")
    written = re.split(r"[;,\n]", before[headings[-1].end() :])
    named = {name.strip(): find(name) for name in written if re.search(r"\w", name)}
    known = dict.fromkeys(one for one in named.values() if one is not None)
    group = KINDS[main].group
    if main not in known and group not in known:
        raise ParseError(f"the main constraint {main} is not among those named")
    known.pop(group, None)  # it names the group for the kind that was asked for
    others = [one for one in known if one != main]
    return (main, *others), tuple(name for name, one in named.items() if one is None)
