"""Fixes of the case of letters: all lower, all upper, the number of words in capitals.

Code and what follows the host of an address are left as they are: a text with letters of the other case there cannot be fixed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from spar.rewrite.changes import changed
from spar.rewrite.code import code_spans
from spar.rewrite.edits import Arguments, CannotFix, Context, Edit
from spar.rewrite.english.capitals import is_acronym, is_own_spelling, out_of_capitals
from spar.rewrite.english.vocabulary import FUNCTION_WORDS
from spar.rewrite.guards import addresses, overlaps, path_of
from spar.rewrite.layout import (
    ADDRESS,
    finditer_outside_code,
    lines,
    map_outside_code,
    outside_code,
)

_WORD = re.compile(r"[^\W\d_][\w'’-]*")


def lower_case(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """All letters outside code in lower case."""
    yield _whole(text, str.lower, "put everything in lower case")


def upper_case(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """All letters outside code in upper case."""
    yield _whole(text, str.upper, "put everything in capital letters")


def _whole(text: str, change: Callable[[str], str], summary: str) -> Edit:
    if not any(letter.isalpha() for letter in text):
        raise CannotFix("the text has no letters")
    changed = map_outside_code(text, change)
    if any(change(text[a:b]) != text[a:b] for a, b in code_spans(text)):
        raise CannotFix("that would change its code, data or formulas")
    if any(change(part) != part for part in map(path_of, _addresses_of(text))):
        raise CannotFix("that would change an address")
    if changed == text:
        raise CannotFix("the case is right, and the language is not taken for English")
    return Edit(changed, summary)


def _addresses_of(text: str) -> list[str]:
    return [match.group() for match in finditer_outside_code(ADDRESS, text)]


def capital_words(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Put words in capitals, or surplus ones back into lower case."""
    frequency = int(arguments["capital_frequency"])
    words = [m for a, b in outside_code(text) for m in _WORD.finditer(text, a, b)]
    capital = [m for m in words if m.group().isupper()]
    if arguments.get("capital_relation") == "less than":
        yield from _fewer_capitals(text, capital, len(capital) - frequency + 1, context)
        return
    kept = addresses(text)
    free = [m for m in words if not m.group().isupper() and not overlaps(m.span(), kept)]
    context.rng.shuffle(free)
    # A word of more than three letters that says something reads as emphasis.
    content = sorted(free, key=lambda m: len(m.group()) <= 3 or m.group().lower() in FUNCTION_WORDS)
    content.sort(key=lambda m: is_own_spelling(m.group()))
    missing = max(1, frequency - len(capital))
    if missing > len(content):
        raise CannotFix(f"the text has {len(content)} other words, {missing} are missing")
    for number in range(missing, min(missing + 6, len(content) + 1)):
        yield Edit(
            _replaced(text, content[:number], str.upper),
            f"put {number} {'word' if number == 1 else 'words'} in capital letters",
        )


def _fewer_capitals(
    text: str, capital: list[re.Match[str]], surplus: int, context: Context
) -> Iterator[Edit]:
    starts = {line.sentences[i][0] for line in lines(text) for i in range(len(line.sentences))}
    kept = addresses(text)
    free = [
        m
        for m in capital
        if len(m.group()) > 1 and not overlaps(m.span(), kept) and not is_acronym(text, *m.span())
    ]
    context.rng.shuffle(free)
    if max(1, surplus) > len(free):
        raise CannotFix(
            "too many of its capital words are acronyms, have one letter or stand in an address"
        )

    def lowered(match: re.Match[str]) -> str:
        is_first = match.start() in starts
        return out_of_capitals(text, match.group(), begins_sentence=is_first)

    for number in range(max(1, surplus), min(max(1, surplus) + 6, len(free) + 1)):
        yield Edit(
            _substituted(text, free[:number], lowered),
            f"took {number} {'word' if number == 1 else 'words'} out of capital letters",
        )


def _replaced(text: str, matches: list[re.Match[str]], change: Callable[[str], str]) -> str:
    return _substituted(text, matches, lambda match: change(match.group()))


def _substituted(
    text: str, matches: list[re.Match[str]], replacement: Callable[[re.Match[str]], str]
) -> str:
    return changed(text, [(*match.span(), replacement(match)) for match in matches])
