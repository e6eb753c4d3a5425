"""`max_tokens` as a limit of the answer, whatever wrote it. Pure, but for loading a tokenizer.

An engine ends a draft at the limit. A refinement is part of a longer reply, a program's edit or a caller's own actor knows
no limit: their text is cut here, before it is judged. Tokens are counted by the model's tokenizer where the model is
loaded by spar, else by the bytes a token has had in the replies of the same search, on the safe side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from spar.config import DecodeConfig
from spar.errors import UsageError
from spar.infer.engine import Completion, Request
from spar.infer.engine_wrappers import EngineWrapper
from spar.plugins import ENGINES
from spar.pretrained import load_pretrained_tokenizer
from spar.run.resolve import deployments

_MIN_BYTES, _MAX_BYTES = 2.5, 6.0
"""Bytes of a token that an estimate may assume: thinking that a reply lacks, or few words, would distort it."""
_SAFETY = 0.9


def actor_tokenizer(config: DecodeConfig) -> Any | None:
    """The tokenizer of the actor's model; None where a server has the model.

    Parameters
    ----------
    config:
        Resolved settings.
    """
    deployment = deployments(config)["actor"]
    if deployment.urls or not ENGINES.spec(deployment.engine).loads_models:
        return None
    try:
        return load_pretrained_tokenizer(deployment.model)
    except UsageError:  # the engine has it by other means, such as the machines of a cluster
        return None


@dataclass(slots=True)
class AnswerLimit:
    """The limit of the answers of one search, and which answers it has cut."""

    max_tokens: int | None
    """None for no limit."""
    tokenizer: Any | None = None
    """Of the actor's model; None has lengths estimated."""
    cut: set[str] = field(default_factory=set)
    """Responses that the limit has ended."""
    _bytes: int = 0
    _tokens: int = 0

    def count(self, text: str, num_tokens: int) -> None:
        """Learn from a reply how long its tokens are."""
        self._bytes += len(text.encode("utf-8", "replace"))
        self._tokens += num_tokens

    def apply(self, response: str, reply_tokens: int | None = None) -> str:
        """The response as far as the limit allows.

        Parameters
        ----------
        reply_tokens:
            Tokens of the reply that holds it, where they are known.
        """
        if self.max_tokens is None:
            return response
        if reply_tokens is not None and reply_tokens <= self.max_tokens:
            return response
        end = self._end(response, self.max_tokens)
        if end >= len(response):
            return response
        shortened = response[:end].rstrip()
        self.cut.add(shortened)
        return shortened

    def _end(self, text: str, limit: int) -> int:
        if self.tokenizer is None or not self.tokenizer.is_fast:  # slow ones know no offsets
            size = self._bytes / self._tokens if self._tokens else 0.0
            size = min(_MAX_BYTES, max(_MIN_BYTES, size))
            room = max(1, int(limit * size * _SAFETY))
            return len(text.encode("utf-8", "replace")[:room].decode("utf-8", "ignore"))
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        offsets = encoded["offset_mapping"]
        return len(text) if len(offsets) <= limit else int(offsets[limit - 1][1])


@dataclass(slots=True)
class ReplyWatch(EngineWrapper):
    """Remembers the last reply."""

    last: Completion | None = None

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Pass on."""
        replies = await self.engine.generate(requests)
        self.last = replies[-1]
        return replies
