"""The teacher that the embedded model imitates: drafts, critiques and refinements with planned flaws.

Search, voting and training are there to recover from these flaws, which come in two kinds. Flaws that
greedy decoding should show are systematic: drafts mostly ignore some constraint types. Flaws that voting
should average out are independent noise: a line of a critique is flipped, a refinement violates a
constraint. `FlawRates` holds every rate.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from spar.nano.constraint_type import Constraint, ConstraintType
from spar.nano.constraints import CONSTRAINT_TYPES
from spar.nano.synthetic import SYNTHETIC_TASKS, SyntheticTask
from spar.nano.tasks import Task
from spar.nano.writer import break_constraints, repair, solve
from spar.own_verifiers import verify


@dataclass(frozen=True, slots=True)
class FlawRates:
    """Rates of the planned flaws, all in [0, 1]."""

    ignored: Mapping[str, float] = field(
        default_factory=lambda: {
            "nano:exact_words": 0.7,
            "keywords:frequency": 0.65,
            "startend:end_checker": 0.8,
        }
    )
    """Constraint type to how often a draft violates it: the systematic weakness."""
    broken_draft: float = 0.1
    """How often any other constraint of a draft is violated: independent noise."""
    wrong_line: float = 0.1
    """How often a line of a critique states the opposite of the truth."""
    broken_refinement: float = 0.08
    """How often a refinement still violates a constraint."""


def write_draft(task: Task, rates: FlawRates, rng: random.Random) -> str:
    """An actor's response with the planned flaws."""
    response = _solved(task, rng)
    broken = [
        c for c in task.constraints if rng.random() < rates.ignored.get(c.id, rates.broken_draft)
    ]
    return break_constraints(response, task.constraints, broken, rng) if broken else response


def write_critique(task: Task, response: str, rates: FlawRates, rng: random.Random) -> str:
    """The numbered words of the response, one line for each constraint, the final judgement.

    Lines refer to words by number. Each line is flipped at the rate `wrong_line`, so that votes differ.
    """
    met = [verify(response, c.id, c.kwargs) for c in task.constraints]
    stated = [value != (rng.random() < rates.wrong_line) for value in met]
    lines = [
        f"- {describe(c)}: {observe(c, response)}, {'met' if ok else 'not met'}."
        for c, ok in zip(task.constraints, stated, strict=True)
    ]
    if task.constraints[0].id not in SYNTHETIC_TASKS:
        lines.insert(0, f"Words: {count_out(response)}.")
    return "\n".join([*lines, f"Final Judgement: {'Yes' if all(stated) else 'No'}"])


def write_refinement(task: Task, response: str, rates: FlawRates, rng: random.Random) -> str:
    """Reflection and refined response; the latter violates a constraint at the rate `broken_refinement`."""
    wrong = [c for c in task.constraints if not verify(response, c.id, c.kwargs)]
    refined = repair(response, task.constraints, rng) or _solved(task, rng)
    if rng.random() < rates.broken_refinement:
        refined = break_constraints(
            refined, task.constraints, [rng.choice(wrong or task.constraints)], rng
        )
    reflection = "; ".join(describe(c) for c in wrong) or "nothing"
    return f"To mend: {reflection}.\nFinal Refined Output:\n[[start]]\n{refined}\n[[end]]"


def write_response(task: Task, rng: random.Random, *, passing: bool) -> str:
    """A response to judge: it meets all constraints, or violates one or two."""
    response = _solved(task, rng)
    if passing:
        return response
    count = min(len(task.constraints), 1 if rng.random() < 0.7 else 2)
    return break_constraints(response, task.constraints, rng.sample(task.constraints, count), rng)


def count_out(response: str) -> str:
    """The words of a response in lower case, each after its number."""
    words = re.findall(r"\w+", response.lower())
    return " ".join(f"{i} {word}" for i, word in enumerate(words, 1))


def describe(constraint: Constraint) -> str:
    """The short name of a constraint in critiques and reflections."""
    return _type_of(constraint).describe(constraint.kwargs)


def observe(constraint: Constraint, response: str) -> str:
    """The evidence for a constraint that a critique quotes from a response."""
    return _type_of(constraint).observe(response, constraint.kwargs)


def _type_of(constraint: Constraint) -> ConstraintType | SyntheticTask:
    return CONSTRAINT_TYPES.get(constraint.id) or SYNTHETIC_TASKS[constraint.id]


def _solved(task: Task, rng: random.Random) -> str:
    while (response := solve(task.constraints, rng)) is None:
        continue
    return response
