"""Constraint types for keywords: existence, absence, frequency."""

from __future__ import annotations

import random
import re

from spar.nano import draft as edit
from spar.nano.constraint_type import ConstraintType, Kwargs
from spar.nano.draft import Draft
from spar.nano.lexicon import CATEGORY


def _sample_existence(rng: random.Random, free: list[str]) -> Kwargs:
    return {"keywords": [free.pop() for _ in range(rng.choice((1, 1, 2)))]}


def _quote_list(words: list[str]) -> str:
    return " and ".join(f'"{word}"' for word in words)


def _existence_wordings(k: Kwargs) -> tuple[str, ...]:
    words = _quote_list(k["keywords"])
    return (f"Include {words}.", f"Mention {words} somewhere.", f"It has to contain {words}.")


def _places(text: str, word: str) -> list[str]:
    return [str(i) for i, other in enumerate(re.findall(r"\w+", text.lower()), 1) if other == word]


def _observe_existence(text: str, k: Kwargs) -> str:
    return " ".join(f"{word} {(_places(text, word) or ['none'])[0]}" for word in k["keywords"])


def _observe_frequency(text: str, k: Kwargs) -> str:
    places = _places(text, k["keyword"])
    bound = f"{k['relation']} {k['frequency']}"
    return f"{k['keyword']} {' '.join(places) or 'none'} = {len(places)}, asked {bound}"


def _achieve_existence(draft: Draft, k: Kwargs, rng: random.Random) -> None:
    for keyword in k["keywords"]:
        if keyword not in draft.render().lower():
            edit.add_keyword(draft, keyword, rng)


def _swap_all(draft: Draft, word: str, rng: random.Random) -> None:
    for _ in range(6):
        edit.swap_word(draft, word, rng)


def _forbidden_wordings(k: Kwargs) -> tuple[str, ...]:
    words = _quote_list(k["forbidden_words"])
    return (f"Do not use {words}.", f"Leave out {words}.", f"Avoid {words}.")


def _achieve_forbidden(draft: Draft, k: Kwargs, rng: random.Random) -> None:
    for word in k["forbidden_words"]:
        _swap_all(draft, word, rng)


def _sample_frequency(rng: random.Random, free: list[str]) -> Kwargs:
    relation = rng.choice(("at least", "at least", "less than"))
    # A noun: texts repeat those naturally, while a repeated adverb would end up next to itself.
    keyword = next(word for word in reversed(free) if CATEGORY[word] == "noun")
    free.remove(keyword)
    return {"keyword": keyword, "frequency": rng.choice((2, 2, 3)), "relation": relation}


def _frequency_wordings(k: Kwargs) -> tuple[str, ...]:
    word, n = k["keyword"], k["frequency"]
    if k["relation"] == "at least":
        return (f'Use "{word}" at least {n} times.', f'"{word}" should appear {n} times or more.')
    return (f'Use "{word}" less than {n} times.', f'"{word}" should appear under {n} times.')


def _occurrences(text: str, word: str) -> int:
    return text.lower().count(word)


def _achieve_frequency(draft: Draft, k: Kwargs, rng: random.Random) -> None:
    if k["relation"] == "less than":
        edit.swap_word(draft, k["keyword"], rng)
    else:
        edit.add_keyword(draft, k["keyword"], rng)


def _violate_frequency(draft: Draft, k: Kwargs, rng: random.Random) -> None:
    goal = k["frequency"] if k["relation"] == "less than" else k["frequency"] - 1
    for _ in range(6):
        count = _occurrences(draft.render(), k["keyword"])
        if count < goal:
            edit.add_keyword(draft, k["keyword"], rng)
        elif count > goal:
            edit.swap_word(draft, k["keyword"], rng)


CONSTRAINT_TYPES = (
    ConstraintType(
        "keywords:existence",
        _sample_existence,
        _existence_wordings,
        lambda k: f"includes {' and '.join(k['keywords'])}",
        _observe_existence,
        _achieve_existence,
        lambda d, k, rng: _swap_all(d, rng.choice(k["keywords"]), rng),
        group="existence",
    ),
    ConstraintType(
        "keywords:forbidden_words",
        lambda rng, free: {"forbidden_words": [free.pop()]},
        _forbidden_wordings,
        lambda k: f"avoids {' and '.join(k['forbidden_words'])}",
        lambda text, k: _observe_existence(text, {"keywords": k["forbidden_words"]}),
        _achieve_forbidden,
        lambda d, k, rng: edit.add_keyword(d, rng.choice(k["forbidden_words"]), rng),
    ),
    ConstraintType(
        "keywords:frequency",
        _sample_frequency,
        _frequency_wordings,
        lambda k: f"{k['keyword']} {k['relation']} {k['frequency']} times",
        _observe_frequency,
        _achieve_frequency,
        _violate_frequency,
    ),
)
"""The types of this module."""
