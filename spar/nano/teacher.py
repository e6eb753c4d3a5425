"""The teacher that the embedded model imitates: drafts, critiques and refinements with planned flaws.

The flaws are what search, voting and training later win back, so they come in two sorts. A flaw that
greedy decoding should show is systematic: the actor's text mostly ignores some constraint types. A
flaw that voting should average away is independent noise: a judge's line that says the opposite, a
refinement that breaks something. `Dials` holds every rate.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from spar.nano.constraints import KINDS
from spar.nano.kind import Constraint, Kind
from spar.nano.synthetic import SYNTHETIC, Synthetic
from spar.nano.tasks import Task
from spar.nano.writer import break_some, mend, solve
from spar.verifiers import verify


@dataclass(frozen=True, slots=True)
class Dials:
    """Rates of the planned flaws, all in [0, 1]."""

    ignored: Mapping[str, float] = field(
        default_factory=lambda: {
            "nano:exact_words": 0.7,
            "keywords:frequency": 0.65,
            "startend:end_checker": 0.8,
        }
    )
    """Constraint type to how often a draft breaks it: the systematic weakness."""
    broken_draft: float = 0.1
    """How often any other constraint of a draft is broken: independent noise."""
    wrong_line: float = 0.1
    """How often a judge's line ends in the opposite of the truth."""
    broken_refinement: float = 0.08
    """How often a refinement still breaks a constraint."""


def write_draft(task: Task, dials: Dials, rng: random.Random) -> str:
    """An actor's response with the planned flaws."""
    response = _solved(task, rng)
    broken = [
        c for c in task.constraints if rng.random() < dials.ignored.get(c.id, dials.broken_draft)
    ]
    return break_some(response, task.constraints, broken, rng) if broken else response


def write_critique(task: Task, response: str, dials: Dials, rng: random.Random) -> str:
    """The response's words counted out, one line a constraint, the final judgement.

    What is found in the response is named by its place in the count. Each line is flipped at the
    dial's rate, so that votes differ.
    """
    met = [verify(response, c.id, c.kwargs) for c in task.constraints]
    said = [value != (rng.random() < dials.wrong_line) for value in met]
    lines = [
        f"- {describe(c)}: {observe(c, response)}, {'met' if ok else 'not met'}."
        for c, ok in zip(task.constraints, said, strict=True)
    ]
    if task.constraints[0].id not in SYNTHETIC:
        lines.insert(0, f"Words: {count_out(response)}.")
    return "\n".join([*lines, f"Final Judgement: {'Yes' if all(said) else 'No'}"])


def write_refinement(task: Task, response: str, dials: Dials, rng: random.Random) -> str:
    """Reflection and refined response; the refined response breaks something at the dial's rate."""
    wrong = [c for c in task.constraints if not verify(response, c.id, c.kwargs)]
    refined = mend(response, task.constraints, rng) or _solved(task, rng)
    if rng.random() < dials.broken_refinement:
        refined = break_some(
            refined, task.constraints, [rng.choice(wrong or task.constraints)], rng
        )
    reflection = "; ".join(describe(c) for c in wrong) or "nothing"
    return f"To mend: {reflection}.\nFinal Refined Output:\n[[start]]\n{refined}\n[[end]]"


def write_response(task: Task, rng: random.Random, *, passing: bool) -> str:
    """A response to be judged: one that meets all, or one with one or two constraints broken."""
    response = _solved(task, rng)
    if passing:
        return response
    count = min(len(task.constraints), 1 if rng.random() < 0.7 else 2)
    return break_some(response, task.constraints, rng.sample(task.constraints, count), rng)


def count_out(response: str) -> str:
    """Each word of a response in lower case behind its number."""
    words = re.findall(r"\w+", response.lower())
    return " ".join(f"{i} {word}" for i, word in enumerate(words, 1))


def describe(constraint: Constraint) -> str:
    """The short name of a constraint in critiques and reflections."""
    return _kind(constraint).describe(constraint.kwargs)


def observe(constraint: Constraint, response: str) -> str:
    """What a critique says it saw."""
    return _kind(constraint).observe(response, constraint.kwargs)


def _kind(constraint: Constraint) -> Kind | Synthetic:
    return KINDS.get(constraint.id) or SYNTHETIC[constraint.id]


def _solved(task: Task, rng: random.Random) -> str:
    while (response := solve(task.constraints, rng)) is None:
        continue
    return response
