"""One prompt: an instruction with constraints that were drawn for it, and the witness that they go together. Pure.

A draw is a function of the seed, the instruction's text and the number of the variant, so that prompts do not
depend on the order of the instructions or on how many others there are.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from spar.evolve.checkable.conflicts import compatible, objection
from spar.evolve.checkable.constraint_types import CONSTRAINT_TYPES, Constraint, Context
from spar.evolve.checkable.join import finished, join
from spar.evolve.checkable.vocabulary import topic_words
from spar.evolve.checkable.witness import witness
from spar.prompts import ARGUMENTS, INSTRUCTIONS, with_id
from spar.types import Message, Prompt
from spar.verifiers import passes

SEED_PROMPT = "seed_prompt"
"""Field of a prompt with the id of the instruction it was made from."""
NO_DRAW = "no constraints that go together"
"""Why a prompt is dropped of which no draw has a witness."""
REDRAWS = 20
"""Draws until a set of constraints has a witness."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Which constraints are drawn, and how often."""

    counts: Mapping[int, float]
    """Number of constraints of a prompt to its weight."""
    weights: Mapping[str, float]
    """Constraint type to its weight; others are not drawn."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """A seed prompt that takes constraints."""

    seed: Prompt
    types: tuple[str, ...]
    """The types that it takes."""
    source: str
    """Where it comes from."""


@dataclass(frozen=True, slots=True)
class CheckablePrompt:
    """A prompt whose constraints programs can check."""

    prompt: Prompt
    witness: str
    """A text that meets them all."""


class Drawer:
    """Draws prompts, and counts by reason what was drawn again."""

    def __init__(self, mix: Mix, seed: int | None) -> None:
        self._mix = mix
        self._seed = seed
        self.redrawn: Counter[str] = Counter()

    def draw(self, instruction: Instruction, variant: int) -> CheckablePrompt | None:
        """The variant of an instruction; None where no draw has a witness, or too few types are left."""
        turns = [[message.role, message.content] for message in instruction.seed.messages]
        rng = random.Random(json.dumps(["spar-checkable", self._seed, variant, *turns]))
        request = finished(instruction.seed.messages[-1].content)
        for _ in range(REDRAWS):
            constraints = self._constraints(instruction, request, rng)
            if constraints is None:
                self.redrawn["too few types that go together"] += 1
                continue
            if why := objection(constraints, request):
                self.redrawn[why] += 1
                continue
            prompt = _prompt(instruction, constraints, join(request, constraints, rng))
            if (proof := witness(constraints, partial(_meets_all, prompt))) is not None:
                return CheckablePrompt(prompt, proof)
            names = " + ".join(sorted(each.id for each in constraints))
            self.redrawn[f"no witness: {names}"] += 1
        return None

    def _constraints(
        self, instruction: Instruction, request: str, rng: random.Random
    ) -> list[Constraint] | None:
        """Constraints that go together by their types."""
        count = rng.choices([*self._mix.counts], [*self._mix.counts.values()])[0]
        chosen: list[str] = []
        candidates = [each for each in instruction.types if self._mix.weights.get(each)]
        while len(chosen) < count:
            free = [
                each
                for each in compatible(chosen, candidates)
                if _leaves_room(each, chosen, count, candidates)
            ]
            if not free:
                return None
            chosen += rng.choices(free, [self._mix.weights[each] for each in free])
        context = Context(rng, request, topic_words(request), chosen)
        return [CONSTRAINT_TYPES[each].draw(context) for each in chosen]


def _meets_all(prompt: Prompt, text: str) -> bool:
    return bool(passes(text, prompt))


def _leaves_room(
    type_id: str, chosen: Sequence[str], count: int, candidates: Sequence[str]
) -> bool:
    """Whether after this type as many others are possible as are still to be chosen."""
    left = count - len(chosen) - 1
    return left == 0 or len(compatible([*chosen, type_id], candidates)) >= left


def _prompt(instruction: Instruction, constraints: Sequence[Constraint], text: str) -> Prompt:
    """The prompt with an id of its content; IFEval's fields are in its meta."""
    seed = instruction.seed
    meta = {
        SEED_PROMPT: seed.id,
        INSTRUCTIONS: [each.id for each in constraints],
        ARGUMENTS: [each.arguments for each in constraints],
    }
    messages = (*seed.messages[:-1], Message(role="user", content=text))
    return with_id(Prompt(id="", messages=messages, source=instruction.source, meta=meta))
