"""The actor of prompts that have a reply of their own: it is the draft, and no model is called."""

from __future__ import annotations

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
