"""Forms of words: the base of an inflected word, the same form of another, its case, and the article before it.

Regular English only, with the past forms of the irregular verbs that `spar.rewrite.english.vocabulary` has as synonyms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from spar.rewrite.english.vocabulary import KEPT_LY, WEIGHTY_ADVERBS

_ENDINGS = ("ing", "ies", "ied", "es", "ed", "s", "d", "ly")
_VOWEL = re.compile(
    r"(?!eu|ewe|one\b|once\b)[aeio]|u(?!ni(?!n|m)|se|su|ti|k\b)|hour|honest|honou?r|heir",
    re.IGNORECASE,
)
"""How a word begins that "an" stands before."""
_ARTICLE = re.compile(r"\b(an?) [*_\"“(]*\Z", re.IGNORECASE)
_PASTS = {
    "become": "became",
    "begin": "began",
    "bring": "brought",
    "build": "built",
    "buy": "bought",
    "choose": "chose",
    "cut": "cut",
    "drive": "drove",
    "feel": "felt",
    "find": "found",
    "get": "got",
    "give": "gave",
    "go": "went",
    "grow": "grew",
    "hold": "held",
    "let": "let",
    "make": "made",
    "see": "saw",
    "sink": "sank",
    "speak": "spoke",
    "spend": "spent",
    "take": "took",
    "think": "thought",
    "understand": "understood",
    "write": "wrote",
}
"""Verb to its past form, where that is irregular; of these only those whose participle is the same are put for "-ed"."""
_SAME_PARTICIPLE = frozenset(
    "bring build buy cut feel find get hold let make spend think understand".split()
)
_DOUBLED = frozenset(
    "begin cut drag drop get grab pat pen plan put run set sham ship spin stop".split()
)
"""Verbs that double their last letter before "-ing" and "-ed"."""
_PARTICLES = frozenset("away down for food gratitude off on out over short to up".split())
"""Last words of verbs of several words, whose first word is inflected."""


def stems(word: str) -> Iterator[tuple[str, str]]:
    """Possible bases of an inflected word, each with its ending."""
    for ending in _ENDINGS:
        if not word.endswith(ending) or len(word) < len(ending) + 3:
            continue
        stem = word[: -len(ending)]
        if ending in ("ies", "ied"):
            yield stem + "y", {"ies": "s", "ied": "ed"}[ending]
        elif ending in ("ing", "ed"):
            yield stem, ending
            yield stem + "e", ending
            if stem[-1:] == stem[-2:-1]:
                yield stem[:-1], ending
        elif ending != "ly" or word not in KEPT_LY | WEIGHTY_ADVERBS:  # "hardly": not of "hard"
            yield stem, {"es": "s", "d": "ed"}.get(ending, ending)


def inflected(word: str, ending: str) -> str | None:
    """A form of a synonym, None where it has no regular one; of several words the noun or the verb is inflected."""
    if not ending:
        return word
    words = word.split(" ")
    place = 0 if words[-1] in _PARTICLES or "of" in words or "next" in words else len(words) - 1
    if len(words) > 1 and (ending == "ly" or (ending == "s" and re.search(r"[^s]s$", word))):
        return None  # "seven days" has no plural
    if ending == "s":
        form: str | None = _with_s(words[place])
    elif ending == "ly":
        form = _with_ly(words[place])
    else:
        form = _with_ing_or_ed(words[place], ending)
    return None if form is None else " ".join([*words[:place], form, *words[place + 1 :]])


def _with_s(base: str) -> str:
    if re.search(r"[^aeiou]y$", base):
        return base[:-1] + "ies"
    return base + ("es" if re.search(r"(?:s|x|z|ch|sh|go)$", base) else "s")


def _with_ly(base: str) -> str | None:
    if base in ("fast", "hard", "well-liked"):
        return None
    if base.endswith("le"):
        return base[:-1] + "y"
    return base[:-1] + "ily" if re.search(r"[^aeiou]y$", base) else base + "ly"


def _with_ing_or_ed(base: str, ending: str) -> str | None:
    if ending == "ed" and base in _PASTS:
        return _PASTS[base] if base in _SAME_PARTICIPLE else None
    if ending == "ed" and re.search(r"[^aeiou]y$", base):
        return base[:-1] + "ied"
    if base in _DOUBLED:
        return base + base[-1] + ending
    return (base[:-1] if base.endswith("e") and not base.endswith("ee") else base) + (
        "d" if ending == "ed" and base.endswith("ee") else ending
    )


def cased_like(word: str, model: str) -> str:
    """A word with the capitals of another."""
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def with_article(text: str, change: tuple[int, int, str]) -> tuple[int, int, str]:
    """A change that also puts the article before it right: "a" or "an", as what is written now begins."""
    start, stop, choice = change
    article = _ARTICLE.search(text, max(0, start - 8), start)
    following = choice + text[stop : stop + 8]
    if not article or not following[:1].isalpha():
        return change
    old = article.group(1)
    right = "an" if _VOWEL.match(following) else "a"
    if right == old.lower():
        return change
    is_upper = old == "AN" or (old == "A" and following[:2].isupper())
    between = text[article.end(1) : start]
    return (
        article.start(),
        stop,
        f"{right.upper() if is_upper else cased_like(right, old)}{between}{choice}",
    )
