"""The endpoints of a server: chat completions, completions, and completions that echo the prompt's logprobs.

Each says where a request goes, what its body is, and how the response is read. The last one serves
`score`: a server's tokenizer is its own, so where a continuation begins among the tokens of the whole text
is determined as lm-eval does it, after as many tokens as the context has alone, which is sent as well.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from spar.chat_template import Turn, adapt
from spar.errors import UsageError
from spar.infer.engine import Completion, Continuation, Likelihood, Request, StructuredOutputs
from spar.infer.engines.likelihood import move_spaces
from spar.infer.engines.openai.choices import (
    as_count,
    no_choices,
    read_alternatives,
    read_logprob,
)
from spar.infer.engines.openai.learning import integer_field
from spar.infer.engines.openai.replies import (
    Capabilities,
    MissingLogprobs,
    parse_json,
    read_reply,
)
from spar.sanitize import replace_surrogates, sanitize

SPECIAL_TOKENS = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>"
    r"|</?s>|<[be]os>|</?start_of_turn>|</?end_of_turn>|\[/?(?:INST|SYSTEM_PROMPT|TOOL_RESULTS)\]|<</?SYS>>"
)
"""What may be a special token of the server's tokenizer, which is not known."""
_MAX_STOPS = 4
"""OpenAI's own server refuses more."""
_MIN_RESPONSE_BYTES = 2**20
_BYTES_PER_TOKEN = 512
_BYTES_PER_EVENT = 2048
_MAX_REPLY_TOKENS = 131_072
"""Most tokens of a reply whose request names no limit."""


class HasCompletionTokens(Protocol):
    """A result of a request, with the number of tokens generated for it."""

    @property
    def completion_tokens(self) -> int: ...


R = TypeVar("R", bound=HasCompletionTokens)


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[R]):
    """One of a server's endpoints."""

    path: str
    """Appended to the base URL."""
    logprobs_field: str
    """The field of `Capabilities.unsupported` that rules out log-probabilities."""
    body: Callable[[str, Request, int, int, Capabilities], dict[str, Any]]
    """Takes the model, the request, the number of samples and the token limit."""
    read: Callable[[bytes, Request, int, int, Capabilities], list[R]]
    """Takes the response's content, then the same."""


@dataclass(frozen=True, slots=True)
class PromptLogprobs:
    """The tokens of a prompt."""

    logprobs: tuple[float | None, ...]
    """One per token; None for the first, which has no context."""
    greedy: tuple[bool, ...]
    """Whether each is the most likely token there."""
    completion_tokens: int = 1
    """Tokens generated besides."""


def request_body(
    model: str, request: Request, n: int, max_tokens: int, capabilities: Capabilities
) -> dict[str, Any]:
    """The body of a request for `n` samples."""
    sampling = request.sampling
    is_idle = sampling.top_p == 1 or sampling.temperature == 0
    omits_top_p = is_idle and capabilities.omits_idle_top_p
    body: dict[str, Any] = {
        "model": model,
        **_prompt_field(request, capabilities),
        "temperature": max(sampling.temperature, capabilities.min_temperature),
        # vLLM samples with the model's own default if it is left out, so 1.0 is sent as well.
        "top_p": None if omits_top_p else sampling.top_p,
        "top_k": sampling.top_k or None,
        "min_p": sampling.min_p or None,
        "max_tokens" if request.plain else capabilities.max_tokens_field: max_tokens,
        "seed": None if sampling.seed is None else sampling.seed & capabilities.max_seed,
        "n": n if n > 1 else None,
        "stop": [replace_surrogates(string) for string in sampling.stop if string][:_MAX_STOPS]
        or None,
    }
    if not request.plain:
        body["reasoning_effort"] = sampling.reasoning_effort or None
        body["chat_template_kwargs"] = dict(sampling.chat_template_args) or None
    if sampling.top_logprobs:
        num_top = min(sampling.top_logprobs, capabilities.max_top_logprobs)
        body["logprobs"] = num_top if request.plain else True
        body["top_logprobs"] = None if request.plain else num_top
    if sampling.structured_outputs is not None:
        body |= _structured_field(sampling.structured_outputs)
    unsupported = capabilities.unsupported
    if request.on_text is not None and "stream" not in unsupported:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    known = {k: value for k, value in body.items() if value is not None and k not in unsupported}
    return {**known, **sampling.extra_body}


def prompt_logprobs_body(
    model: str, request: Request, n: int, max_tokens: int, capabilities: Capabilities
) -> dict[str, Any]:
    """The body of a request for the log-probabilities of a plain prompt's own tokens."""
    # Not every server accepts max_tokens 0.
    temperature = capabilities.min_temperature
    settings = {"temperature": temperature, "max_tokens": 1, "logprobs": 1, "echo": True}
    return {"model": model, **_prompt_field(request, capabilities), **settings}


def read_prompt_logprobs(
    content: bytes, request: Request, n: int, max_tokens: int, capabilities: Capabilities
) -> list[PromptLogprobs]:
    """The prompt's log-probabilities in the body of a response, as a list of one.

    Raises
    ------
    InvalidReply
        Not JSON, not a completion, or malformed logprobs.
    MissingLogprobs
        The server does not echo the prompt, or reports no logprobs or number of its tokens.
    """
    body = parse_json(content)
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise no_choices(body)
    is_echo = str(choices[0].get("text")).startswith(str(request.messages[0].content))
    logprobs, usage = choices[0].get("logprobs"), body.get("usage")
    if not is_echo or not isinstance(logprobs, dict) or not isinstance(usage, dict):
        raise MissingLogprobs
    num_tokens = as_count(usage.get("prompt_tokens"))
    values, tops = logprobs.get("token_logprobs"), logprobs.get("top_logprobs")
    if num_tokens is None or not isinstance(values, list) or not isinstance(tops, list):
        raise MissingLogprobs
    if min(len(values), len(tops)) < num_tokens:
        raise MissingLogprobs
    own = [read_logprob(value) for value in values[1:num_tokens]]  # the first has no context
    likeliest = [max(read_alternatives(top), default=0.0) for top in tops[1:num_tokens]]
    greedy = (False, *(value >= top for value, top in zip(own, likeliest, strict=True)))
    return [PromptLogprobs((None, *own), greedy)]


CHAT: Endpoint[Completion] = Endpoint("/chat/completions", "logprobs", request_body, read_reply)
COMPLETIONS: Endpoint[Completion] = Endpoint("/completions", "logprobs", request_body, read_reply)
PROMPT_LOGPROBS: Endpoint[PromptLogprobs] = Endpoint(
    "/completions", "echo", prompt_logprobs_body, read_prompt_logprobs
)


def max_response_bytes(body: Mapping[str, Any]) -> int:
    """Most bytes that the response to a request can need.

    A token with an alternative to it has far fewer than are allowed; one of an echoed prompt has a byte of it
    at least.
    """
    max_tokens = integer_field(body, "max_tokens") or integer_field(body, "max_completion_tokens")
    # An extra field of the user's may have put null in place of a limit.
    num_tokens = (integer_field(body, "n") or 1) * (max_tokens or _MAX_REPLY_TOKENS)
    if body.get("echo"):
        num_tokens += len(body["prompt"].encode())
    alternatives = integer_field(body, "top_logprobs") or int(body.get("logprobs") or 0)
    bytes_per_token = _BYTES_PER_EVENT if body.get("stream") else _BYTES_PER_TOKEN
    return _MIN_RESPONSE_BYTES + num_tokens * bytes_per_token * (1 + alternatives)


async def score(
    fetch: Callable[[Sequence[str]], Awaitable[list[PromptLogprobs]]],
    continuations: Sequence[Continuation],
) -> list[Likelihood]:
    """One likelihood per continuation, in order.

    Parameters
    ----------
    fetch:
        Returns the prompt logprobs of texts.

    Raises
    ------
    UsageError
        A context is a conversation.
    """
    pairs = [move_spaces(_context_text(each), each.text) for each in continuations]
    texts = list(
        dict.fromkeys(t for context, rest in pairs for t in (context, context + rest) if t)
    )
    logprobs = dict(zip(texts, await fetch(texts), strict=True))
    return [_likelihood(logprobs, *pair) for pair in pairs]


def _prompt_field(request: Request, capabilities: Capabilities) -> dict[str, Any]:
    if request.plain:
        return {"prompt": replace_surrogates(request.messages[0].content)}
    turns: list[Turn] = [
        {"role": m.role, "content": sanitize(m.content, SPECIAL_TOKENS)} for m in request.messages
    ]
    return {"messages": adapt(turns, capabilities.adaptations)}


def _structured_field(outputs: StructuredOutputs) -> dict[str, Any]:
    if outputs.json is None:  # no field that several servers share; this is vLLM's
        return {"structured_outputs": {"regex": outputs.regex}}
    schema = {"name": "reply", "strict": True, "schema": dict(outputs.json)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _context_text(continuation: Continuation) -> str:
    if not isinstance(continuation.context, str):
        raise UsageError(
            "--engine openai: cannot score text in a conversation, since only the server knows the chat "
            "template; use --no-chat-template, or --engine hf or vllm"
        )
    return continuation.context


def _likelihood(logprobs: Mapping[str, PromptLogprobs], context: str, rest: str) -> Likelihood:
    text = logprobs.get(context + rest, PromptLogprobs((), ()))
    start = len(logprobs[context].logprobs) if context else 0
    tokens = zip(text.logprobs[start:], text.greedy[start:], strict=True)
    scored = [(logprob, greedy) for logprob, greedy in tokens if logprob is not None]
    return Likelihood(
        logprob=sum(logprob for logprob, _ in scored),
        greedy=all(greedy for _, greedy in scored),
        tokens=len(scored),
    )
