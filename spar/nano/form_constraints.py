"""Constraint types for form: ending, quotes, case, commas, first word."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from spar.nano import draft as edit
from spar.nano.constraint_type import ConstraintType, Kwargs
from spar.nano.draft import Draft
from spar.nano.lexicon import ENDINGS, STARTERS
from spar.own_verifiers import first_word


def _observe_end(text: str, _: Kwargs) -> str:
    return " ".join(["last words", *re.findall(r"\w+", text.lower())[-2:]])


def _violate_end(draft: Draft, k: Kwargs, rng: random.Random) -> None:
    others = [ending for ending in ENDINGS if ending != k["end_phrase"]]
    draft.ending = rng.choice(others) if rng.random() < 0.4 else None


def _violate_first_word(draft: Draft, k: Kwargs, rng: random.Random) -> None:
    others = [word for word in STARTERS if word != k["first_word"]]
    if rng.random() < 0.5:
        edit.set_first_word(draft, rng.choice(others))
    elif draft.sentences[0][0] == k["first_word"] and len(draft.sentences[0]) > 2:
        del draft.sentences[0][: 2 if draft.sentences[0][1] == "," else 1]


def _setter(name: str, value: object) -> Callable[[Draft, Kwargs, random.Random], None]:
    def change(draft: Draft, _: Kwargs, __: random.Random) -> None:
        setattr(draft, name, value)

    return change


def _nothing(_: random.Random, __: list[str]) -> Kwargs:
    return {}


def _yes_no(holds: Callable[[str], bool]) -> Callable[[str, Kwargs], str]:
    return lambda text, _: "it is" if holds(text) else "it is not"


CONSTRAINT_TYPES = (
    ConstraintType(
        "startend:end_checker",
        lambda rng, _: {"end_phrase": rng.choice(ENDINGS)},
        lambda k: (
            f'End with the phrase "{k["end_phrase"]}"',
            f'Finish with these exact words: "{k["end_phrase"]}"',
        ),
        lambda k: f'ends with "{k["end_phrase"]}"',
        _observe_end,
        lambda d, k, _: setattr(d, "ending", k["end_phrase"]),
        _violate_end,
    ),
    ConstraintType(
        "startend:quotation",
        _nothing,
        lambda _: (
            "Wrap the whole answer in double quotes.",
            "Put it all in double quotation marks.",
        ),
        lambda _: "in double quotes",
        _yes_no(lambda text: text.strip()[:1] == '"' == text.strip()[-1:]),
        _setter("quoted", True),
        _setter("quoted", False),
    ),
    ConstraintType(
        "change_case:english_capital",
        _nothing,
        lambda _: ("Use capital letters only.", "Write everything in capitals."),
        lambda _: "all capitals",
        _yes_no(str.isupper),
        _setter("case", "upper"),
        _setter("case", "normal"),
        group="case",
    ),
    ConstraintType(
        "change_case:english_lowercase",
        _nothing,
        lambda _: ("Use lower case letters only.", "No capital letters are allowed."),
        lambda _: "all lower case",
        _yes_no(str.islower),
        _setter("case", "lower"),
        _setter("case", "normal"),
        group="case",
    ),
    ConstraintType(
        "punctuation:no_comma",
        _nothing,
        lambda _: ("Do not use any commas.", "Write without commas."),
        lambda _: "no commas",
        lambda text, _: f"{text.count(',')} counted",
        lambda d, _, __: edit.drop_commas(d),
        lambda d, _, rng: edit.add_comma(d, rng),
    ),
    ConstraintType(
        "nano:first_word",
        lambda rng, _: {"first_word": rng.choice(STARTERS)},
        lambda k: (
            f'Start with the word "{k["first_word"]}".',
            f'The first word must be "{k["first_word"]}".',
        ),
        lambda k: f'starts with "{k["first_word"]}"',
        lambda text, _: f"starts with {first_word(text)}",
        lambda d, k, _: edit.set_first_word(d, k["first_word"]),
        _violate_first_word,
    ),
)
"""The types of this module."""
