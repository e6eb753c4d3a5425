"""Training conversations of the embedded model, in the very templates that a search uses.

Two shapes: the actor's (prompt, draft) and the judge's (judge prompt, critique), the latter followed
by the refiner's turns wherever the critique says No. A third one, repeating random words, is a
curriculum: it fades out, and only makes the attention heads that copy form early.
"""

from __future__ import annotations

import random

from spar.nano.lexicon import CATEGORY
from spar.nano.tasks import Split, Task, sample_task
from spar.nano.teacher import Dials, write_critique, write_draft, write_refinement, write_response
from spar.templates import load
from spar.types import Message

ACTOR_SHARE = 0.3
"""Share of the actor's conversations; the rest are the judge's and the refiner's."""

_COPY_FADE = 30_000
_COPY_FLOOR = 0.02


def sample_conversation(
    split: Split, seed: int, index: int, dials: Dials, rng: random.Random
) -> tuple[Message, ...]:
    """One conversation; the assistant's turns are what is learnt."""
    if rng.random() < max(_COPY_FLOOR, 0.6 * (1 - index / _COPY_FADE)):
        return _repetition(rng)
    task = sample_task(split, seed, index)
    if rng.random() < ACTOR_SHARE:
        draft = write_draft(task, dials, rng)
        return (_user(task.text), _assistant(draft))
    return _review(task, dials, rng)


def _review(task: Task, dials: Dials, rng: random.Random) -> tuple[Message, ...]:
    templates = load()
    response = _reviewed_response(task, dials, rng)
    critique = write_critique(task, response, dials, rng)
    question = _user(task.text)
    opening = (_user(templates.judge_prompt((question,), response)), _assistant(critique))
    if critique.endswith("Yes"):
        return opening
    refinement = write_refinement(task, response, dials, rng)
    return (*opening, _user(templates.refine_request()), _assistant(refinement))


def _repetition(rng: random.Random) -> tuple[Message, ...]:
    words = " ".join(rng.choices(list(CATEGORY), k=rng.randint(4, 14)))
    words = rng.choice((str.lower, str.upper, str.title))(words)
    return (_user(f"Repeat: {words}"), _assistant(words))


def _reviewed_response(task: Task, dials: Dials, rng: random.Random) -> str:
    if rng.random() < 0.4:
        return write_draft(task, dials, rng)
    return write_response(task, rng, passing=rng.random() < 0.6)


def _user(text: str) -> Message:
    return Message(role="user", content=text)


def _assistant(text: str) -> Message:
    return Message(role="assistant", content=text)
