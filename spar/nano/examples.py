"""Training conversations of the embedded model, in the templates that a search uses.

Two kinds: the actor's (prompt, draft) and the judge's (judge prompt, critique), the latter followed by
the refiner's turns where the critique says No. Two more form a curriculum and fade out: repetitions of
random words, from which copying attention heads form early, and drills, which are judge conversations
about many constraints of one response, about half of them met; they teach lookup, counting and comparison.
Without drills, a model of this size had learnt to count after 8 million tokens, but not to decide whether
a word occurs in a response (reports/LOG.md).
"""

from __future__ import annotations

import random

from spar.instruction_checks import count_words
from spar.nano.constraint_type import Constraint, ConstraintType
from spar.nano.constraints import CONSTRAINT_TYPES
from spar.nano.draft import parse
from spar.nano.lexicon import CATEGORY, KEYWORDS, STARTERS
from spar.nano.tasks import Split, Task, sample_task
from spar.nano.teacher import (
    FlawRates,
    write_critique,
    write_draft,
    write_refinement,
    write_response,
)
from spar.own_verifiers import first_word
from spar.templates import load
from spar.types import Message

ACTOR_SHARE = 0.35
"""Share of the actor's conversations; the rest are the judge's and the refiner's."""

_TRUTHFUL = FlawRates(ignored={}, broken_draft=0.0, wrong_line=0.0, broken_refinement=0.0)
_DRILL_LINES = 8
_LOOKING_UP = tuple(name for name in CONSTRAINT_TYPES if name.startswith("keywords:"))
_COMPARING = (
    "length_constraints:number_words",
    "nano:exact_words",
    "nano:exact_words",
    "nano:first_word",
    "startend:end_checker",
)
_DRILLS = ((*_LOOKING_UP, *CONSTRAINT_TYPES), _COMPARING, _COMPARING)


def sample_conversation(
    split: Split, seed: int, index: int, rates: FlawRates, rng: random.Random
) -> tuple[Message, ...]:
    """One conversation; the loss is on the assistant's turns."""
    if rng.random() < _fading(0.5, 0.02, index / 20_000):
        return _repetition(rng)
    task = sample_task(split, seed, index)
    if rng.random() < _fading(0.5, 0.15, index / 60_000):
        return _drill(_reviewed_response(task, rates, rng), rng)
    if rng.random() < ACTOR_SHARE:
        draft = write_draft(task, rates, rng)
        return (_user(task.text), _assistant(draft))
    return _review(task, rates, rng)


def _review(task: Task, rates: FlawRates, rng: random.Random) -> tuple[Message, ...]:
    templates = load()
    response = _reviewed_response(task, rates, rng)
    critique = write_critique(task, response, rates, rng)
    question = _user(task.text)
    opening = (_user(templates.judge_prompt((question,), response)), _assistant(critique))
    if critique.endswith("Yes"):
        return opening
    refinement = write_refinement(task, response, rates, rng)
    return (*opening, _user(templates.refine_request()), _assistant(refinement))


def _repetition(rng: random.Random) -> tuple[Message, ...]:
    words = " ".join(rng.choices(list(CATEGORY), k=rng.randint(4, 14)))
    words = rng.choice((str.lower, str.upper, str.title))(words)
    return (_user(f"Repeat: {words}"), _assistant(words))


def _fading(start: float, end: float, progress: float) -> float:
    return max(end, start + (end - start) * progress)


def _drill(response: str, rng: random.Random) -> tuple[Message, ...]:
    used = [word for words in parse(response).sentences for word in words if word in KEYWORDS]
    free = [rng.choice(used if used and rng.random() < 0.5 else KEYWORDS) for _ in range(60)]
    drilled = rng.choices([CONSTRAINT_TYPES[name] for name in rng.choice(_DRILLS)], k=_DRILL_LINES)
    constraints = tuple(_near_response(each, response, free, rng) for each in drilled)
    asks = [f"- {rng.choice(CONSTRAINT_TYPES[c.id].wordings(c.kwargs))}" for c in constraints]
    text = "\n".join(["Write something short.", *asks])
    critique = write_critique(Task(text, constraints), response, _TRUTHFUL, rng)
    judge_prompt = load().judge_prompt((_user(text),), response)
    return (_user(judge_prompt), _assistant(critique))


def _near_response(
    constraint_type: ConstraintType, response: str, free: list[str], rng: random.Random
) -> Constraint:
    """A constraint whose bound is close to what the response has."""
    kwargs = constraint_type.sample(rng, free)
    if "num_words" in kwargs:
        kwargs["num_words"] = max(
            2, count_words(response) + rng.choice((-3, -2, -1, 0, 0, 1, 2, 3))
        )
    if "first_word" in kwargs and first_word(response) in STARTERS and rng.random() < 0.5:
        kwargs["first_word"] = first_word(response)
    ending = parse(response).ending
    if "end_phrase" in kwargs and ending and rng.random() < 0.5:
        kwargs["end_phrase"] = ending
    return Constraint(constraint_type.id, kwargs)


def _reviewed_response(task: Task, rates: FlawRates, rng: random.Random) -> str:
    if rng.random() < 0.4:
        return write_draft(task, rates, rng)
    return write_response(task, rng, passing=rng.random() < 0.35)


def _user(text: str) -> Message:
    return Message(role="user", content=text)


def _assistant(text: str) -> Message:
    return Message(role="assistant", content=text)
