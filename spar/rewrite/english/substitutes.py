"""Words that can stand for a word where it stands: synonyms of its part of speech, nouns that say little, or none at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from spar.rewrite.english.inflection import cased_like, inflected, stems
from spar.rewrite.english.parts_of_speech import (
    WORD,
    begins_sentence,
    has_object,
    is_adjective,
    is_name,
    neighbours,
    part_of_speech,
    stands_for_noun,
)
from spar.rewrite.english.vocabulary import (
    ADJECTIVES,
    DAYS,
    DEGREES,
    DETERMINERS,
    DROPPABLE,
    FUNCTION_WORDS,
    KEPT_LY,
    MONTHS,
    MOTIONS,
    NOUN_SYNONYMS,
    PEOPLE,
    PLURALS,
    PREPOSITIONS,
    SYNONYMS,
    UNITS,
    VERB_SYNONYMS,
    VERBS,
    WEIGHTY_ADVERBS,
)
from spar.rewrite.layout import Span


def can_be_dropped(text: str, span: Span) -> bool:
    """Whether its sentence stays one without the word: an adverb, or an adjective after an article; not a name."""
    word, before, after = (
        text[slice(*span)],
        text[max(0, span[0] - 1) : span[0]],
        text[span[1] : span[1] + 1],
    )
    if before.strip() or after.strip(" \t\r\n.,;:!?…"):
        return False  # marks of emphasis, a bracket or a hyphen would be left alone
    if is_name(text, span):
        return False
    lower, (previous, following) = word.lower(), neighbours(text, span)
    if previous in ("not", "never", "no", "would") or previous.endswith(("n't", "n’t")):
        return False  # "not just tea" says the opposite of "not tea"
    if (lower in DEGREES and not following) or (
        begins_sentence(text, span[0]) and after in ".!?…\n"
    ):
        return False
    if following in ("as", "than", "if", "though", "like"):
        return False
    if previous in DETERMINERS:
        is_attribute = bool(following) and part_of_speech(text, span) == "modifier"
        return lower in ADJECTIVES and is_attribute and following not in FUNCTION_WORDS
    if previous in DEGREES and lower not in DEGREES:
        return False
    if lower == "too":
        return not following  # else it is too much of something
    if lower in DROPPABLE:
        return True
    is_adverb = _is_adverb(lower) and lower not in SYNONYMS and lower not in WEIGHTY_ADVERBS
    is_capital = word[:1].isupper() and not text.isupper()
    return is_adverb and (not is_capital or (after == "," and begins_sentence(text, span[0])))


def _is_adverb(lower: str) -> bool:
    return lower.endswith("ly") and lower not in KEPT_LY


def neutral_nouns(text: str, span: Span) -> tuple[str, ...]:
    """A noun that says little in place of a noun, or a pronoun for one without an article."""
    word = text[slice(*span)]
    lower, (previous, _) = word.lower(), neighbours(text, span)
    if lower in MONTHS and previous in PREPOSITIONS:
        return ("that month",)
    if lower in DAYS and previous in PREPOSITIONS:
        return ("that day",)
    if is_name(text, span):
        return ("the area", "the place") if _is_destination(text, span) else ()
    is_acronym = word.isupper() and len(word) > 1 and not text.isupper()
    if is_acronym or not re.fullmatch(r"[^\W\d_]+", word):
        return ()
    plural = (lower.endswith("s") and not lower.endswith("ss")) or lower in PLURALS
    place = stands_for_noun(text, span)
    if place is None or lower in UNITS:
        return ()
    if lower in PEOPLE or lower.removesuffix("s") in PEOPLE:
        whole = ("people", "others") if plural else ("someone", "a person")
        return whole if place == "whole" else ("people",) if plural else ("person",)
    if place == "head" or (plural and previous not in PREPOSITIONS and previous):
        return ("things", "matters") if plural else ("thing", "matter")
    return ("these things", "such matters") if plural else ("this", "that")


def _is_destination(text: str, span: Span) -> bool:
    """Whether a name of one word is that of a place, by the words before it."""
    before, after = text[max(0, span[0] - 40) : span[0]], text[span[1] : span[1] + 3]
    if re.match(r" [A-Z]|['’]", after):
        return False
    words = WORD.findall(before.lower())
    return words[-1:] in (["in"], ["at"], ["near"]) or (
        words[-1:] in (["to"], ["from"]) and not MOTIONS.isdisjoint(words)
    )


def synonyms(text: str, span: Span) -> Iterator[str]:
    """Synonyms in the word's own form and case, of its part of speech where it has several."""
    word = text[slice(*span)]
    lower = word.lower().replace("’", "'")
    part = part_of_speech(text, span)
    for base, ending in [(lower, ""), *stems(lower)]:
        tables = [table[base] for table in (NOUN_SYNONYMS, VERB_SYNONYMS) if base in table]
        general = SYNONYMS.get(base, ())
        if not tables and not general:
            continue
        if ending == "s" and is_adjective(base):
            return
        if part == "noun" and ending not in ("ing", "ed"):
            default = () if base in VERBS else general
            choices: Sequence[str] = NOUN_SYNONYMS.get(base, default)
        elif ending in ("ing", "ed"):
            default = general if base in VERBS or base == lower else ()
            choices = () if part == "noun" else VERB_SYNONYMS.get(base, default)
        elif part == "verb":
            is_noun = base not in VERBS and not is_adjective(base) and has_object(text, span)
            choices = VERB_SYNONYMS.get(base, () if is_noun else general)
        elif tables and not (part == "modifier" and is_adjective(base)):
            choices = [each for each in general if all(each in table for table in tables)]
        else:
            choices = general
        if part == "modifier":
            choices = [choice for choice in choices if " " not in choice]
        is_owner = text[span[1] : span[1] + 2] in ("'s", "’s")
        for form in (inflected(choice, ending) for choice in choices):
            if form and not (is_owner and form.endswith("s")):
                yield cased_like(form, word)
        return
