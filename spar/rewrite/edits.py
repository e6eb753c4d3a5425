"""What a fix is: a function from a response to edits, each of which should meet one constraint.

    def no_comma(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]: ...

A fix yields its edits best first and makes the next one only when it is asked for. It need not verify: `spar.rewrite.search`
takes the first edit that the verifiers accept. It is pure but for its draws from `context.rng`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spar.own_verifiers import count_sentences
from spar.verifiers import Constraint

Arguments = Mapping[str, Any]
"""A constraint's keyword arguments."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A response after an edit."""

    text: str
    """The whole response."""
    summary: str
    """What was changed, as it goes on after "I": "removed 3 commas"."""


class CannotFix(Exception):
    """A fix has no edit to offer; its text says why, and goes on after the constraint's name."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a fix may look at beside the response."""

    prompt: str
    """Text of the prompt's last turn."""
    constraints: Sequence[Constraint]
    """Every constraint of the prompt: what other fixes have framed the response with is not cut."""
    rng: random.Random
    """Draws where there is freedom: which sentence, which word, which place."""
    num_sentences: Callable[[str], int] = count_sentences
    """The sentences of a text as the prompt's verifier counts them."""

    def arguments(self, name: str) -> Arguments | None:
        """The arguments of the first constraint of a type, None where the prompt has none."""
        return next((arguments for other, arguments in self.constraints if other == name), None)

    def cased(self, addition: str) -> str:
        """Text that is to be added, in the case that the whole response has to be in."""
        if self.arguments("change_case:english_lowercase") is not None:
            return addition.lower()
        if self.arguments("change_case:english_capital") is not None:
            return addition.upper()
        return addition


Fix = Callable[[str, Arguments, Context], Iterator[Edit]]
"""A fix of one type of constraint; raises `CannotFix` where there is nothing to edit."""

POSTSCRIPTS = {
    "P.P.S": re.compile(r"\bp\.\s?p\.\s?s", re.IGNORECASE),
    "P.S.": re.compile(r"\bp\.\s?s\.", re.IGNORECASE),
}
"""Marker of a postscript to the pattern that IFEval's verifier searches for."""
TITLE = re.compile(r"<<[^\n]+>>")
"""A title as IFEval's verifier searches for it."""


def body(text: str, context: Context) -> tuple[int, int]:
    """Start and end of what may be cut: without quotation marks, title, repeated prompt, postscript, closing phrase.

    Only what a constraint of the prompt asks for is taken off.
    """
    start, end = _stripped(text, 0, len(text))
    if context.arguments("startend:quotation") is not None and end - start > 1:
        start += text[start] == '"'
        end -= text[end - 1] == '"'
    for opening in _openings(context):
        start, end = _stripped(text, start, end)
        if opening and text[start : start + len(opening)].lower() == opening.lower():
            start += len(opening)
    if context.arguments("detectable_format:title") is not None:
        title = TITLE.match(text, _stripped(text, start, end)[0], end)
        start = title.end() if title else start
    for closing in _closings(context):
        start, end = _stripped(text, start, end)
        before = text[start:end].rstrip('"')
        if closing and before.lower().endswith(closing.lower()):
            end = start + max(0, len(before) - len(closing))
    start, end = _stripped(text, start, end)
    marker = (context.arguments("detectable_content:postscript") or {}).get("postscript_marker")
    found = last_postscript(text[start:end], marker) if isinstance(marker, str) else None
    return _stripped(text, start, end if found is None else start + found)


def last_postscript(text: str, marker: str) -> int | None:
    """Where the last postscript begins at a line's start."""
    pattern = POSTSCRIPTS.get(marker) or re.compile(re.escape(marker), re.IGNORECASE)
    places = [
        m.start()
        for m in pattern.finditer(text)
        if not text[: m.start()].rpartition("\n")[2].strip()
    ]
    return places[-1] if places else None


def _openings(context: Context) -> list[str]:
    repeated = (context.arguments("combination:repeat_prompt") or {}).get("prompt_to_repeat")
    story = (context.arguments("nano:story") or {}).get("first_sentence")
    return [str(text).strip() for text in (repeated, story) if text]


def _closings(context: Context) -> list[str]:
    phrase = (context.arguments("startend:end_checker") or {}).get("end_phrase")
    story = (context.arguments("nano:story") or {}).get("last_sentence")
    return [str(text).strip() for text in (phrase, story) if text]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
