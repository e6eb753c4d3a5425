"""IFEval's constraint types as training prompts draw them: how often, with which arguments, in which words. Pure.

    constraint = CONSTRAINT_TYPES["punctuation:no_comma"].draw(context)
    word(constraint, rng)                                             'Leave out all commas.'

Arguments are drawn after all types of the prompt are known, so that they can fit each other: sections are headed
`SECTION 1` where everything is in capitals, and no word is drawn twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spar.evolve.checkable.vocabulary import (
    AVOIDABLE,
    COMMON_NOUNS,
    END_PHRASES,
    LANGUAGES,
    OPENERS,
    SECTION_NAMES,
)
from spar.evolve.checkable.wordings import LEAST, LESS, WORDINGS, places_of, places_of_all

EXISTENCE, FREQUENCY = "keywords:existence", "keywords:frequency"
FORBIDDEN, LETTER = "keywords:forbidden_words", "keywords:letter_frequency"
LANGUAGE = "language:response_language"
SENTENCES, WORDS = "length_constraints:number_sentences", "length_constraints:number_words"
PARAGRAPHS = "length_constraints:number_paragraphs"
FIRST_WORD = "length_constraints:nth_paragraph_first_word"
PLACEHOLDERS, POSTSCRIPT = "detectable_content:number_placeholders", "detectable_content:postscript"
BULLETS, SECTIONS = "detectable_format:number_bullet_lists", "detectable_format:multiple_sections"
CONSTRAINED = "detectable_format:constrained_response"
HIGHLIGHTS = "detectable_format:number_highlighted_sections"
JSON, TITLE = "detectable_format:json_format", "detectable_format:title"
TWO, REPEAT = "combination:two_responses", "combination:repeat_prompt"
ENDING, QUOTATION = "startend:end_checker", "startend:quotation"
CAPITAL_WORDS = "change_case:capital_word_frequency"
CAPITALS, LOWER_CASE = "change_case:english_capital", "change_case:english_lowercase"
NO_COMMA = "punctuation:no_comma"

WORD_BOUNDS = (
    40,
    50,
    60,
    70,
    75,
    80,
    90,
    100,
    110,
    120,
    125,
    150,
    175,
    180,
    200,
    220,
    250,
    275,
    300,
)
"""Bounds on the number of words, in either direction."""
_OFTEN = "aeilnorst"
"""Letters that a bound from below asks for more often."""
_SELDOM = "bfgjkpqvwxyz"
"""Letters that a text can do with few of."""
_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
_ORDINALS = "zeroth first second third fourth fifth sixth seventh eighth".split()
_SPELLED = 0.4
"""Share of the wordings that spell a small number out."""

Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Constraint:
    """One requirement on a response."""

    id: str
    """Its type, as in IFEval's `instruction_id_list`."""
    arguments: Arguments
    """Its arguments, as in IFEval's `kwargs`."""


@dataclass(slots=True)
class Context:
    """What the draw of arguments depends on."""

    rng: random.Random
    request: str
    """The instruction, as the prompt will show it."""
    topic: Sequence[str]
    """Its topic words."""
    types: Collection[str]
    """All constraint types of the prompt."""
    used: set[str] = field(default_factory=set)
    """Words that a constraint of the prompt already requires or forbids."""

    def take(self, *pools: Sequence[str]) -> str:
        """An unused word of the first of the pools that has one."""
        for pool in pools:
            free = [word for word in pool if not any(word in u or u in word for u in self.used)]
            if free:
                word = self.rng.choice(free)
                self.used.add(word)
                return word
        raise LookupError("all words are used")

    def cased(self, text: str) -> str:
        """A text that is required as it stands, in the letters that the prompt allows."""
        if CAPITALS in self.types:
            return text.upper()
        return text.lower() if LOWER_CASE in self.types else text


@dataclass(frozen=True, slots=True)
class ConstraintType:
    """How a constraint type is drawn."""

    id: str
    weight: float
    """How often it is drawn, relative to the others."""
    arguments: Callable[[Context], Arguments]

    def draw(self, context: Context) -> Constraint:
        """A constraint of this type."""
        return Constraint(self.id, self.arguments(context))


def word(constraint: Constraint, rng: random.Random) -> str:
    """The constraint as a sentence."""
    return word_all([constraint], rng)[0]


def word_all(constraints: Sequence[Constraint], rng: random.Random) -> list[str]:
    """Each constraint as a sentence, no two of which claim the same place of the answer.

    The types go together, so that for each there is a wording which claims none that another must have.
    """
    wordings = [WORDINGS[each.id, relation_of(each)] for each in constraints]
    sentences: list[str] = []
    claimed: frozenset[str] = frozenset()
    for number, (constraint, own) in enumerate(zip(constraints, wordings, strict=True), start=1):
        taken = claimed.union(*map(places_of_all, wordings[number:]))
        wording = rng.choice([each for each in own if not places_of(each) & taken])
        claimed |= places_of(wording)
        sentences.append(wording.format_map(_fields(constraint, rng)))
    return sentences


def relation_of(constraint: Constraint) -> str:
    """Its relation, "" where it has none."""
    names = ("relation", "let_relation", "capital_relation")
    return next((constraint.arguments[n] for n in names if n in constraint.arguments), "")


def bound_of(constraint: Constraint) -> int:
    """Its number, 0 where it has none."""
    values = constraint.arguments
    names = ("frequency", "let_frequency", "capital_frequency", *_COUNTS)
    return next((int(values[name]) for name in names if name in values), 0)


_COUNTS = (
    *("num_sentences", "num_words", "num_paragraphs", "num_placeholders", "num_bullets"),
    *("num_highlights", "num_sections"),
)


def _fields(constraint: Constraint, rng: random.Random) -> Mapping[str, str]:
    """What the places in a wording are filled with."""
    values, number = constraint.arguments, bound_of(constraint)
    words = values.get("keywords") or values.get("forbidden_words") or []
    single = values.get("keyword") or values.get("first_word") or ""
    spelled = rng.random() < _SPELLED
    name = values.get("section_spliter", "")
    return {
        "n": _number(number, spelled=spelled),
        "most": _number(number - 1, spelled=spelled),
        "words": _listed(words, "and"),
        "any_words": _listed(words, "or"),
        "word": f'"{single}"',
        "letter": f'"{values.get("letter", "")}"',
        "language": LANGUAGES.get(values.get("language", ""), ""),
        "nth": _ORDINALS[values.get("nth_paragraph", 0)],
        "marker": f"{values.get('postscript_marker', '').rstrip('.')}.",
        "heads": _heads(name, number),
        "phrase": f'"{values.get("end_phrase", "")}"',
    }


def _number(number: int, *, spelled: bool) -> str:
    return _NUMBERS[number] if spelled and 0 <= number < len(_NUMBERS) else f"{number}"


def _listed(words: Sequence[str], joiner: str) -> str:
    quoted = [f'"{each}"' for each in words]
    if len(quoted) < 3:
        return f" {joiner} ".join(quoted)
    return f"{', '.join(quoted[:-1])} {joiner} {quoted[-1]}"


def _heads(name: str, number: int) -> str:
    if number == 2:
        return f"{name} 1 and {name} 2"
    return f"{name} 1, {name} 2 and so on" if number > 3 else f"{name} 1, {name} 2 and {name} 3"


def _existence(context: Context) -> Arguments:
    count = context.rng.choice((1, 2, 2, 3))
    topic_first = context.rng.random() < 0.6
    pools = (context.topic, COMMON_NOUNS) if topic_first else (COMMON_NOUNS,)
    return {
        "keywords": sorted(
            [context.take(*pools), *(context.take(COMMON_NOUNS) for _ in range(count - 1))]
        )
    }


def _frequency(context: Context) -> Arguments:
    relation = context.rng.choice((LEAST, LEAST, LESS))
    keyword = context.take(context.topic, COMMON_NOUNS)
    numbers = (2, 2, 3, 3, 4, 5) if relation == LEAST else (3, 3, 4, 5)
    return {"relation": relation, "keyword": keyword, "frequency": context.rng.choice(numbers)}


def _forbidden(context: Context) -> Arguments:
    count = context.rng.choice((1, 2, 2, 3))
    of_topic = context.rng.random() < 0.25 and REPEAT not in context.types
    asked = set(context.request.lower().split())
    plain = [each for each in AVOIDABLE if REPEAT not in context.types or each not in asked]
    first = context.take(context.topic, plain) if of_topic else context.take(plain)
    return {"forbidden_words": sorted([first, *(context.take(plain) for _ in range(count - 1))])}


def _letter(context: Context) -> Arguments:
    rng = context.rng
    if rng.random() < 0.5:
        letter = rng.choice("bcdfghkmpuvwy" + _OFTEN)
        number = rng.randint(3, 10) if letter not in _OFTEN else rng.randint(8, 30)
        return {"letter": letter, "let_frequency": number, "let_relation": LEAST}
    number = rng.choice((3, 4, 5, 6, 8, 10))
    return {"letter": rng.choice(_SELDOM), "let_frequency": number, "let_relation": LESS}


def _sentences(context: Context) -> Arguments:
    relation = context.rng.choice((LEAST, LESS))
    number = context.rng.randint(4, 12) if relation == LEAST else context.rng.randint(3, 10)
    return {"relation": relation, "num_sentences": number}


def _words(context: Context) -> Arguments:
    relation = context.rng.choice((LEAST, LESS))
    return {"relation": relation, "num_words": context.rng.choice(WORD_BOUNDS)}


def _first_word(context: Context) -> Arguments:
    count = context.rng.choice((2, 3, 3, 4, 5))
    nth = context.rng.randint(1, count)
    return {"num_paragraphs": count, "nth_paragraph": nth, "first_word": context.take(OPENERS)}


def _postscript(context: Context) -> Arguments:
    return {"postscript_marker": context.rng.choice(("P.S.", "P.S.", "P.P.S"))}


def _sections(context: Context) -> Arguments:
    name = context.rng.choice(SECTION_NAMES)
    name = name.upper() if context.rng.random() < 0.25 else name
    number = context.rng.choice((2, 2, 3, 3, 4, 5))
    return {"section_spliter": context.cased(name), "num_sections": number}


def _ending(context: Context) -> Arguments:
    forbidden = [each for each in END_PHRASES if not _has_any(each, context.used)]
    return {"end_phrase": context.cased(context.rng.choice(forbidden))}


def _has_any(text: str, words: Collection[str]) -> bool:
    return any(each in text.lower() for each in words)


def _capital_words(context: Context) -> Arguments:
    relation = context.rng.choice((LEAST, LEAST, LEAST, LESS))
    number = context.rng.randint(2, 8) if relation == LEAST else context.rng.randint(4, 8)
    return {"capital_relation": relation, "capital_frequency": number}


def _none(_: Context) -> Arguments:
    return {}


def _counted(name: str, numbers: Sequence[int]) -> Callable[[Context], Arguments]:
    return lambda context: {name: context.rng.choice(numbers)}


_ALL = (
    ConstraintType(EXISTENCE, 1.5, _existence),
    ConstraintType(FREQUENCY, 1.0, _frequency),
    ConstraintType(FORBIDDEN, 1.25, _forbidden),
    ConstraintType(LETTER, 0.75, _letter),
    ConstraintType(LANGUAGE, 0.75, lambda c: {"language": c.rng.choice(sorted(LANGUAGES))}),
    ConstraintType(SENTENCES, 2.25, _sentences),
    ConstraintType(WORDS, 2.0, _words),
    ConstraintType(PARAGRAPHS, 2.0, _counted("num_paragraphs", (2, 3, 3, 4, 5))),
    ConstraintType(FIRST_WORD, 0.75, _first_word),
    ConstraintType(PLACEHOLDERS, 0.75, _counted("num_placeholders", (2, 2, 3, 4, 5))),
    ConstraintType(POSTSCRIPT, 0.75, _postscript),
    ConstraintType(BULLETS, 1.75, _counted("num_bullets", (2, 3, 3, 4, 5, 6, 7))),
    ConstraintType(CONSTRAINED, 4.0, _none),
    ConstraintType(HIGHLIGHTS, 1.25, _counted("num_highlights", (2, 2, 3, 3, 4, 5))),
    ConstraintType(SECTIONS, 1.5, _sections),
    ConstraintType(JSON, 1.0, _none),
    ConstraintType(TITLE, 1.0, _none),
    ConstraintType(TWO, 1.5, _none),
    ConstraintType(REPEAT, 0.75, lambda c: {"prompt_to_repeat": c.request}),
    ConstraintType(ENDING, 1.0, _ending),
    ConstraintType(CAPITAL_WORDS, 0.75, _capital_words),
    ConstraintType(CAPITALS, 0.75, _none),
    ConstraintType(LOWER_CASE, 1.0, _none),
    ConstraintType(NO_COMMA, 1.5, _none),
    ConstraintType(QUOTATION, 1.75, _none),
)
CONSTRAINT_TYPES: Mapping[str, ConstraintType] = {each.id: each for each in _ALL}
"""Id to constraint type: all that lm-eval checks, with frequencies like IFEval's own."""
