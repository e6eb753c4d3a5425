"""The two synthetic tasks of the paper's Figure 4, each a task of one constraint.

Character sequence: write one letter a given number of times; the interfering factor is the share of
upper case. Story: write a story with a fixed first and last sentence; the interfering factor is the
middle.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spar.nano.draft import Draft, parse, random_sentence, swap_any
from spar.nano.lexicon import SEQUENCE_LETTERS

Kwargs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SyntheticTask:
    """One synthetic task, with the fields of `ConstraintType` that apply and its own writer."""

    id: str
    sample: Callable[[random.Random], dict[str, Any]]
    wordings: Callable[[Kwargs], tuple[str, ...]]
    describe: Callable[[Kwargs], str]
    observe: Callable[[str, Kwargs], str]
    solve: Callable[[Kwargs, random.Random], str]
    break_: Callable[[str, Kwargs, random.Random], str]
    repair: Callable[[str, Kwargs, random.Random], str]


def _mixed_case(character: str, length: int, rng: random.Random) -> str:
    share = rng.choice((0.0, 0.5, 1.0))
    return "".join(character.upper() if rng.random() < share else character for _ in range(length))


def _sequence_solve(k: Kwargs, rng: random.Random) -> str:
    return _mixed_case(k["character"], k["length"], rng)


def _sequence_break(text: str, k: Kwargs, rng: random.Random) -> str:
    length = max(1, k["length"] + rng.choice((-2, -1, 1, 2)))
    return (text + _mixed_case(k["character"], length, rng))[:length]


def _sequence_repair(text: str, k: Kwargs, rng: random.Random) -> str:
    letters = "".join(c for c in text if c.lower() == k["character"])
    return (letters + _mixed_case(k["character"], k["length"], rng))[: k["length"]]


def _sentence(rng: random.Random) -> str:
    while len(words := random_sentence(rng)) > 8:
        continue
    return Draft([words]).render()


def _story_sample(rng: random.Random) -> dict[str, Any]:
    return {"first_sentence": _sentence(rng), "last_sentence": _sentence(rng)}


def _story_text(k: Kwargs, middle: str) -> str:
    return f"{k['first_sentence']} {middle} {k['last_sentence']}"


def _story_break(text: str, k: Kwargs, rng: random.Random) -> str:
    side = rng.choice(("first_sentence", "last_sentence"))
    if rng.random() < 0.3:
        return text.replace(k[side], "").strip()
    draft = parse(k[side])
    swap_any(draft, rng)
    return text.replace(k[side], draft.render())


def _story_repair(text: str, k: Kwargs, rng: random.Random) -> str:
    pieces = [piece for piece in parse(text).sentences if piece]
    middle = pieces[1] if len(pieces) > 2 else random_sentence(rng)
    return _story_text(k, Draft([middle]).render())


def _story_observe(text: str, k: Kwargs) -> str:
    first = "kept" if text.strip().startswith(k["first_sentence"]) else "changed"
    last = "kept" if text.strip().endswith(k["last_sentence"]) else "changed"
    return f"first {first} last {last}"


_ALL = (
    SyntheticTask(
        "nano:character_sequence",
        lambda rng: {"character": rng.choice(SEQUENCE_LETTERS), "length": rng.randint(3, 12)},
        lambda k: (
            f"Write the letter {k['character']} {k['length']} times without spaces.",
            f"Repeat the letter {k['character']} so that it stands {k['length']} times in a row.",
        ),
        lambda k: f"the letter {k['character']} {k['length']} times",
        lambda text, k: f"{len(text.strip())}, asked {k['length']}",
        _sequence_solve,
        _sequence_break,
        _sequence_repair,
    ),
    SyntheticTask(
        "nano:story",
        _story_sample,
        lambda k: (
            f'Tell a story. The first sentence is "{k["first_sentence"]}" '
            f'The last sentence is "{k["last_sentence"]}"',
            f'Write a story that opens with "{k["first_sentence"]}" '
            f'and closes with "{k["last_sentence"]}"',
        ),
        lambda _: "first and last sentence as given",
        _story_observe,
        lambda k, rng: _story_text(k, _sentence(rng)),
        _story_break,
        _story_repair,
    ),
)

SYNTHETIC_TASKS: Mapping[str, SyntheticTask] = {task.id: task for task in _ALL}
"""Id to task."""
