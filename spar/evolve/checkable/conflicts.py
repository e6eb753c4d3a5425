"""Which constraints exclude each other: by their meaning, and by arithmetic. Pure.

A pair is in the table where one cannot read both and know what to do, even if a text can be found that both
verifiers pass: an answer in quotation marks ends in a quotation mark and not in a phrase; "at least 100 words"
does not say which of two answers it means. Types all of whose wordings claim one place of the answer, its start or its
end, exclude each other too. What is not in the table goes together, and each prompt's witness
(`spar.evolve.checkable.witness`) proves it for its arguments.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from spar.evolve.checkable import constraint_types as types
from spar.evolve.checkable.constraint_types import (
    CONSTRAINT_TYPES,
    Constraint,
    bound_of,
    relation_of,
)
from spar.evolve.checkable.wordings import LEAST, LESS, WORDINGS, places_of_all

ROOM = 1.5
"""An upper bound on words must be this many times what the other constraints need."""
WORDS_A_SENTENCE = 20
"""At most so many words may a sentence need on the average."""
LETTERS_A_WORD = 6
"""A letter that is required n times needs n words of so many letters, at most one of them this letter."""

_GOES_WITH_JSON = {types.EXISTENCE, types.FREQUENCY, types.FORBIDDEN, types.WORDS}
_GOES_WITH_TWO = {
    *(types.EXISTENCE, types.FORBIDDEN, types.LANGUAGE, types.TITLE, types.NO_COMMA),
    *(types.CAPITALS, types.LOWER_CASE),
}
_GOES_WITH_REPEATING = {
    *(
        types.EXISTENCE,
        types.FORBIDDEN,
        types.TITLE,
        types.NO_COMMA,
        types.POSTSCRIPT,
        types.ENDING,
    ),
    *(types.BULLETS, types.PLACEHOLDERS, types.HIGHLIGHTS, types.SECTIONS),
}
_ALL = frozenset(CONSTRAINT_TYPES)
_ENGLISH = {
    *(types.EXISTENCE, types.FREQUENCY, types.FORBIDDEN, types.LETTER, types.FIRST_WORD),
    *(types.SECTIONS, types.ENDING, types.CAPITALS, types.LOWER_CASE, types.CAPITAL_WORDS),
}
"""Types whose arguments or meaning are of English."""

_BY_MEANING: Mapping[str, Collection[str]] = {
    types.LANGUAGE: _ENGLISH,
    types.PARAGRAPHS: {types.FIRST_WORD, types.SECTIONS},
    types.FIRST_WORD: {types.TITLE, types.POSTSCRIPT, types.SECTIONS, types.BULLETS},
    types.CONSTRAINED: _ALL,
    types.JSON: _ALL - _GOES_WITH_JSON,
    types.TWO: _ALL - _GOES_WITH_TWO,
    types.REPEAT: _ALL - _GOES_WITH_REPEATING,
    types.QUOTATION: {types.TITLE, types.ENDING, types.POSTSCRIPT},
    types.POSTSCRIPT: {types.ENDING, types.LOWER_CASE},
    types.CAPITALS: {types.LOWER_CASE, types.CAPITAL_WORDS},
    types.LOWER_CASE: {types.CAPITAL_WORDS},
}
"""Type to types that it excludes; the other direction follows."""


def _closed(table: Mapping[str, Collection[str]]) -> Mapping[str, frozenset[str]]:
    pairs = {(a, b) for a, others in table.items() for b in others}
    places = _places()
    pairs |= {(a, b) for a in places for b in places if places[a] & places[b]}
    pairs |= {(b, a) for a, b in pairs} | {(each, each) for each in CONSTRAINT_TYPES}
    return {each: frozenset(b for a, b in pairs if a == each) for each in CONSTRAINT_TYPES}


def _places() -> Mapping[str, frozenset[str]]:
    """Type to the places of the answer that every one of its wordings claims."""
    wordings: dict[str, list[str]] = {each: [] for each in CONSTRAINT_TYPES}
    for (type_id, _), templates in WORDINGS.items():
        wordings[type_id] += templates
    return {type_id: places_of_all(templates) for type_id, templates in wordings.items()}


CONFLICTS = _closed(_BY_MEANING)
"""Type to the types that it excludes, itself among them; symmetric."""


def compatible(chosen: Iterable[str], candidates: Iterable[str]) -> list[str]:
    """The candidates that go with every chosen type."""
    excluded = {other for each in chosen for other in CONFLICTS[each]}
    return [each for each in candidates if each not in excluded]


def go_together(count: int, candidates: Sequence[str]) -> bool:
    """Whether so many of the candidates exclude none of each other."""
    if not count:
        return True
    return len(candidates) >= count and any(
        go_together(count - 1, compatible([each], candidates[place + 1 :]))
        for place, each in enumerate(candidates)
    )


def objection(constraints: Sequence[Constraint], request: str) -> str:
    """Why these constraints leave no room for each other, in a few words; "" if they do."""
    by_type = {constraint.id: constraint for constraint in constraints}
    if types.REPEAT in by_type and (why := _objection_to_repeating(by_type, request)):
        return why
    needed, sentences = _words_needed(constraints), _sentences_needed(constraints)
    words, bound = by_type.get(types.WORDS), by_type.get(types.SENTENCES)
    most_sentences = bound_of(bound) - 1 if bound and relation_of(bound) == LESS else None
    if words and relation_of(words) == LESS and needed * ROOM > bound_of(words) - 1:
        return "too few words for the other constraints"
    if most_sentences is not None and sentences > most_sentences:
        return "too few sentences for the other constraints"
    if words and relation_of(words) == LEAST and most_sentences is not None:
        needed = max(needed, bound_of(words))
    if most_sentences is not None and needed > most_sentences * WORDS_A_SENTENCE:
        return "too many words for the number of sentences"
    return ""


def _objection_to_repeating(by_type: Mapping[str, Constraint], request: str) -> str:
    """Why a response that begins with the request breaks another constraint."""
    if types.NO_COMMA in by_type and "," in request:
        return "the request to repeat has commas"
    forbidden = by_type.get(types.FORBIDDEN)
    words = forbidden.arguments["forbidden_words"] if forbidden else ()
    if any(re.search(rf"\b{word}\b", request, re.IGNORECASE) for word in words):
        return "the request to repeat has a forbidden word"
    return ""


def _words_needed(constraints: Iterable[Constraint]) -> int:
    """About how many words a natural text with these constraints has at least."""
    need = 12
    for constraint in constraints:
        number, relation = bound_of(constraint), relation_of(constraint)
        match constraint.id:
            case types.EXISTENCE:
                need += 4 * len(constraint.arguments["keywords"])
            case types.FREQUENCY if relation == LEAST:
                need += 6 * number
            case types.LETTER if relation == LEAST:
                need += number * (
                    1 if constraint.arguments["letter"] in "aeinorst" else LETTERS_A_WORD
                )
            case types.SENTENCES if relation == LEAST:
                need += 8 * number
            case types.PARAGRAPHS | types.FIRST_WORD | types.SECTIONS:
                need += 14 * number
            case types.BULLETS:
                need += 5 * number
            case types.PLACEHOLDERS | types.HIGHLIGHTS:
                need += 4 * number
            case types.CAPITAL_WORDS if relation == LEAST:
                need += 3 * number
            case types.POSTSCRIPT | types.ENDING | types.TITLE:
                need += 8
            case types.JSON:
                need += 8
    return need


def _sentences_needed(constraints: Iterable[Constraint]) -> int:
    """How many sentences a natural text with these constraints has at least."""
    need = 1
    for constraint in constraints:
        if constraint.id in (types.PARAGRAPHS, types.FIRST_WORD, types.SECTIONS, types.BULLETS):
            need += bound_of(constraint)
        elif constraint.id in (types.POSTSCRIPT, types.ENDING):
            need += 2
    return need
