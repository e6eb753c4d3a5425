"""Which examples teach something within the cutoff; the others are left out of a training, and counted.

A pair whose sides are equal, also where it is cut, has no gradient but that of the SFT term; an example whose prompt
fills the cutoff has no reply left, and an empty reply teaches to say nothing. Pure: knows tokens, no trainer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spar.errors import UsageError
from spar.train.encode import IGNORED, Encoded

EMPTY = "the reply is empty"
NO_REPLY = "the prompt fills the cutoff"
EQUAL = "both sides are equal"
EQUAL_AFTER_CUT = "both sides are equal up to the cutoff"
MAX_DROPPED = 0.5
"""Share of the examples that may be left out; above it the data are wrong, and nothing is trained."""


@dataclass(frozen=True, slots=True)
class Usable:
    """The examples that are trained on."""

    indexes: tuple[int, ...]
    """Their positions in the data file, from 0."""
    dropped: Mapping[str, int]
    """Why others are left out, to their number."""

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} where {reason}" for reason, count in self.dropped.items())
        return f"left out, since they teach nothing: {reasons}"


def pair_problem(prompt: int, chosen: Sequence[int], rejected: Sequence[int], cutoff: int) -> str:
    """Why a pair teaches nothing; "" where it does.

    Parameters
    ----------
    prompt:
        Tokens of the prompt, with the start of the reply.
    chosen, rejected:
        All tokens of either side, the prompt's included.
    """
    if list(chosen) == list(rejected):
        return EQUAL
    if prompt >= cutoff:
        return NO_REPLY
    return EQUAL_AFTER_CUT if list(chosen[:cutoff]) == list(rejected[:cutoff]) else ""


def conversation_problem(example: Encoded, cutoff: int) -> str:
    """Why a conversation teaches nothing; "" where it does."""
    taught = any(label != IGNORED for label in example.labels[:cutoff])
    return "" if taught else NO_REPLY


def select_usable(problems: Sequence[str], data: str) -> Usable:
    """The examples without a problem.

    Raises
    ------
    UsageError
        More than `MAX_DROPPED` of them have one.
    """
    dropped = Counter(problem for problem in problems if problem)
    usable = Usable(tuple(i for i, problem in enumerate(problems) if not problem), dict(dropped))
    if dropped.total() > MAX_DROPPED * len(problems):
        raise UsageError(
            f"{data}: too many of its {len(problems)} examples would be {usable}; at most {MAX_DROPPED:.0%} may be: "
            "correct the data, or raise cutoff"
        )
    return usable
