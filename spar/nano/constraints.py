"""The constraint types of nano-if: how each is drawn, worded, checked off, met and broken.

One `Kind` a type, all in `KINDS`. A constraint is an id and its keyword arguments, as in IFEval.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spar.nano import draft as edit
from spar.nano.draft import Draft
from spar.nano.lexicon import ENDINGS, KEYWORDS, STARTERS
from spar.nano.verifiers import count_sentences, count_words, first_word

Kwargs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Constraint:
    """One requirement."""

    id: str
    kwargs: Kwargs


@dataclass(frozen=True, slots=True)
class Kind:
    """All that nano-if knows of one constraint type."""

    id: str
    sample: Callable[[random.Random, list[str]], Kwargs]
    """Draw arguments; the list holds keywords not yet taken, and the draw takes from it."""
    wordings: Callable[[Kwargs], tuple[str, ...]]
    """Ways to ask for it."""
    describe: Callable[[Kwargs], str]
    """The short name that critiques and reflections use."""
    observe: Callable[[str, Kwargs], str]
    """What a critique says it saw in a response."""
    achieve: Callable[[Draft, Kwargs, random.Random], None]
    """One edit towards meeting it."""
    violate: Callable[[Draft, Kwargs, random.Random], None]
    """Edits that most likely break it."""
    group: str = ""
    """Types of one group exclude each other."""


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


def _enumerate_words(text: str, _: Kwargs) -> str:
    words = re.findall(r"\w+", text)
    return " ".join(f"{i} {word}" for i, word in enumerate(words, 1)) + f" = {len(words)}"


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


def _sample_existence(rng: random.Random, free: list[str]) -> Kwargs:
    return {"keywords": [free.pop() for _ in range(rng.choice((1, 1, 2)))]}


def _quote_list(words: list[str]) -> str:
    return " and ".join(f'"{word}"' for word in words)


def _existence_wordings(k: Kwargs) -> tuple[str, ...]:
    words = _quote_list(k["keywords"])
    return (f"Include {words}.", f"Mention {words} somewhere.", f"It has to contain {words}.")


def _observe_existence(text: str, k: Kwargs) -> str:
    seen = [(w, "found" if w in text.lower() else "missing") for w in k["keywords"]]
    return " ".join(f"{word} {state}" for word, state in seen)


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
    return {"keyword": free.pop(), "frequency": rng.choice((2, 2, 3)), "relation": relation}


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


_ALL = (
    Kind(
        "length_constraints:number_words",
        _draw_number(7, 15, "num_words"),
        _words_wordings,
        lambda k: f"{k['relation']} {k['num_words']} words",
        _enumerate_words,
        _achieve_words,
        _violate_words,
        group="words",
    ),
    Kind(
        "nano:exact_words",
        lambda rng, _: {"num_words": rng.randint(6, 14)},
        lambda k: (
            f"Use exactly {k['num_words']} words.",
            f"The text must be {k['num_words']} words long.",
            f"Write {k['num_words']} words in all.",
        ),
        lambda k: f"exactly {k['num_words']} words",
        _enumerate_words,
        lambda d, k, rng: _approach_words(d, k["num_words"], k["num_words"], rng),
        _violate_exact_words,
        group="words",
    ),
    Kind(
        "length_constraints:number_sentences",
        _draw_number(2, 3, "num_sentences"),
        _sentences_wordings,
        lambda k: f"{k['relation']} {k['num_sentences']} sentences",
        lambda text, _: f"{count_sentences(text)} counted",
        _achieve_sentences,
        _violate_sentences,
    ),
    Kind(
        "keywords:existence",
        _sample_existence,
        _existence_wordings,
        lambda k: f"includes {_quote_list(k['keywords'])}",
        _observe_existence,
        _achieve_existence,
        lambda d, k, rng: _swap_all(d, rng.choice(k["keywords"]), rng),
        group="existence",
    ),
    Kind(
        "keywords:forbidden_words",
        lambda rng, free: {"forbidden_words": [free.pop()]},
        _forbidden_wordings,
        lambda k: f"avoids {_quote_list(k['forbidden_words'])}",
        lambda text, k: _observe_existence(text, {"keywords": k["forbidden_words"]}),
        _achieve_forbidden,
        lambda d, k, rng: edit.add_keyword(d, rng.choice(k["forbidden_words"]), rng),
    ),
    Kind(
        "keywords:frequency",
        _sample_frequency,
        _frequency_wordings,
        lambda k: f'"{k["keyword"]}" {k["relation"]} {k["frequency"]} times',
        lambda text, k: f"{_occurrences(text, k['keyword'])} counted",
        _achieve_frequency,
        _violate_frequency,
    ),
    Kind(
        "startend:end_checker",
        lambda rng, _: {"end_phrase": rng.choice(ENDINGS)},
        lambda k: (
            f'End with the phrase "{k["end_phrase"]}"',
            f'Finish with these exact words: "{k["end_phrase"]}"',
        ),
        lambda k: f'ends with "{k["end_phrase"]}"',
        lambda text, k: (
            "it does"
            if text.strip(' "').lower().endswith(k["end_phrase"].lower())
            else "it does not"
        ),
        lambda d, k, _: setattr(d, "ending", k["end_phrase"]),
        _violate_end,
    ),
    Kind(
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
    Kind(
        "change_case:english_capital",
        _nothing,
        lambda _: ("Use capital letters only.", "Write everything in capitals."),
        lambda _: "all capitals",
        _yes_no(str.isupper),
        _setter("case", "upper"),
        _setter("case", "normal"),
        group="case",
    ),
    Kind(
        "change_case:english_lowercase",
        _nothing,
        lambda _: ("Use lower case letters only.", "No capital letters are allowed."),
        lambda _: "all lower case",
        _yes_no(str.islower),
        _setter("case", "lower"),
        _setter("case", "normal"),
        group="case",
    ),
    Kind(
        "punctuation:no_comma",
        _nothing,
        lambda _: ("Do not use any commas.", "Write without commas."),
        lambda _: "no commas",
        lambda text, _: f"{text.count(',')} counted",
        lambda d, _, __: edit.drop_commas(d),
        lambda d, _, rng: edit.add_comma(d, rng),
    ),
    Kind(
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

KINDS: Mapping[str, Kind] = {kind.id: kind for kind in _ALL}
"""Constraint type to its kind. The synthetic tasks of `synthetic.py` are not combined with these."""


def sample_constraints(rng: random.Random, count: int) -> tuple[Constraint, ...]:
    """Draw `count` constraints, no two of one group, keywords all distinct."""
    free = rng.sample(KEYWORDS, len(KEYWORDS))
    chosen: list[Kind] = []
    for kind in rng.sample(_ALL, len(_ALL)):
        if len(chosen) < count and not (kind.group and kind.group in {k.group for k in chosen}):
            chosen.append(kind)
    return tuple(Constraint(kind.id, kind.sample(rng, free)) for kind in chosen)
