"""What an edit must leave whole: addresses, and pairs of brackets, quotation marks and marks of emphasis."""

from __future__ import annotations

import re

from spar.rewrite.layout import ADDRESS, Span

_PATH = re.compile(r"(?:[a-z]+://)?[^/?#]*(?P<path>.*)", re.IGNORECASE | re.DOTALL)
_BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"), ("“", "”"), ("«", "»"))
_MARKS = ('"', "`", "**", "__", "~~")


def addresses(text: str) -> list[Span]:
    """Where addresses stand."""
    return [match.span() for match in ADDRESS.finditer(text)]


def overlaps(span: Span, others: list[Span]) -> bool:
    """Whether a place touches one of others."""
    return any(start < span[1] and span[0] < end for start, end in others)


def path_of(address: str) -> str:
    """What follows the host, where the case of letters matters."""
    match = _PATH.match(address)
    return match.group("path") if match else ""


def unclosed(text: str) -> int:
    """How many brackets, quotation marks and marks of emphasis are open at the text's end."""
    brackets = sum(max(0, text.count(a) - text.count(b)) for a, b in _BRACKETS)
    return brackets + sum(text.count(mark) % 2 for mark in _MARKS)
