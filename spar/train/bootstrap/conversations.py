"""Whether the student's chat template renders the actor's prompts, found out before the teacher is paid for its answers.

A prompt that begins with the assistant is one that the teacher may answer, and that some chat templates refuse.
"""

from __future__ import annotations

from spar.errors import UsageError
from spar.prompts import place_of
from spar.train.bootstrap.pipeline import actor_prompts
from spar.train.bootstrap.recipe import BootstrapConfig
from spar.train.encode import Encoder
from spar.train.settings import SftSettings
from spar.train.weights import load_tokenizer
from spar.types import Message, Prompt

_ANSWER = Message(role="assistant", content="Yes.")
_RENDERED = (("user",), ("system", "user"))
"""Roles of the prompts that every chat model's template renders, or that are adapted to it."""


def check_conversations(config: BootstrapConfig, settings: SftSettings) -> None:
    """Render one prompt of each order of roles with an answer, as the actor's training will.

    Parameters
    ----------
    settings:
        Those of the actor's training.

    Raises
    ------
    UsageError
        The chat template refuses one; the message names its line.
    """
    if not config.prompts:
        return
    found: dict[tuple[str, ...], tuple[int, Prompt]] = {}
    for index, prompt in enumerate(actor_prompts(config)):
        roles = tuple(message.role for message in prompt.messages)
        if roles not in _RENDERED:
            found.setdefault(roles, (index, prompt))
    if not found:
        return  # without a tokenizer, which takes seconds to load
    encoder = Encoder(load_tokenizer(settings.model), arguments=settings.chat_template_args)
    for index, prompt in found.values():
        try:
            encoder.encode((*prompt.messages, _ANSWER), settings.train_on)
        except UsageError as error:
            where = place_of(config.prompts, index, prompt_field=config.prompt_field)
            raise UsageError(f"{where}: the actor could not learn an answer: {error}") from error
