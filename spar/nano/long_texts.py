"""Long texts of nano-if: 10 to 20 sentences in a style that varies from text to text and that no prompt asks for.

    "Write a long story. Give 11 sentences or more. Include "fox". Start with the word "today"."

The style of a text has two parts: how often a noun has an adjective, and how often a sentence opens with a word such as "today".
Both are drawn anew for each text, so two independent responses differ in them; an edit that repairs a text leaves them as they are.
The embedded model has not learnt such texts: it ends after one or two sentences whatever number is asked for.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spar.nano import draft as edit
from spar.nano.constraint_type import Constraint
from spar.nano.constraints import CONSTRAINT_TYPES
from spar.nano.draft import Draft, parse
from spar.nano.lexicon import CATEGORY, DETERMINERS, KEYWORDS, STARTERS
from spar.nano.tasks import Split, Task, split_of
from spar.nano.writer import barred_words, break_constraints, meet, repair, violated

FEWEST, MOST = 10, 20
"""Sentences of a text."""
SENTENCES = "length_constraints:number_sentences"
_OTHERS = (
    "keywords:existence",
    "keywords:forbidden_words",
    "keywords:frequency",
    "startend:end_checker",
    "startend:quotation",
    "punctuation:no_comma",
    "nano:first_word",
)
"""Types of the constraints beside the number of sentences."""
_OPENINGS = ("Write a long story.", "Write a long text.", "Tell a long story.")
_RATES = (0.1, 0.5, 0.9)
"""Rates of either part of a style."""
_BROKEN = 0.15
"""How often a constraint of a draft is violated."""
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Style:
    """What a text is like beside what was asked for."""

    adjectives: float
    """The chance that a noun has an adjective."""
    openings: float
    """The chance that a sentence opens with a starter."""

    @classmethod
    def draw(cls, rng: random.Random) -> Style:
        """A style, each part by itself."""
        return cls(rng.choice(_RATES), rng.choice(_RATES))

    @classmethod
    def of(cls, text: str) -> Style:
        """The style of a text."""
        (adjectives, nouns), (openings, sentences) = adjectives_share(text), openings_share(text)
        return cls(adjectives / nouns, openings / sentences)


def adjectives_share(text: str) -> tuple[float, float]:
    """Adjectives and nouns of a text; at least one noun is counted."""
    categories = [CATEGORY.get(word) for word in re.findall(r"\w+", text.lower())]
    return float(categories.count("adjective")), float(max(1, categories.count("noun")))


def openings_share(text: str) -> tuple[float, float]:
    """Sentences that open with a starter, and all; at least one is counted."""
    sentences = [words for words in parse(text).sentences if words]
    return float(sum(words[0] in STARTERS for words in sentences)), float(max(1, len(sentences)))


def long_tasks(split: Split, seed: int) -> Iterator[tuple[str, Task]]:
    """Different prompts for long texts with their ids, without an end; each has a text that meets it."""
    rng, seen, number = random.Random(f"long/{split}/{seed}"), set[str](), 0
    while True:
        constraints = _draw(rng)
        asks = [rng.choice(CONSTRAINT_TYPES[c.id].wordings(c.kwargs)) for c in constraints]
        text = " ".join([rng.choice(_OPENINGS), *asks])
        if text not in seen and split_of(constraints) == split:
            seen.add(text)
            if write_long(constraints, Style.draw(rng), rng) is not None:
                yield f"nano-long-{split}-{seed}-{number}", Task(text, constraints)
                number += 1


def write_long(constraints: Sequence[Constraint], style: Style, rng: random.Random) -> str | None:
    """A text of 10 to 20 sentences in a style that meets the constraints, None where none was found."""
    barred = barred_words(constraints)
    for _ in range(_TRIES):
        sentences = [_sentence(style, rng, barred) for _ in range(rng.randint(FEWEST, MOST - 1))]
        text = meet(Draft(sentences), constraints, rng)
        if text is not None:
            return text
    return None


def write_long_draft(constraints: Sequence[Constraint], rng: random.Random) -> str:
    """A text in a drawn style that misses some of what is asked, as a model learns it that is to be imperfect."""
    while (text := write_long(constraints, Style.draw(rng), rng)) is None:
        continue
    broken = [each for each in _but_length(constraints) if rng.random() < _BROKEN]
    return break_constraints(text, constraints, broken, rng) if broken else text


def repaired(text: str, constraints: Sequence[Constraint], rng: random.Random) -> str | None:
    """The text edited as little as needed to meet its task, None where that was not possible."""
    for _ in range(_TRIES):
        refined = repair(text, constraints, rng)
        if refined is not None:
            return refined
    return None


def half_rewritten(text: str, constraints: Sequence[Constraint], rng: random.Random) -> str | None:
    """The text with every other sentence replaced by another of the same style; it still meets its task. None where it cannot."""
    style, barred = Style.of(text), barred_words(constraints)
    for _ in range(_TRIES):
        draft = parse(text)
        for index in range(1, len(draft.sentences), 2):
            draft.sentences[index] = _sentence(style, rng, barred)
        other = meet(draft, constraints, rng)
        if other is not None:
            return other
    return None


def broken_once(text: str, constraints: Sequence[Constraint], rng: random.Random) -> str | None:
    """The text with one constraint but its length violated, and as little else changed as possible; None where no edit does it."""
    for _ in range(_TRIES):
        one = rng.choice(_but_length(constraints))
        broken = break_constraints(text, constraints, [one], rng)
        if violated(broken, constraints):
            return broken
    return None


def in_two_styles(constraints: Sequence[Constraint], rng: random.Random) -> tuple[str, str] | None:
    """Two texts that both meet a task and differ in style alone: the second has an adjective at every noun. None where none was found."""
    barred = barred_words(constraints)
    for _ in range(_TRIES):
        plain = write_long(constraints, Style(_RATES[0], rng.choice(_RATES)), rng)
        if plain is None:
            continue
        draft = parse(plain)
        draft.sentences = [_adorned(words, rng, barred) for words in draft.sentences]
        adorned = draft.render()
        if not violated(adorned, constraints):
            return plain, adorned
    return None


def _but_length(constraints: Sequence[Constraint]) -> list[Constraint]:
    return [constraint for constraint in constraints if constraint.id != SENTENCES]


def _draw(rng: random.Random) -> tuple[Constraint, ...]:
    free = rng.sample(KEYWORDS, len(KEYWORDS))
    number = {"relation": "at least", "num_sentences": rng.randint(FEWEST, FEWEST + 2)}
    names = rng.sample(_OTHERS, rng.choice((2, 3)))
    others = [Constraint(name, CONSTRAINT_TYPES[name].sample(rng, free)) for name in names]
    return (Constraint(SENTENCES, number), *others)


def _sentence(style: Style, rng: random.Random, barred: frozenset[str]) -> list[str]:
    words = edit.noun_phrase(rng, barred, style.adjectives)
    if rng.random() < 0.2:
        words.append(edit.pick("adverb", rng, barred))
    words += [edit.pick("verb", rng, barred), *edit.noun_phrase(rng, barred, style.adjectives)]
    return [rng.choice(STARTERS), *words] if rng.random() < style.openings else words


def _adorned(words: list[str], rng: random.Random, barred: frozenset[str]) -> list[str]:
    """The words of a sentence with an adjective before each noun that has none."""
    adorned: list[str] = []
    for word in words:
        if CATEGORY.get(word) == "noun" and adorned and adorned[-1] in DETERMINERS:
            adorned.append(edit.pick("adjective", rng, barred))
        adorned.append(word)
    return adorned
