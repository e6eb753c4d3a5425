"""What is asked of the teacher: the requests of a run, and the role that sends them and reads the replies.

    00001/0     the first request about the seed prompt 00001

A request is the seed prompt itself with the main constraint in its meta; the instruction text (`evolve.txt`) is
put around it when it is sent. Of a conversation the last turn is rewritten; what was said before stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from spar.errors import ParseError
from spar.evolve.reply import parse_reply
from spar.evolve.taxonomy import KINDS, as_list, draw
from spar.infer.engine import Engine, Request, Sampling
from spar.infer.roles import Actor, AttemptFailed, Generation, Seeds, ask
from spar.infer.search import Roles
from spar.templates import render
from spar.types import Message, Prompt, Usage

ATTEMPTS = 3
"""Tries to get a reply that can be read."""
SEED_PROMPT, MAIN = "seed_prompt", "main_constraint"
"""A request's meta: id of its seed prompt, id of its main constraint."""
TEMPLATE = "evolve"
FIELDS = ("main", "taxonomy", "context", "prompt")
"""Fields that the template must hold."""


def requests(seeds: Sequence[Prompt], per_prompt: int, seed: int | None) -> Iterator[Prompt]:
    """Every request of a run, in order; each is the same whatever the others are."""
    for prompt in seeds:
        for variant in range(per_prompt):
            main = draw(seed, prompt.id, variant)
            meta = {SEED_PROMPT: prompt.id, MAIN: main.id}
            yield prompt.model_copy(update={"id": f"{prompt.id}/{variant}", "meta": meta})


def conversation(template: str, request: Prompt) -> tuple[Message, ...]:
    """What the teacher is sent."""
    kind = KINDS[request.meta[MAIN]]
    text = render(
        template,
        main=f"{kind.id} ({kind.what})",
        taxonomy=as_list(),
        context=_context(request.messages[:-1]),
        prompt=request.messages[-1].content,
    )
    return (Message(role="user", content=text),)


@dataclass(frozen=True, slots=True)
class Teacher:
    """Writes evolved prompts, in the actor's place; its draft is its whole reply, as it is."""

    engine: Engine
    sampling: Sampling
    template: str

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """A reply to a request that can be read, be it None."""
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


def taught(roles: Roles, template: str) -> Roles:
    """The roles with a teacher in the actor's place, over the same engine."""
    actor = roles.actor
    if not isinstance(actor, Actor):
        raise TypeError(f"cannot teach with {type(actor).__name__}")
    return replace(roles, actor=Teacher(actor.engine, actor.sampling, template))


def _context(before: Sequence[Message]) -> str:
    if not before:
        return ""
    turns = "\n\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in before)
    return f"### What was said before the prompt (it stays as it is)\n{turns}\n\n"
