"""The first letter of a word that comes to stand at a sentence's beginning, or no longer stands there.

A name, an acronym, "I" and words that are written in their own way (iPhone, pH, km) keep their letters.
"""

from __future__ import annotations

import re

from spar.rewrite.english.vocabulary import (
    ADJECTIVES,
    DAYS,
    DETERMINERS,
    DROPPABLE,
    FUNCTION_WORDS,
    MONTHS,
    PREPOSITIONS,
    SYNONYMS,
)

_FIRST = re.compile(r"(?P<before>[\s*_\"“'‘(\[]*)(?P<word>[^\W_][^\s,;:!?…\"”)\]*]*)")
_UNITS = frozenset(
    "kg mg km cm mm nm ml dl kb mb kcal kwh kw rpm mph kph ms ns hz bpm px pt lb lbs oz ft yd".split()
)
_ALSO_NAMES = frozenset("may will".split())
_PLAIN = (FUNCTION_WORDS | DETERMINERS | PREPOSITIONS) - _ALSO_NAMES
_KNOWN = {*_PLAIN, *_ALSO_NAMES, *ADJECTIVES, *DROPPABLE, *SYNONYMS, *MONTHS, *DAYS}
_ALSO_ACRONYMS = frozenset("us it who am pm or".split())
_SUFFIX = re.compile(r"\w{3,}(?:ed|ing|ly|est|ness|tion|ment|able|ful|ous)")
MOST_ACRONYM = 6
"""Letters of an acronym; a longer word in capitals is emphasis."""
_CAPITALS_BEFORE = re.compile(r"(?:\b[A-Z][A-Z'’]*[ ])+\Z")
_CAPITALS_AFTER = re.compile(r"(?:[ ][A-Z][A-Z'’]*\b)+")
_PRONOUN = re.compile(r"\s+(?:i|we|you|he|she|it|they|this|that|the)\b", re.IGNORECASE)


def as_sentence_start(text: str) -> str:
    """The text with a capital at its beginning, unless its first word is not written with one."""
    match = _FIRST.match(text)
    if match is None:
        return text
    word = match["word"].rstrip(".")
    is_symbol = len(word) == 1 and word.lower() not in ("a", "i")
    if (
        is_symbol
        or word.lower() in _UNITS
        or not re.fullmatch(r"[^\W\d_A-Z](?:[a-z\W]|[^\W\d_A-Z])*", word)
    ):
        return text
    if re.search(r"\w[./@_]\w", word):  # a file or an address
        return text
    place = match.start("word")
    return text[:place] + text[place].upper() + text[place + 1 :]


def as_sentence_rest(text: str, start: int) -> str:
    """The first letter of the sentence that begins at a place of a text, as it is written inside one."""
    match = _FIRST.match(text, start)
    letter = text[start : start + 1]
    if match is None or match["before"]:
        return letter
    word = match["word"].rstrip(".")
    stem = re.split(r"['’]", word)[0]
    if stem == "I" or stem[1:] != stem[1:].lower():
        return letter
    lower = stem.lower()
    is_plain = lower in _PLAIN or (lower in _ALSO_NAMES and _PRONOUN.match(text, match.end()))
    return letter.lower() if is_plain or _is_no_name(text, stem) else letter


def is_own_spelling(word: str) -> bool:
    """Whether a word has capitals of its own (iPhone), or is a unit (km)."""
    return (word[1:] != word[1:].lower() and not word.isupper()) or word.lower() in _UNITS


def is_acronym(text: str, start: int, end: int) -> bool:
    """Whether a word in capitals is not put in them for emphasis, as far as its letters and the words around it show."""
    word = text[start:end]
    lower = re.split(r"['’]", word)[0].lower()
    if re.search(rf"\b(?:{re.escape(lower)}|{re.escape(lower.capitalize())})\b", text):
        return False
    before = _CAPITALS_BEFORE.search(text, max(0, start - 60), start)
    after = _CAPITALS_AFTER.match(text, end)
    around = (before.group() if before else "") + (after.group() if after else "")
    if len(around.split()) > 1 or (lower in _KNOWN and lower not in _ALSO_ACRONYMS):
        return False
    return len(word) <= MOST_ACRONYM and not _SUFFIX.fullmatch(lower)


def out_of_capitals(text: str, word: str, *, begins_sentence: bool) -> str:
    """A word in capitals as it is written without emphasis: "I'm" and a name that the text has keep one."""
    title = word.capitalize()
    is_name = re.search(rf"[a-z,;][ ]{re.escape(title)}\b", text) is not None
    is_pronoun = re.match(r"I['’]", word) is not None
    return title if begins_sentence or is_name or is_pronoun else word.lower()


def _is_no_name(text: str, word: str) -> bool:
    """Whether the text has a word in lower case, and never with a capital inside a sentence."""
    inside = re.search(rf"[a-z,;][ ]{re.escape(word)}\b", text)
    return inside is None and bool(re.search(rf"\b{re.escape(word.lower())}\b", text))
