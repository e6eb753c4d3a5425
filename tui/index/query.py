r"""Queries of prompts and responses, and which raw lines may match.

Parsing a gigabyte takes seconds, so lines are first ruled out by their raw bytes. A file may spell a
character in several ways (`é`, `\u00e9`, `\u00E9`), so the raw bytes are searched for a part of the text that
has only two spellings, both in lower case: `needles`. Lines that escape even plain letters, or contain one of
the two letters whose lower case is plain, are never ruled out.

A regular expression can take longer than anyone waits, so the package `regex` searches, which has a time limit and lets
other threads run meanwhile. What is no regular expression of `re` is refused.
"""

from __future__ import annotations

import json
import re
import time
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from spar.errors import UsageError

UNUSUAL = re.compile(rb"\\u(?:00[2-7]|212a|0130)|\xe2\x84\xaa|\xc4\xb0")
"""In lower case: an escaped plain character, the Kelvin sign or a capital dotted I."""
_TERM = re.compile(r'(?<!\S)(is:starred(?!\S)|note:(?:"[^"]*"?|\S*))')
"""A term of a search that is about marks."""
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_DOTTED = re.compile("\u0130")
SECONDS = 1.0
"""Time limit of a regular expression in the texts of one tree."""
SHOWING_SECONDS = 0.1
"""The same where only a match is to be shown that was found before, while the reader waits."""
_BRACE = re.compile(r"(?<=\[)\[(?=:)|\\N\{[^}]*\}|\\.|\{(?:\d+(?:,\d*)?|,\d*)\}|\{", re.DOTALL)
"""An escaped or named character, a number of repetitions, any other brace, in which `regex` looks for errors to allow,
or a bracket that it takes for a class of POSIX's."""


class SlowPattern(UsageError):
    """A regular expression takes too long in some text."""


@dataclass(frozen=True, slots=True)
class Query:
    """A text or a regular expression to search for."""

    text: str
    pattern: Any
    """A pattern of the package `regex`; None for a plain text."""
    ignore_case: bool
    needles: tuple[bytes, ...]
    """Every ordinary line that matches contains one of them in lower case; empty if any line may match."""

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether the prompt, its id or a response of a parsed line matches; raises `SlowPattern`."""
        if self.pattern:
            deadline = time.monotonic() + SECONDS
            return any(self.find(text, deadline - time.monotonic()) for text in texts(row))
        if self.ignore_case:
            return any(self.text in text.lower() for text in texts(row))
        return any(self.text in text for text in texts(row))

    def find(self, text: str, seconds: float = SHOWING_SECONDS) -> tuple[int, int] | None:
        """Start and end of the first match in a text; None without one.

        Raises
        ------
        SlowPattern
            It takes longer than so many seconds.
        """
        if self.pattern:
            with self._limited(seconds) as limits:
                match = self.pattern.search(text, **limits)
            return match.span() if match else None
        return next(self._plain_spans(text), None)

    def find_all(self, text: str, seconds: float = SHOWING_SECONDS) -> Iterator[tuple[int, int]]:
        """Start and end of every match in a text that is not empty; raises `SlowPattern` as `find` does."""
        if self.pattern:
            with self._limited(seconds) as limits:
                matches = self.pattern.finditer(text, **limits)
                yield from (match.span() for match in matches if match[0])
        elif self.text:
            yield from self._plain_spans(text)

    def _plain_spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end in the text itself of every match of a plain text."""
        searched, size = (text.lower() if self.ignore_case else text), len(self.text)
        dots = _second_letters(text) if len(searched) > len(text) else ()
        start = searched.find(self.text)
        while start >= 0:
            last = start + size - 1
            yield start - bisect_right(dots, start), last - bisect_right(dots, last) + 1
            start = searched.find(self.text, start + max(size, 1))

    @contextmanager
    def _limited(self, seconds: float) -> Iterator[dict[str, Any]]:
        try:
            yield {"timeout": max(seconds, 0.001), "concurrent": True}
        except TimeoutError:
            raise SlowPattern("this expression is too slow; use a simpler one") from None

    def candidate(self, lowered: bytes, start: int) -> int:
        """The first offset at or after `start`, in raw lines in lower case, that may be a match.

        Returns the length if there is none.
        """
        if not self.needles:
            return start
        end = len(lowered)
        for needle in self.needles:  # never further than the nearest one so far
            start_of = lowered.find(needle, start, end + len(needle) - 1)
            end = start_of if start_of >= 0 else end
        unusual = UNUSUAL.search(lowered, start, end)
        return unusual.start() if unusual else end


@dataclass(frozen=True, slots=True)
class MarkTerms:
    """What a search asks of the marks that a reader put on trees."""

    starred: bool = False
    """`is:starred`"""
    notes: tuple[str, ...] = ()
    """A text of each `note:word` or `note:"two words"`, in lower case; `note:` finds every note."""

    def __bool__(self) -> bool:
        """Whether anything is asked."""
        return self.starred or bool(self.notes)

    def match(self, *, star: bool, note: str) -> bool:
        """Whether a tree with this star and note is meant."""
        folded = note.lower()
        has_notes = bool(note) and all(text in folded for text in self.notes)
        return (star or not self.starred) and (has_notes or not self.notes)


def split_marks(text: str) -> tuple[MarkTerms, str]:
    """What a plain search asks of stars and notes, and the text that is left: `is:starred note:odd a comma`."""
    notes: list[str] = []
    starred = False
    rest = []
    for term in _TERM.split(text):
        if term == "is:starred":
            starred = True
        elif term.startswith("note:") and _TERM.fullmatch(term):
            notes.append(term.removeprefix("note:").strip('"').lower())
        else:
            rest.append(term)
    terms = MarkTerms(starred, tuple(notes))
    return terms, " ".join("".join(rest).split()) if terms else text


@lru_cache(maxsize=8)
def query(text: str, regex: bool) -> Query:
    """Compile a query; case matters only if the text has capitals.

    Raises
    ------
    UsageError
        It is not a valid regular expression.
    """
    letters = _ESCAPE.sub("", text) if regex else text
    ignore_case = letters == letters.lower()
    if not regex:
        return Query(text, None, ignore_case, _needles(text, ignore_case))
    import regex as regex_package

    flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(text, flags)
            pattern = regex_package.compile(_BRACE.sub(_plain_brace, text), flags)
            return Query(text, pattern, ignore_case, ())
    except (re.error, regex_package.error, OverflowError, RecursionError) as error:
        raise UsageError(f"{text!r} is not a valid regular expression: {error}") from error


def _plain_brace(match: re.Match[str]) -> str:
    return f"\\{match[0]}" if match[0] in ("{", "[") else match[0]


def _second_letters(text: str) -> list[int]:
    """Where the lower case of a text has one letter more than the text: that of a capital dotted I alone is two."""
    return [match.start() + count for count, match in enumerate(_DOTTED.finditer(text), start=1)]


def texts(row: Mapping[str, Any]) -> Iterator[str]:
    """The texts of a parsed line: the prompt's id and turns, and the responses."""
    prompt = row.get("prompt")
    if isinstance(prompt, dict):
        yield from _strings([prompt], "id")
        yield from _strings(prompt.get("messages"), "content")
    yield from _strings(row.get("nodes"), "response")


def _strings(items: Any, name: str) -> Iterator[str]:
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and isinstance(value := item.get(name), str):
            yield value


def _needles(text: str, ignore_case: bool) -> tuple[bytes, ...]:
    """The two spellings of the longest part of a text that has only two."""
    parts, part = [""], ""
    for character in text:
        part = part + character if _is_plain(character, ignore_case) else ""
        parts.append(part)
    longest = max(parts, key=len)
    spellings = (json.dumps(longest)[1:-1].encode("ascii"), longest.encode("utf-8"))
    return tuple(dict.fromkeys(spelling.lower() for spelling in spellings)) if longest else ()


def _is_plain(character: str, ignore_case: bool) -> bool:
    """Whether JSON can spell the character only as itself or as `\\uXXXX`."""
    if character.isascii():
        return character.isprintable() and character not in '"\\/'
    cased = character.lower() != character or character.upper() != character
    return character.isalnum() and not (ignore_case and cased)
