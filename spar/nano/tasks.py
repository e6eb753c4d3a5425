"""Prompts of nano-if and their splits. Everything is a function of (split, seed, index).

A task's split is a hash of its constraints, not of its wording, so train, validation and test are
disjoint by construction: no set of constraints is in two of them, however it is worded.

    >>> sample_task("test", seed=0, index=0).text  # doctest: +SKIP
    'Write something short. Use exactly 9 words. Do not use any commas.'
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from spar.nano.constraint_type import Constraint
from spar.nano.constraints import CONSTRAINT_TYPES, sample_constraints
from spar.nano.lexicon import KEYWORDS
from spar.nano.synthetic import SYNTHETIC_TASKS
from spar.nano.writer import solve
from spar.types import Message, Prompt

SOURCE = "nano-if"
"""The source of its prompts."""
Split = Literal["train", "validation", "test"]

_SHARES: tuple[tuple[Split, int], ...] = (("train", 80), ("validation", 90), ("test", 100))
_SYNTHETIC_SHARE = 0.1
_SOLVE_TRIES = 6
OPENINGS = (
    "Write something short.",
    "Write a short text.",
    "Describe a small scene.",
    "Tell me something.",
    "Make up a line or two.",
)


@dataclass(frozen=True, slots=True)
class Task:
    """A worded set of constraints."""

    text: str
    """The instruction."""
    constraints: tuple[Constraint, ...]

    def prompt(self, prompt_id: str, source: str = SOURCE) -> Prompt:
        """The task as a prompt with IFEval's fields in its meta."""
        meta = {
            "instruction_id_list": [constraint.id for constraint in self.constraints],
            "kwargs": [deepcopy(constraint.kwargs) for constraint in self.constraints],
        }
        message = Message(role="user", content=self.text)
        return Prompt(id=prompt_id, messages=(message,), source=source, meta=meta)


def split_of(constraints: Sequence[Constraint]) -> Split:
    """The split of a set of constraints."""
    key = sorted(json.dumps([c.id, c.kwargs], sort_keys=True) for c in constraints)
    bucket = int.from_bytes(hashlib.sha256("\n".join(key).encode()).digest()[:4], "big") % 100
    return next(split for split, bound in _SHARES if bucket < bound)


@lru_cache(maxsize=8192)  # a report reads the same test prompts for each evaluation
def sample_task(split: Split, seed: int, index: int) -> Task:
    """The task at `index` of a split; it has at least one solution."""
    rng = random.Random(f"nano-if/{split}/{seed}/{index}")
    while True:
        constraints = _draw(rng)
        if split_of(constraints) == split and _solvable(constraints, rng):
            return Task(_word(constraints, rng), constraints)


def harder_task(task: Task, rng: random.Random) -> Task | None:
    """The task with one constraint more, of the same split and with a solution; None where there is none."""
    if any(constraint.id not in CONSTRAINT_TYPES for constraint in task.constraints):
        return None
    groups = {CONSTRAINT_TYPES[constraint.id].group for constraint in task.constraints}
    names = {constraint.id for constraint in task.constraints}
    used = json.dumps([constraint.kwargs for constraint in task.constraints])
    free = [word for word in KEYWORDS if f'"{word}"' not in used]
    candidates = [
        each
        for each in CONSTRAINT_TYPES.values()
        if each.id not in names and not (each.group and each.group in groups)
    ]
    for candidate in rng.sample(candidates, len(candidates)):
        added = Constraint(candidate.id, candidate.sample(rng, rng.sample(free, len(free))))
        constraints = (*task.constraints, added)
        if split_of(constraints) == split_of(task.constraints) and _solvable(constraints, rng):
            ask = rng.choice(candidate.wordings(added.kwargs))
            joined = f"{task.text}\n- {ask}" if "\n- " in task.text else f"{task.text} {ask}"
            return Task(joined, constraints)
    return None


def prompts(split: Split, seed: int = 0, limit: int = 500) -> Iterator[Prompt]:
    """The first `limit` prompts of a split, ids such as `nano-test-0-17`."""
    for index in range(limit):
        yield sample_task(split, seed, index).prompt(f"nano-{split}-{seed}-{index}")


def _draw(rng: random.Random) -> tuple[Constraint, ...]:
    if rng.random() < _SYNTHETIC_SHARE:
        synthetic = rng.choice(list(SYNTHETIC_TASKS.values()))
        return (Constraint(synthetic.id, synthetic.sample(rng)),)
    return sample_constraints(rng, rng.choice((2, 2, 3, 3, 4)))


def _solvable(constraints: Sequence[Constraint], rng: random.Random) -> bool:
    return any(solve(constraints, rng) for _ in range(_SOLVE_TRIES))


def _word(constraints: Sequence[Constraint], rng: random.Random) -> str:
    if constraints[0].id in SYNTHETIC_TASKS:
        synthetic = SYNTHETIC_TASKS[constraints[0].id]
        return rng.choice(synthetic.wordings(constraints[0].kwargs))
    asks = [rng.choice(CONSTRAINT_TYPES[c.id].wordings(c.kwargs)) for c in constraints]
    if rng.random() < 0.25:
        return "\n".join([rng.choice(OPENINGS), *(f"- {ask}" for ask in asks)])
    return " ".join([rng.choice(OPENINGS), *asks])
