"""What a word is where it stands, as far as its neighbours show it: a noun, a verb, a name, or not known.

There is no tagger behind it. A noun follows an article, an adjective that is known as one, or a preposition; a verb follows
a pronoun, a modal or "to". Where that does not decide, the answer is None, and the word is better left as it is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from spar.rewrite.english.vocabulary import (
    ADJECTIVES,
    DETERMINERS,
    FUNCTION_WORDS,
    KEPT_LY,
    NOUN_SYNONYMS,
    PLURALS,
    PREPOSITIONS,
    VERB_BEFORE,
)
from spar.rewrite.layout import Span

WORD = re.compile(r"[^\W_](?:[\w'’-]*[^\W_])?")
_SENTENCE_START = re.compile(
    r"(?:[.!?…][\"'”’)*_]*\s+|\n)[ \t]*(?:(?:[*+•>-]|#+|\d{1,3}[.)])[ \t]+)*[\"'“‘(*_]*\Z"
)
_PASTS = """
    arose ate became began blew bought broke brought built came caught chose did drank drove fell fought found flew gave got grew had heard
    held kept knew led lost made meant met paid ran rang rode said sang sat sent sank shone shook slept sold
    spent spoke stood swam taught threw told took understood was went were woke won wore wrote
""".split()
_TRANSITIVE_PASTS = frozenset(_PASTS) - frozenset(
    "became came did fell flew got grew had rang sat slept stood was went were woke".split()
)
_ADVERBS = frozenset(
    "abroad ago ahead alone apart around aside away back deep early east fast forever forward hard home indoors inside late long "
    "north outdoors outside overseas south today tomorrow tonight twice underneath upstairs west yesterday".split()
)
"""Words without "-ly" that may be adverbs."""
_PARTICIPLES = """
    become been begun bought brought built caught chosen come cut done drunk eaten fallen felt flown found forgotten given gone got
    grown had heard held hidden hit kept known led left lost made meant met paid put ridden risen run said seen sent set
    shown slept sold spent spoken stolen stood sung taken taught thought thrown told understood won worn written
""".split()
PARTICIPLE = (
    rf"(?:{'|'.join(_PARTICIPLES)}|(?:always|already|never|ever|just|not|also) \w+|\w{{2,}}ed)"
)
"""A pattern of participles, with an adverb before them."""
_COMMON_ADJECTIVES = """
    able afraid average aware black blue bright brown busy careful cheap clean clear cold common complex cool cute daily dark deep delicious
    direct dry easy empty evil expensive famous famous far full glad gold gray green grey healthy heavy hot huge human local latest loud
    low mad modern natural necessary next orange pink plain poor previous proud purple quiet ready red rough safe same second serious sharp sick
    silver similar soft solid sour spicy strange sweet tall thick thin third tiny warm weak wet white wide wild wise wrong yellow
""".split()
_ADJECTIVES = ADJECTIVES - {"another", "own"} | frozenset(_COMMON_ADJECTIVES)
ADJECTIVE = rf"(?:{'|'.join(sorted(_ADJECTIVES))}|\w{{3,}}(?:able|ible|ful|less|ous|ive|ical|ish))"
"""A pattern of words that are taken for adjectives."""
_ADJECTIVE = re.compile(ADJECTIVE, re.IGNORECASE)
_OBJECTS = frozenset("me him them us it this that these those".split())
_THIRD_PERSON = frozenset("he she it who that which".split())
_PLURAL = re.compile(r"[^s]s$")
_BREAK = re.compile(r"[.!?:;,()\n–—]")
_AUXILIARIES = frozenset(
    "is are was were has have had can could will would should may might must do does did isn't aren't wasn't weren't".split()
)
_NEAR = 60
"""Characters on either side of a word in which its neighbours are looked for."""


def neighbours(text: str, span: Span) -> tuple[str, str]:
    """The words before and after a place, in lower case, "" where the sentence or clause begins or ends there."""
    before, after = _around(text, span)
    return next(reversed(before), ""), next(iter(after), "")


def begins_sentence(text: str, start: int) -> bool:
    """Whether a sentence, a line or a list's item begins at a place."""
    before = ("\n" if start <= 40 else "x") + text[max(0, start - 40) : start]
    return _SENTENCE_START.search(before) is not None


def is_name(text: str, span: Span) -> bool:
    """Whether a word is one of a name, or an acronym: with a capital where no sentence begins, in a text that has both cases."""
    word = text[slice(*span)]
    if not word[:1].isupper() or text.isupper() or word in ("I", "I'm", "I'll", "I've", "I'd"):
        return False
    if word.isupper() and len(word) > 1:
        return not word.isalpha() or _is_acronym(word)
    following = re.match(r"[ ][A-Z][a-z]", text[span[1] : span[1] + 3])
    if begins_sentence(text, span[0]):
        if word.lower() in FUNCTION_WORDS or _is_title(text, span):
            return False
        return bool(following) or _is_name_elsewhere(text, word)
    return not _is_title(text, span)


@lru_cache(maxsize=256)
def _is_name_elsewhere(text: str, word: str) -> bool:
    """Whether a word has its capital amid a sentence, too."""
    return re.search(rf"[a-z,;] {re.escape(word)}\b", text) is not None


def _is_acronym(word: str) -> bool:
    """Whether capitals are an acronym's rather than those of a word that is stressed."""
    return word in ("US", "IT", "WHO", "AM", "PM", "OR", "IN", "AIDS") or not re.search(
        "[AEIOUY]", word
    )


def _is_title(text: str, span: Span) -> bool:
    """Whether every long word of its line has a capital, so that a capital says nothing."""
    line = text[
        text.rfind("\n", 0, span[0]) + 1 : (text.find("\n", span[1]) + 1 or len(text) + 1) - 1
    ]
    words = [word for word in WORD.findall(line) if len(word) > 3]
    return len(words) > 1 and line[-1:] not in ".,;?" and all(word[0].isupper() for word in words)


def is_part(text: str, span: Span) -> bool:
    """Whether a word is part of a longer one: a compound with a hyphen, a file's name, a tag, "and/or"."""
    before, after = text[max(0, span[0] - 2) : span[0]], text[span[1] : span[1] + 2]
    return bool(
        re.search(r"\w[-‐‑/.&+]$|[@#/\\$_]$", before)
        or re.match(r"[-‐‑/.&+]\w|[/\\_=(]|[+#]{1,2}(?!\w)", after)
    )


def is_adjective(word: str) -> bool:
    """Whether a word is known as an adjective, or ends like one."""
    return _ADJECTIVE.fullmatch(word) is not None


def part_of_speech(text: str, span: Span) -> Literal["noun", "verb", "modifier"] | None:
    """Noun, verb or what stands before a noun by what is beside the word, None where that does not show it."""
    word = text[slice(*span)].lower()
    before, after = _around(text, span)
    previous, following = next(reversed(before), ""), next(iter(after), "")
    if previous in VERB_BEFORE or (previous in _THIRD_PERSON and re.search(r"[^s]s$", word)):
        return "verb"
    if _follows_article(before) or (previous in PREPOSITIONS and previous not in ("to", "like")):
        is_head = not is_adjective(word) or word in NOUN_SYNONYMS
        return "noun" if _ends_noun(following) and is_head else "modifier"
    if following == "of" or (previous and is_adjective(previous) and _ends_noun(following)):
        return "noun"
    if not previous and following in DETERMINERS | _OBJECTS and begins_sentence(text, span[0]):
        return "verb"
    # "cats love milk" and "the cat loves milk", but "in daily use it"
    if previous in PLURALS or bool(_PLURAL.search(previous)) is not bool(_PLURAL.search(word)):
        is_object = following in DETERMINERS | _OBJECTS
        if is_object or (following and not _ends_noun(following) and not _PLURAL.search(word)):
            return "verb"
    return None


def has_object(text: str, span: Span) -> bool:
    """Whether what a verb acts on stands right after it."""
    return neighbours(text, span)[1] in DETERMINERS | _OBJECTS


def stands_for_noun(text: str, span: Span) -> Literal["whole", "head", None]:
    """Whether a noun stands there: "whole" without an article, as after "of" or before "is", "head" after one."""
    word = text[slice(*span)].lower()
    if (
        is_adjective(word)
        or (word.endswith("ly") and word not in KEPT_LY)
        or word in FUNCTION_WORDS
    ):
        return None
    if word in _PASTS or word in _PARTICIPLES or word in _ADVERBS or word.endswith("ing"):
        return None
    before, after = _around(text, span)
    previous, following = next(reversed(before), ""), next(iter(after), "")
    if text[span[1] : span[1] + 1] in ("'", "’") or not _ends_noun(following):
        return None
    if following in DETERMINERS | _OBJECTS | {"of"}:
        return None
    if _follows_article(before):
        return "head"
    if word.endswith("ed") or following in ("with", "to", "for"):
        return None
    if previous in PREPOSITIONS - {"to", "like"} and before[-2:-1] not in (["kind"], ["sort"]):
        return "whole"
    if not previous and following in _AUXILIARIES and begins_sentence(text, span[0]):
        is_common = re.search(rf"(?<![\w]){re.escape(word)}(?!\w)", text)  # not only as a name
        return "whole" if is_common else None
    is_transitive = previous in _TRANSITIVE_PASTS or re.fullmatch(r"\w{3,}ing", previous)
    return "whole" if is_transitive else None


def _follows_article(before: list[str]) -> bool:
    """Whether an article or the like stands before, or before adjectives alone."""
    for place, word in reversed([*enumerate(before)]):
        if word == "that" and place:
            return before[place - 1] in PREPOSITIONS  # else it may begin a clause
        if word in DETERMINERS:
            return True
        if not is_adjective(word) and not word.endswith("ed"):
            return False
    return False


def _ends_noun(following: str) -> bool:
    """Whether a noun may end before a word: no other noun goes on with it."""
    return (
        not following
        or following in FUNCTION_WORDS
        or following in PREPOSITIONS
        or following in _AUXILIARIES
        or following in _PASTS
        or following.endswith("ed")
    )


def _around(text: str, span: Span) -> tuple[list[str], list[str]]:
    """The words of the clause before a place and after it, in lower case."""
    before = _BREAK.split(text[max(0, span[0] - _NEAR) : span[0]])[-1]
    after = _BREAK.split(text[span[1] : span[1] + _NEAR], maxsplit=1)[0]
    return WORD.findall(before.lower()), WORD.findall(after.lower())
