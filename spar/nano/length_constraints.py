"""Constraint types for length: words, exact words, sentences."""

from __future__ import annotations

import random
from collections.abc import Callable

from spar.instruction_checks import count_words
from spar.nano import draft as edit
from spar.nano.constraint_type import ConstraintType, Kwargs
from spar.nano.draft import Draft
from spar.own_verifiers import count_sentences


def _draw_number(low: int, high: int, name: str) -> Callable[..., Kwargs]:
    def sample(rng: random.Random, _: list[str]) -> Kwargs:
        relation = rng.choice(("at least", "less than"))
        return {"relation": relation, name: rng.randint(low, high)}

    return sample


def _words_wordings(k: Kwargs) -> tuple[str, ...]:
    n = k["num_words"]
    if k["relation"] == "at least":
        return (
            f"Use at least {n} words.",
            f"Your answer should have {n} words or more.",
            f"Write no fewer than {n} words.",
        )
    return (f"Use less than {n} words.", f"Keep it under {n} words.", f"Stay below {n} words.")


def _sentences_wordings(k: Kwargs) -> tuple[str, ...]:
    n = k["num_sentences"]
    if k["relation"] == "at least":
        return (f"Write at least {n} sentences.", f"Give {n} sentences or more.")
    return (f"Write less than {n} sentences.", f"Keep it under {n} sentences.")


def _compared(count: int, bound: str) -> str:
    # The bound is repeated next to the count, so that a small model compares neighbouring tokens.
    return f"{count}, asked {bound}"


def _step_words(draft: Draft, missing: int, rng: random.Random) -> None:
    if missing > 0:
        (edit.add_phrase if missing >= 3 and rng.random() < 0.5 else edit.add_word)(draft, rng)
    elif missing <= -3 and rng.random() < 0.5:
        edit.drop_phrase(draft)
    else:
        edit.drop_word(draft, rng)


def _approach_words(draft: Draft, low: int, high: int, rng: random.Random) -> None:
    for _ in range(12):
        count = count_words(draft.render())
        if low <= count <= high:
            return
        _step_words(draft, low - count if count < low else high - count, rng)


def _achieve_words(draft: Draft, k: Kwargs, rng: random.Random) -> None:
    n = k["num_words"]
    low, high = (n, n + 3) if k["relation"] == "at least" else (max(3, n - 4), n - 1)
    _approach_words(draft, low, high, rng)


def _violate_words(draft: Draft, k: Kwargs, rng: random.Random) -> None:
    n = k["num_words"]
    low, high = (n - 3, n - 1) if k["relation"] == "at least" else (n, n + 2)
    _approach_words(draft, low, high, rng)


def _violate_exact_words(draft: Draft, k: Kwargs, rng: random.Random) -> None:
    goal = k["num_words"] + rng.choice((-2, -1, 1, 2))
    _approach_words(draft, goal, goal, rng)


def _achieve_sentences(draft: Draft, k: Kwargs, rng: random.Random) -> None:
    more = k["relation"] == "at least"
    edit.add_sentence(draft, rng) if more else edit.drop_sentence(draft)


def _violate_sentences(draft: Draft, k: Kwargs, rng: random.Random) -> None:
    for _ in range(4):
        count = count_sentences(draft.render())
        if k["relation"] == "at least" and count >= k["num_sentences"]:
            edit.drop_sentence(draft)
        elif k["relation"] == "less than" and count < k["num_sentences"]:
            edit.add_sentence(draft, rng)


CONSTRAINT_TYPES = (
    ConstraintType(
        "length_constraints:number_words",
        _draw_number(7, 15, "num_words"),
        _words_wordings,
        lambda k: f"{k['relation']} {k['num_words']} words",
        lambda text, k: _compared(count_words(text), f"{k['relation']} {k['num_words']}"),
        _achieve_words,
        _violate_words,
        group="words",
    ),
    ConstraintType(
        "nano:exact_words",
        lambda rng, _: {"num_words": rng.randint(6, 14)},
        lambda k: (
            f"Use exactly {k['num_words']} words.",
            f"The text must be {k['num_words']} words long.",
            f"Write {k['num_words']} words in all.",
        ),
        lambda k: f"exactly {k['num_words']} words",
        lambda text, k: _compared(count_words(text), f"exactly {k['num_words']}"),
        lambda d, k, rng: _approach_words(d, k["num_words"], k["num_words"], rng),
        _violate_exact_words,
        group="words",
    ),
    ConstraintType(
        "length_constraints:number_sentences",
        _draw_number(2, 3, "num_sentences"),
        _sentences_wordings,
        lambda k: f"{k['relation']} {k['num_sentences']} sentences",
        lambda text, k: _compared(count_sentences(text), f"{k['relation']} {k['num_sentences']}"),
        _achieve_sentences,
        _violate_sentences,
    ),
)
"""The types of this module."""
