"""How likely a server finds given texts, out of the log-probabilities of prompts that it echoes.

A server's tokenizer is its own. Where a continuation begins among the tokens of the whole text is found
as lm-eval finds it: after as many as the context has alone, for which it is asked as well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spar.errors import UsageError
from spar.infer.engine import Continuation, Likelihood, Request
from spar.infer.engines.likelihood import move_spaces
from spar.infer.engines.openai.capabilities import Abilities
from spar.infer.engines.openai.replies import FaultyReply, NoLogprobs, read_json


@dataclass(frozen=True, slots=True)
class Echo:
    """The tokens of a prompt."""

    logprobs: tuple[float | None, ...]
    """One a token; None for the first, which nothing stands before."""
    greedy: tuple[bool, ...]
    """Whether each is the likeliest where it stands."""
    completion_tokens: int = 1
    """What was generated besides."""


async def score(
    ask: Callable[[Sequence[str]], Awaitable[list[Echo]]], continuations: Sequence[Continuation]
) -> list[Likelihood]:
    """One likelihood a continuation, in order.

    Parameters
    ----------
    ask:
        Has texts echoed.

    Raises
    ------
    UsageError
        A context is a conversation.
    """
    parts = [move_spaces(_text(each), each.text) for each in continuations]
    texts = list(dict.fromkeys(t for kept, rest in parts for t in (kept, kept + rest) if t))
    echoes = dict(zip(texts, await ask(texts), strict=True))
    return [_likelihood(echoes, *part) for part in parts]


def read_echo(
    content: bytes, request: Request, n: int, limit: int, abilities: Abilities
) -> list[Echo]:
    """The one echo in the body of an answer.

    Raises
    ------
    FaultyReply
        Not JSON, or not a completion.
    NoLogprobs
        The server does not echo the prompt, says nothing of its tokens, or does not count them.
    """
    reply = read_json(content)
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise FaultyReply("a reply without choices")
    echoed = str(choices[0].get("text")).startswith(str(request.messages[0].content))
    found, usage = choices[0].get("logprobs"), reply.get("usage")
    if not echoed or not isinstance(found, dict) or not isinstance(usage, dict):
        raise NoLogprobs
    num, own = usage.get("prompt_tokens"), found.get("token_logprobs")
    if not isinstance(num, int) or not isinstance(own, list) or len(own) < num:
        raise NoLogprobs
    if not all(isinstance(value, int | float) for value in own[1:num]):
        raise NoLogprobs
    return [Echo((None, *map(float, own[1:num])), _greedy(found, num))]


def _greedy(found: Mapping[str, Any], num: int) -> tuple[bool, ...]:
    own, tops = found["token_logprobs"], found.get("top_logprobs")
    if not isinstance(tops, list) or not all(isinstance(top, dict) for top in tops[1:num]):
        raise NoLogprobs
    best = [max(top.values(), default=0.0) for top in tops[1:num]]
    return (False, *(value >= top for value, top in zip(own[1:num], best, strict=True)))


def _text(continuation: Continuation) -> str:
    if not isinstance(continuation.context, str):
        raise UsageError(
            "--engine openai: only the server knows the chat template, so that how likely a text is in a "
            "conversation cannot be asked; use --no-chat-template, or --engine hf or vllm"
        )
    return continuation.context


def _likelihood(echoes: Mapping[str, Echo], kept: str, rest: str) -> Likelihood:
    whole = echoes.get(kept + rest, Echo((), ()))
    start = len(echoes[kept].logprobs) if kept else 0
    pairs = zip(whole.logprobs[start:], whole.greedy[start:], strict=True)
    found = [(value, greedy) for value, greedy in pairs if value is not None]
    return Likelihood(
        logprob=sum(value for value, _ in found),
        greedy=all(greedy for _, greedy in found),
        tokens=len(found),
    )
