"""Harder versions of prompts that a model already does well: one constraint more, of a kind that programs can check.

    Write something short. Use exactly 9 words.   ->   Write something short. Use exactly 9 words. Leave out "owl".

How hard a prompt is shows in the share of its drafts that pass (SEIF): what nearly all pass teaches no more. A prompt of nano-if gets
a constraint of nano-if, any other with IFEval's types one of these; both only where a text that meets all constraints is known.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spar.conversations import REPLY
from spar.evolve.checkable.conflicts import compatible, objection
from spar.evolve.checkable.constraint_types import (
    CONSTRAINT_TYPES,
    REPEAT,
    TWO,
    Constraint,
    Context,
    word,
)
from spar.evolve.checkable.vocabulary import topic_words
from spar.evolve.checkable.witness import witness
from spar.nano.constraint_type import Constraint as NanoConstraint
from spar.nano.tasks import Task, harder_task
from spar.prompts import ARGUMENTS, INSTRUCTIONS
from spar.types import Prompt, SearchTree
from spar.verifiers import CONSTRAINTS, constraints_of, passes, unverifiable

EASIER = "easier_prompt"
"""Field of a harder prompt with the id of the one that it was made from."""
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Harder:
    """The harder prompts of an iteration, and what became of the others."""

    prompts: tuple[Prompt, ...]
    judged: int
    """Prompts with a judged draft."""
    easy: int
    """Those of which more than the share of drafts passes."""
    passed_share: float | None
    """Mean over prompts of the share of their drafts that pass; None without any."""


def harder_prompts(
    trees: Iterable[SearchTree], *, easy: float, most: int, name: str, seed: int
) -> Harder:
    """Harder versions of the easy prompts of a judged run, the easiest first.

    Parameters
    ----------
    easy:
        A prompt is easy if at least this share of its judged drafts passes.
    most:
        The most prompts.
    name:
        What their ids begin with.
    """
    shares = []
    for tree in trees:
        judged = [node.judgement for node in tree.children(None) if node.judgement is not None]
        if judged:
            share = sum(each.passed(tree.gate) for each in judged) / len(judged)
            shares.append((share, tree.prompt))
    ranked = sorted(shares, key=lambda each: (-each[0], each[1].id))
    found = [prompt for share, prompt in ranked if share >= easy]
    prompts: list[Prompt] = []
    for prompt in found:
        if len(prompts) < most and (made := make_harder(prompt, seed)) is not None:
            # Ids of nano-if tell that its verifiers know the constraints.
            prefix = f"nano-{name}" if _is_nano(prompt) else name
            prompts.append(made.model_copy(update={"id": f"{prefix}-{len(prompts)}"}))
    mean = sum(share for share, _ in shares) / len(shares) if shares else None
    return Harder(tuple(prompts), len(shares), len(found), mean)


def make_harder(prompt: Prompt, seed: int) -> Prompt | None:
    """The prompt with one constraint more; None where programs cannot check it, or no constraint goes with the others."""
    if not prompt.meta.get(CONSTRAINTS) or unverifiable(prompt):
        return None
    rng = random.Random(f"harder/{seed}/{prompt.id}")
    return _harder_nano(prompt, rng) if _is_nano(prompt) else _harder_checkable(prompt, rng)


def _harder_nano(prompt: Prompt, rng: random.Random) -> Prompt | None:
    constraints = tuple(NanoConstraint(*each) for each in constraints_of(prompt))
    task = harder_task(Task(prompt.messages[-1].content, constraints), rng)
    if task is None:
        return None
    return _with(prompt, task.text, [(each.id, each.kwargs) for each in task.constraints])


def _harder_checkable(prompt: Prompt, rng: random.Random) -> Prompt | None:
    given = [Constraint(*each) for each in constraints_of(prompt)]
    chosen = [each.id for each in given]
    if not set(chosen) <= CONSTRAINT_TYPES.keys() or REPEAT in chosen:
        return None
    text = prompt.messages[-1].content
    free = [each for each in compatible(chosen, CONSTRAINT_TYPES) if each not in (REPEAT, TWO)]
    for _ in range(_TRIES if free else 0):
        kind = rng.choice(free)
        context = Context(rng, text, topic_words(text), [*chosen, kind], _words_of(given))
        constraints = [*given, CONSTRAINT_TYPES[kind].draw(context)]
        if objection(constraints, text):
            continue
        arguments = [(each.id, each.arguments) for each in constraints]
        harder = _with(prompt, f"{text} {word(constraints[-1], rng)}", arguments)
        proof = witness(constraints, lambda answer, of=harder: bool(passes(answer, of)))  # type: ignore[misc]
        if proof is not None:
            return harder.model_copy(update={"meta": {**harder.meta, REPLY: proof}})
    return None


def _words_of(constraints: Iterable[Constraint]) -> set[str]:
    """Words that the constraints name already."""
    values = (value for each in constraints for value in each.arguments.values())
    listed = (value if isinstance(value, list) else [value] for value in values)
    return {word for words in listed for word in words if isinstance(word, str)}


def _with(
    prompt: Prompt, text: str, constraints: Sequence[tuple[str, Mapping[str, object]]]
) -> Prompt:
    last = prompt.messages[-1].model_copy(update={"content": text})
    meta = {name: value for name, value in prompt.meta.items() if name != REPLY} | {
        INSTRUCTIONS: [id_ for id_, _ in constraints],
        ARGUMENTS: [dict(arguments) for _, arguments in constraints],
        EASIER: prompt.id,
    }
    return prompt.model_copy(update={"messages": (*prompt.messages[:-1], last), "meta": meta})


def _is_nano(prompt: Prompt) -> bool:
    return prompt.id.startswith("nano-")
