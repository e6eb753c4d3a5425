"""Actors that call no model: a prompt's own reply, or a program's, is the draft."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spar.conversations import REPLY
from spar.infer.roles import AttemptFailed, Generation, Seeds
from spar.types import Prompt, Usage


class GivenReplies:
    """Answers each prompt with the field `output` of its meta."""

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """The reply, whatever the index."""
        reply = prompt.meta.get(REPLY)
        if not isinstance(reply, str) or not reply.strip():
            raise AttemptFailed(f"the prompt has no reply of its own ({REPLY})", "", Usage())
        return Generation(reply, None, Usage(), seeds(0))


@dataclass(frozen=True, slots=True)
class WrittenReplies:
    """Answers each prompt with what a program writes."""

    write: Callable[[Prompt, int], str]
    """From a prompt and the position of the draft to its text."""

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """The program's text."""
        return Generation(self.write(prompt, index), None, Usage(), seeds(0))
