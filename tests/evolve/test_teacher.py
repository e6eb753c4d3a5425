"""The teacher: what it is sent, how often it is asked, what it costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spar.errors import PromptTooLong
from spar.evolve.settings import EvolveConfig, load_evolve
from spar.evolve.teacher import ATTEMPTS, FIELDS, Teacher, conversation, requests, taught
from spar.infer.engine import Request, Sampling
from spar.infer.engines.fake import FakeEngine
from spar.infer.roles import AttemptFailed
from spar.templates import read_template
from spar.types import Message, Prompt
from tests.evolve.worlds import asked_main, asked_prompt, reply_text, request, seed
from tests.fakes import TableRoles

TEMPLATE = read_template("evolve", FIELDS)
BOAT = seed("Write about a small boat.", "boat")
GOOD = reply_text("Row.", "length/words")


def teacher(reply: Callable[[Request], str]) -> tuple[Teacher, FakeEngine]:
    """A teacher over an engine that replies so."""
    engine = FakeEngine(reply)
    return Teacher(engine, Sampling(temperature=0.7, max_tokens=99), TEMPLATE), engine


def test_a_request_says_what_to_do() -> None:
    """The main constraint with its meaning, every kind, the prompt as it is; nothing left unfilled."""
    text = conversation(TEMPLATE, request(seed("Say {prompt} {main}."), main="genre/diary"))[
        0
    ].content
    assert "into the prompt below: genre/diary (a diary entry)" in text
    assert "### Prompt\nSay {prompt} {main}.\n\n### Your reply" in text
    assert not any(f"{{{field}}}" in text.replace("Say {prompt} {main}.", "") for field in FIELDS)


def test_what_was_said_before_is_shown_apart() -> None:
    """Of a conversation the last turn is the prompt, and the others stand before it with their speakers."""
    turns = (("system", "Be brief."), ("user", "Hi."), ("assistant", "Hello."), ("user", "A joke!"))
    talk = Prompt(id="t", messages=tuple(Message(role=r, content=c) for r, c in turns))
    text = conversation(TEMPLATE, request(talk))[0].content
    assert "System: Be brief.\n\nUser: Hi.\n\nAssistant: Hello.\n\n### Prompt\nA joke!\n" in text


def test_requests_are_the_same_whatever_the_others_are() -> None:
    """More variants, or other seed prompts beside it, change no request; a seed's verifiers are left out."""
    kite = seed("Write about a kite.", "kite", instruction_id_list=["x"], kwargs=[{}])
    alone = list(requests([kite], 1, 0))
    among = list(requests([BOAT, kite], 3, 0))
    assert [one.id for one in among] == [f"{s}/{v}" for s in ("boat", "kite") for v in range(3)]
    assert alone[0] == among[3]
    assert alone[0].meta.keys() == {"seed_prompt", "main_constraint"}


async def test_what_cannot_be_read_is_asked_for_again() -> None:
    """With another seed each time; both calls are paid for, and the reply is kept as it came."""
    role, engine = teacher(lambda asked: GOOD if asked.sampling.seed == 11 else "Hm.")
    written = await role.draft(request(BOAT), 0, lambda attempt: 10 + attempt)
    assert (written.response, written.seed, written.usage.calls) == (GOOD, 11, 2)
    assert [asked.sampling.seed for asked in engine.requests] == [10, 11]
    assert {asked.sampling.temperature for asked in engine.requests} == {0.7}
    assert asked_prompt(engine.requests[0]) == "Write about a small boat."
    assert asked_main(engine.requests[0]) == "length/words"


async def test_none_is_an_answer() -> None:
    """It is not asked about again."""
    role, engine = teacher(lambda _: "None.")
    assert (await role.draft(request(BOAT), 0, lambda _: None)).response == "None."
    assert len(engine.requests) == 1


async def test_three_attempts_then_a_fault() -> None:
    """It says why, keeps the last text, and counts what all of them cost."""
    role, _ = teacher(lambda asked: f"Hm {asked.sampling.seed}.")
    with pytest.raises(AttemptFailed, match=r"lacks the marker .* \(3 attempts\)") as caught:
        await role.draft(request(BOAT), 0, lambda attempt: attempt)
    assert caught.value.text == "Hm 2."
    assert caught.value.usage.calls == ATTEMPTS == 3


async def test_a_request_that_does_not_fit_is_not_asked_again() -> None:
    """The engine refuses it once; nothing was generated."""
    seen = []

    def refuse(asked: Request) -> str:
        seen.append(asked)
        raise PromptTooLong("the prompt has 2058 tokens; the model's context is 1024")

    role, _ = teacher(refuse)
    with pytest.raises(AttemptFailed, match="2058 tokens") as caught:
        await role.draft(request(BOAT), 0, lambda _: 0)
    assert caught.value.usage.calls == 0
    assert len(seen) == 1


def test_only_an_actor_can_be_made_a_teacher() -> None:
    """A role without an engine is a mistake in the code, not a silent one."""
    with pytest.raises(TypeError, match="TableRoles"):
        taught(TableRoles().roles, TEMPLATE)


def test_settings_of_a_teacher() -> None:
    """0.7 and nobody's nucleus whatever the recipe's drafts are; its reply limit stays, a flag wins."""
    config = load_evolve("nano", {"per_prompt": 3, "prompts": None})
    assert (config.draft.temperature, config.draft.top_p, config.draft.max_tokens) == (
        0.7,
        1.0,
        128,
    )
    assert (config.strategy, config.budget, config.greedy_first) == ("greedy", 1, False)
    assert (config.per_prompt, config.prompts) == (3, "")
    assert load_evolve("paper", {}).draft == EvolveConfig().draft
