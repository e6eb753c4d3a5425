"""The requests to the teacher, and the role that sends them and parses the replies.

    00001/0     the first request about the seed prompt 00001

A request is the seed prompt with the main constraint in its meta; the instruction text (`evolve.txt`) is added
when it is sent. Of a conversation, only the last turn is rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from spar.errors import ParseError
from spar.evolve.reply import parse_reply
from spar.evolve.taxonomy import CONSTRAINT_TYPES, describe_taxonomy, draw
from spar.infer.engine import Engine, Request, Sampling
from spar.infer.roles import AttemptFailed, Generation, Roles, Seeds, ask
from spar.templates import render
from spar.types import Message, Prompt, Usage

ATTEMPTS = 3
"""Attempts to get a reply that parses."""
SEED_PROMPT, MAIN = "seed_prompt", "main_constraint"
"""Keys of a request's meta: ids of its seed prompt and of its main constraint."""
TEMPLATE = "evolve"
FIELDS = ("main", "taxonomy", "context", "prompt")
"""Fields that the template must contain."""


def requests(seeds: Sequence[Prompt], per_prompt: int, seed: int | None) -> Iterator[Prompt]:
    """The requests of a run, in order; each is independent of the others."""
    for prompt in seeds:
        for variant in range(per_prompt):
            main = draw(seed, prompt.id, variant)
            meta = {SEED_PROMPT: prompt.id, MAIN: main.id}
            yield prompt.model_copy(update={"id": f"{prompt.id}/{variant}", "meta": meta})


def conversation(template: str, request: Prompt) -> tuple[Message, ...]:
    """The messages that are sent to the teacher."""
    constraint = CONSTRAINT_TYPES[request.meta[MAIN]]
    text = render(
        template,
        main=f"{constraint.id} ({constraint.description})",
        taxonomy=describe_taxonomy(),
        context=_context(request.messages[:-1]),
        prompt=request.messages[-1].content,
    )
    return (Message(role="user", content=text),)


@dataclass(frozen=True, slots=True)
class Teacher:
    """An actor that writes evolved prompts; its draft is the unchanged reply."""

    engine: Engine
    sampling: Sampling
    template: str

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """The reply to a request, once one parses (None is a valid reply)."""
        messages = conversation(self.template, prompt)
        usage, text, reason = Usage(), "", ""
        for attempt in range(ATTEMPTS):
            sampling = replace(self.sampling, seed=seeds(attempt))
            (reply,), usage = await ask(self.engine, [Request(messages, sampling)], usage)
            text = reply.text
            try:
                parse_reply(text, prompt.meta[MAIN])
            except ParseError as error:
                reason = f"{error} ({ATTEMPTS} attempts)"
                continue
            return Generation(text.strip(), None, usage, sampling.seed)
        raise AttemptFailed(reason, text, usage)


def with_teacher(roles: Roles, template: str) -> Roles:
    """The roles with a teacher in place of the actor, on the same engine."""
    actor = roles.model_actor()
    return replace(roles, actor=Teacher(actor.engine, actor.sampling, template))


def _context(previous: Sequence[Message]) -> str:
    if not previous:
        return ""
    turns = "\n\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in previous)
    return f"### What was said before the prompt (it stays as it is)\n{turns}\n\n"
