"""The forms in which a server is asked: for a chat, for a text, or for what it makes of a given text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from spar.infer.engine import Completion, Request
from spar.infer.engines.openai.capabilities import Abilities, echo_body, request_body
from spar.infer.engines.openai.prompt_logprobs import Echo, read_echo
from spar.infer.engines.openai.replies import read_reply


class Counted(Protocol):
    """Anything that a server took tokens to answer."""

    @property
    def completion_tokens(self) -> int:
        """How many."""
        ...


A = TypeVar("A", bound=Counted)


@dataclass(frozen=True, slots=True)
class Form(Generic[A]):
    """Where a request goes, what it says and how its answer is read."""

    path: str
    """Behind the base URL."""
    logprobs: str
    """What a server lacks that leaves out the log-probabilities asked for, as `Abilities` names it."""
    body: Callable[[str, Request, int, int, Abilities], dict[str, Any]]
    read: Callable[[bytes, Request, int, int, Abilities], list[A]]


CHAT: Form[Completion] = Form("/chat/completions", "logprobs", request_body, read_reply)
PLAIN: Form[Completion] = Form("/completions", "logprobs", request_body, read_reply)
ECHO: Form[Echo] = Form("/completions", "echo", echo_body, read_echo)


def form_of(request: Request) -> Form[Completion]:
    """How a request for a reply is asked."""
    return PLAIN if request.plain else CHAT
