"""Every set of constraints that is drawn has a witness: a text that passes all verifiers."""

from __future__ import annotations

import itertools
import random
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar.evolve.checkable.conflicts import CONFLICTS, compatible, objection
from spar.evolve.checkable.constraint_types import CONSTRAINT_TYPES, Constraint, Context
from spar.evolve.checkable.draw import Drawer, Instruction, Mix
from spar.evolve.checkable.vocabulary import topic_words
from spar.evolve.checkable.witness import witness
from spar.types import Message, Prompt
from spar.verifiers import passes, verify_prompt
from tests.evolve.worlds import seed

pytestmark = [pytest.mark.evalharness, pytest.mark.data]

REQUEST = "Tell me how a small garden grows near the kitchen door."
ALL = Mix(
    dict.fromkeys(range(1, 5), 1.0), {each.id: each.weight for each in CONSTRAINT_TYPES.values()}
)


def meets(constraints: list[Constraint], text: str) -> bool:
    """Whether a text meets the constraints, strictly."""
    meta = {
        "instruction_id_list": [each.id for each in constraints],
        "kwargs": [each.arguments for each in constraints],
    }
    prompt = Prompt(id="x", messages=(Message(role="user", content=REQUEST),), meta=meta)
    return bool(passes(text, prompt))


def test_every_compatible_pair_has_a_witness(verifiers: None) -> None:
    """What the table allows can be written, at least for one draw of the arguments in three."""
    for pair in itertools.combinations(CONSTRAINT_TYPES, 2):
        if pair[1] in CONFLICTS[pair[0]]:
            continue
        texts: list[str] = []
        for number in range(3):
            rng = random.Random(f"{pair} {number}")
            context = Context(rng, REQUEST, topic_words(REQUEST), pair)
            constraints = [CONSTRAINT_TYPES[each].draw(context) for each in pair]
            if not texts and not objection(constraints, REQUEST):
                texts += filter(None, [witness(constraints, partial(meets, constraints))])
        assert texts, pair


TEXTS = st.sampled_from(
    [
        REQUEST,
        "what makes bread rise",
        "Is a garden worth the work?",
        "Explain the tides.\n\nPlace: Dover",
        "Describe a lantern, a ladder and a river.",
    ]
)


@settings(max_examples=40, deadline=None)
@given(text=TEXTS, number=st.integers(0, 2**32), variant=st.integers(0, 50))
def test_every_prompt_has_a_witness(verifiers: None, text: str, number: int, variant: int) -> None:
    """It passes strictly, no two types exclude each other, and the same draw gives the same prompt."""
    instruction = Instruction(seed(text), tuple(CONSTRAINT_TYPES), "seeds.jsonl")
    made = Drawer(ALL, number).draw(instruction, variant)
    assert made is not None
    prompt = made.prompt
    verdicts = verify_prompt(made.witness, prompt)
    assert verdicts
    assert all(verdict.met for verdict in verdicts), verdicts
    ids = prompt.meta["instruction_id_list"]
    for chosen in range(1, len(ids)):
        assert ids[chosen] in compatible(ids[:chosen], CONSTRAINT_TYPES)
    assert text.splitlines()[0].rstrip(".?") in prompt.messages[-1].content
    assert Drawer(ALL, number).draw(instruction, variant) == made


def test_of_a_conversation_the_last_turn_gets_the_constraints(verifiers: None) -> None:
    """The turns before it stay as they are."""
    turns = (
        Message(role="user", content="I keep bees."),
        Message(role="assistant", content="How many hives?"),
        Message(role="user", content="Two. Describe a good spot for them."),
    )
    conversation = seed("").model_copy(update={"messages": turns})
    instruction = Instruction(conversation, tuple(CONSTRAINT_TYPES), "seeds.jsonl")
    made = Drawer(ALL, 1).draw(instruction, 0)
    assert made is not None
    assert made.prompt.messages[:-1] == turns[:-1]
    assert turns[-1].content in made.prompt.messages[-1].content
    assert len(made.prompt.messages[-1].content) > len(turns[-1].content)


def test_a_contradiction_has_no_witness(verifiers: None) -> None:
    """Constraints that nothing can meet are drawn again."""
    constraints = [
        Constraint("change_case:english_capital", {}),
        Constraint("change_case:english_lowercase", {}),
    ]
    assert witness(constraints, partial(meets, constraints)) is None
