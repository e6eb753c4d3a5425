"""The teacher: its requests, its attempts, its usage."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spar.errors import PromptTooLong, UsageError
from spar.evolve.settings import EvolveConfig, load_evolve
from spar.evolve.teacher import ATTEMPTS, FIELDS, Teacher, conversation, requests, with_teacher
from spar.infer.engine import Request, Sampling
from spar.infer.engines.fake import FakeEngine
from spar.infer.roles import AttemptFailed
from spar.templates import read_template
from spar.types import Message, Prompt
from tests.evolve.worlds import main_constraint_of, reply_text, request, seed, seed_text_of
from tests.fakes import TableRoles

TEMPLATE = read_template("evolve", FIELDS)
BOAT = seed("Write about a small boat.", "boat")
GOOD = reply_text("Row.", "length/words")


def teacher(reply: Callable[[Request], str]) -> tuple[Teacher, FakeEngine]:
    """A teacher on a fake engine with these replies."""
    engine = FakeEngine(reply)
    return Teacher(engine, Sampling(temperature=0.7, max_tokens=99), TEMPLATE), engine


def test_a_request_contains_every_field() -> None:
    """The main constraint with its description, the unchanged prompt, and no unfilled field."""
    text = conversation(TEMPLATE, request(seed("Say {prompt} {main}."), main="genre/diary"))[
        0
    ].content
    assert "into the prompt below: genre/diary (a diary entry)" in text
    assert "### Prompt\nSay {prompt} {main}.\n\n### Your reply" in text
    assert not any(f"{{{field}}}" in text.replace("Say {prompt} {main}.", "") for field in FIELDS)


def test_earlier_turns_are_shown_separately() -> None:
    """Of a conversation, the last turn is the prompt; earlier turns precede it with their roles."""
    turns = (("system", "Be brief."), ("user", "Hi."), ("assistant", "Hello."), ("user", "A joke!"))
    talk = Prompt(id="t", messages=tuple(Message(role=r, content=c) for r, c in turns))
    text = conversation(TEMPLATE, request(talk))[0].content
    assert "System: Be brief.\n\nUser: Hi.\n\nAssistant: Hello.\n\n### Prompt\nA joke!\n" in text


def test_requests_are_independent_of_each_other() -> None:
    """More variants or other seed prompts change no request; a seed's verifiers are not copied."""
    kite = seed("Write about a kite.", "kite", instruction_id_list=["x"], kwargs=[{}])
    alone = list(requests([kite], 1, 0))
    among = list(requests([BOAT, kite], 3, 0))
    assert [prompt.id for prompt in among] == [
        f"{s}/{v}" for s in ("boat", "kite") for v in range(3)
    ]
    assert alone[0] == among[3]
    assert alone[0].meta.keys() == {"seed_prompt", "main_constraint"}


async def test_an_unparsable_reply_is_retried() -> None:
    """Each attempt has its own seed, usage counts both calls, and the reply is unchanged."""
    role, engine = teacher(lambda request: GOOD if request.sampling.seed == 11 else "Hm.")
    generation = await role.draft(request(BOAT), 0, lambda attempt: 10 + attempt)
    assert (generation.response, generation.seed, generation.usage.calls) == (GOOD, 11, 2)
    assert [sent.sampling.seed for sent in engine.requests] == [10, 11]
    assert {sent.sampling.temperature for sent in engine.requests} == {0.7}
    assert seed_text_of(engine.requests[0]) == "Write about a small boat."
    assert main_constraint_of(engine.requests[0]) == "length/words"


async def test_none_is_not_retried() -> None:
    """None is a valid reply."""
    role, engine = teacher(lambda _: "None.")
    assert (await role.draft(request(BOAT), 0, lambda _: None)).response == "None."
    assert len(engine.requests) == 1


async def test_three_unparsable_replies_are_a_fault() -> None:
    """The fault has the reason, the last text and the usage of all attempts."""
    role, _ = teacher(lambda request: f"Hm {request.sampling.seed}.")
    with pytest.raises(AttemptFailed, match=r"lacks the marker .* \(3 attempts\)") as caught:
        await role.draft(request(BOAT), 0, lambda attempt: attempt)
    assert caught.value.text == "Hm 2."
    assert caught.value.usage.calls == ATTEMPTS == 3


async def test_a_request_that_is_too_long_is_not_retried() -> None:
    """The engine rejects it once, without usage."""
    seen = []

    def reject(request: Request) -> str:
        seen.append(request)
        raise PromptTooLong("the prompt has 2058 tokens; the model's context is 1024")

    role, _ = teacher(reject)
    with pytest.raises(AttemptFailed, match="2058 tokens") as caught:
        await role.draft(request(BOAT), 0, lambda _: 0)
    assert caught.value.usage.calls == 0
    assert len(seen) == 1


def test_a_teacher_needs_an_actor() -> None:
    """An actor without a model raises UsageError."""
    with pytest.raises(UsageError, match="the actor TableRoles calls no model"):
        with_teacher(TableRoles().roles, TEMPLATE)


def test_default_sampling() -> None:
    """Temperature 0.7 and top_p 1 replace the recipe's; its token limit stays, overrides win."""
    config = load_evolve("nano", {"per_prompt": 3, "prompts": None})
    assert (config.draft.temperature, config.draft.top_p, config.draft.max_tokens) == (
        0.7,
        1.0,
        128,
    )
    assert (config.strategy, config.budget, config.greedy_first) == ("greedy", 1, False)
    assert (config.per_prompt, config.prompts) == (3, "")
    assert load_evolve("paper", {}).draft == EvolveConfig().draft
