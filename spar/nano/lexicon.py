"""The words of nano-if, each in one category, none inside another.

IFEval's keyword verifiers match inside words, so a keyword that is part of another word would be
counted there too; a test checks that the lexicon has no such pairs.
"""

from __future__ import annotations

from collections.abc import Mapping

DETERMINERS = ("the", "this", "that", "every")
NOUNS = tuple(
    "fox owl boat river garden lantern baker teacher bridge letter cat dog horse farmer "
    "sailor child tree window door bird wolf queen cook doctor train kite drum bell book "
    "apple tower cloud bear map".split()
)
ADJECTIVES = tuple(
    "old small bright green tall young clever tiny pale warm dark kind round grey heavy "
    "busy famous lucky purple quiet".split()
)
VERBS = tuple(
    "watches follows finds carries paints remembers visits sees likes keeps meets guards "
    "draws hides lifts calls greets helps".split()
)
ADVERBS = tuple("neatly gently often never always softly happily rarely soon calmly".split())
PREPOSITIONS = ("near", "behind", "under", "beside", "beyond", "above")
STARTERS = ("today", "once", "tonight", "sometimes", "here", "now", "yesterday", "meanwhile")
ENDINGS = (
    "That is all.",
    "So the day ends.",
    "And so it goes.",
    "What a day!",
    "Good night.",
    "The end.",
)
"""Closing sentences that an end constraint can require."""
SEQUENCE_LETTERS = tuple("bdgjkqvwxyz")
"""Letters whose doubling the tokenizer never merges, so a sequence has one token per letter."""

_TABLE = {
    "determiner": DETERMINERS,
    "noun": NOUNS,
    "adjective": ADJECTIVES,
    "verb": VERBS,
    "adverb": ADVERBS,
    "preposition": PREPOSITIONS,
    "starter": STARTERS,
}
CATEGORY: Mapping[str, str] = {word: name for name, words in _TABLE.items() for word in words}
"""Word to its category."""
WORDS_OF: Mapping[str, tuple[str, ...]] = _TABLE
"""Category to its words."""
KEYWORDS = (*NOUNS, *ADJECTIVES, *ADVERBS)
"""Words that a keyword constraint may name."""
