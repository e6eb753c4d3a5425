"""Refusals: whether one is about the prompt or about the settings, what it reveals, and what comes next.

A server that refuses one request (a content filter, a chat template that raises) may serve every other one,
and the words of the refusal do not say so: some quote the prompt. So the refused request is sent again with
a harmless prompt and the same settings. If that is served the prompt was to blame; if it is refused as
well, every request with these settings would be. The probe is not needed where a request with the same
settings was served after the refused one was sent. Nothing older counts: neither the order of the prompts
nor a resumed run changes the verdict, and a key that is revoked during a run is noticed.

For the same reason a field of a request is held to be refused, and is then left out or changed, only if the
response names it in a field of its own, or if the harmless prompt is refused with words about it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spar.chat_template import adapt
from spar.errors import EngineError, PromptRefused, PromptTooLong, ServerRefused, UsageError
from spar.infer.engines.openai.connection_pool import RequestFailed
from spar.infer.engines.openai.errors import (
    CONTEXT_LENGTH,
    ErrorResponse,
    context_length,
    reduced_max_tokens,
    value_line,
)
from spar.infer.engines.openai.learning import (
    SMALL_SEED,
    integer_field,
    is_about,
    learn_from_error,
    learn_from_probe,
    learn_turns,
)
from spar.infer.engines.openai.model_lists import PROBE_TEXT, format_models, read_models
from spar.infer.engines.openai.retry import RebuildRequest
from spar.infer.engines.openai.servers import Server

_PROMPT_FIELDS = frozenset({"model", "messages", "prompt"})
_OPAQUE = frozenset({400, 422, 501})
_NO_CREDIT = frozenset({402, 429})
_FLAGS = {
    "temperature": "temperature",
    "top_p": "top-p",
    "max_tokens": "max-new-tokens",
    "max_completion_tokens": "max-new-tokens",
}
"""Fields of a request to the setting's flag, which `vote-`, `refine-` or `grade-` may precede."""
_NOT_FOUND = frozenset({404, 405})
_LIST_TIMEOUT = 20.0


def probe_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """A request with the settings of `body` and a harmless prompt."""
    if "prompt" in body:
        return {**body, "prompt": PROBE_TEXT}
    return {**body, "messages": [{"role": "user", "content": PROBE_TEXT}]}


@dataclass(slots=True)
class _Settings:
    """What is known of the requests to one server with the same settings. Times are monotonic."""

    served_at: float = float("-inf")
    """When one was last served."""
    probed_at: float = float("-inf")
    """When a probe was last refused."""
    refusal: ErrorResponse | None = None
    """How."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held during a probe, so that requests that are refused together share it."""


class RefusalChecker:
    """Tells refused prompts from refused settings, for all servers of an engine."""

    def __init__(self) -> None:
        self._settings: defaultdict[tuple[str, str], _Settings] = defaultdict(_Settings)

    def record_served(self, url: str, body: Mapping[str, Any]) -> None:
        """The server at `url` has served a request."""
        self._settings[url, _settings_key(body)].served_at = time.monotonic()

    async def find_cause(
        self,
        url: str,
        body: Mapping[str, Any],
        sent_at: float,
        probe: Callable[[], Awaitable[ErrorResponse | None]],
    ) -> ErrorResponse | None:
        """None if the prompt is to blame; else how the server refuses every prompt with these settings.

        Parameters
        ----------
        body:
            The refused request.
        sent_at:
            When it was sent, by the monotonic clock.
        probe:
            Sends `probe_body(body)`; returns its refusal, None if it was served.
        """
        settings = self._settings[url, _settings_key(body)]
        async with settings.lock:
            if settings.served_at >= sent_at:
                return None
            if settings.probed_at < sent_at:
                settings.refusal = await probe()
                if settings.refusal is None:
                    settings.served_at = time.monotonic()
                    return None
                settings.probed_at = time.monotonic()
            return settings.refusal


def _settings_key(body: Mapping[str, Any]) -> str:
    settings = {k: v for k, v in body.items() if k not in _PROMPT_FIELDS}
    if "seed" in settings:  # its value is another in each request
        settings["seed"] = integer_field(body, "seed") > SMALL_SEED
    return f"{'prompt' in body} {settings}"


async def resolve_error(
    server: Server,
    error: ErrorResponse,
    body: Mapping[str, Any],
    note: Callable[[Server, str], None],
    find_cause: Callable[[], Awaitable[ErrorResponse | None]],
) -> Exception:
    """The exception that an error response comes to: `RebuildRequest`, or an error with a next step.

    Parameters
    ----------
    error:
        One that is not retryable.
    body:
        The request that was refused.
    note:
        Called with what was learned about the server.
    find_cause:
        Returns None if the prompt is to blame, else how a harmless prompt was refused.
    """
    if error.too_long:
        return _too_long(server, error, body)
    named = {k: v for k, v in body.items() if k == error.field or k in ("echo", "prompt")}
    learned = learn_from_error(server.capabilities, error, named) if error.field in body else ""
    if learned:
        note(server, learned)
        return RebuildRequest()
    if error.status == 401:
        return _rejected_key(server, error)
    if error.status in _NO_CREDIT:
        return EngineError(f"{server.url}: {error}")
    if 300 <= error.status < 400:
        return ServerRefused(
            f"{server.url}: HTTP {error.status}, a redirect; pass the URL that it leads to"
        )
    if error.status in _NOT_FOUND:
        models = await _fetch_models(server)
        if models is not None and body["model"] not in models:
            return _unknown_model(server, models, body["model"])
    refusal = await find_cause()
    if refusal is None:
        learned = learn_turns(server.capabilities, error, body.get("messages", ()))
        if learned:
            note(server, learned)
        adapted = adapt(body.get("messages", ()), server.capabilities.adaptations)
        if adapted != body.get("messages", adapted):  # also where another prompt has taught it
            return RebuildRequest()
        return PromptRefused(f"{server.url}: refused this prompt, {error}")
    return await _resolve_refused_settings(server, refusal, body, note)


async def _resolve_refused_settings(
    server: Server,
    error: ErrorResponse,
    body: Mapping[str, Any],
    note: Callable[[Server, str], None],
) -> Exception:
    """As `resolve_error`, for the refusal of a harmless prompt: its words are about the request's settings."""
    if error.too_long:
        return _too_long(server, error, body)
    learned = learn_from_probe(server.capabilities, error, body)
    if learned:
        note(server, learned)
        return RebuildRequest()
    if error.rejects_key or error.status == 403:
        return _rejected_key(server, error)
    if error.status in _NOT_FOUND:
        return _no_endpoint(server, error, body, await _fetch_models(server))
    if "echo" in body:
        return no_logprobs(server, "echo", f" ({error})")
    return refused_settings(server, error, body)


def names_no_field(error: ErrorResponse, body: Mapping[str, Any]) -> bool:
    """Whether a harmless prompt was refused for a reason that its message does not name."""
    is_opaque = error.status in _OPAQUE and not (error.too_long or error.rejects_key)
    names = {*body, "max_completion_tokens"} - _PROMPT_FIELDS
    return is_opaque and "echo" not in body and not any(is_about(error, name) for name in names)


def refused_settings(
    server: Server, error: ErrorResponse, body: Mapping[str, Any]
) -> ServerRefused:
    """The error for settings that a server refuses and that cannot be left out or replaced."""
    named = [name for name in body if name not in _PROMPT_FIELDS and is_about(error, name)]
    settings = {k: v for k, v in body.items() if k in (named or body.keys() - _PROMPT_FIELDS)}
    flags = [
        f"--{_FLAGS[n]}, --vote-{_FLAGS[n]}, --refine-{_FLAGS[n]}" for n in named if n in _FLAGS
    ]
    hint = f"change it ({', '.join(flags)})" if flags else "change the settings or the server"
    values = ", ".join(f"{name} {value}" for name, value in settings.items())
    return ServerRefused(
        f"{server.url}: refuses every prompt sent with {values}, a harmless one too: {error}; {hint}"
    )


def no_logprobs(server: Server, field: str, detail: str = "") -> UsageError:
    """The error for a server without log-probabilities: of replies, or of prompts if `field` is echo."""
    if field == "echo":
        return UsageError(
            f"{server.url}: returns no log-probabilities of a prompt (echo with logprobs), which "
            f"log-likelihoods require{detail}; use --engine hf or vllm"
        )
    return UsageError(
        f"{server.url}: returns no log-probabilities, which --judge logprob and --judge-arg probabilities=true require; "
        "use --judge votes without that option"
    )


def _too_long(server: Server, error: ErrorResponse, body: Mapping[str, Any]) -> Exception:
    max_tokens = integer_field(body, "max_tokens") or integer_field(body, "max_completion_tokens")
    context = context_length(error)
    if 1 < context <= max_tokens and not _quotes_prompt(error, body):
        server.capabilities.max_reply_tokens = context - 1
    reduced = reduced_max_tokens(error, max_tokens, integer_field(body, "n") or 1)
    return RebuildRequest(reduced) if reduced else prompt_too_long(server, error)


def prompt_too_long(server: Server, error: ErrorResponse) -> PromptTooLong:
    """The error for a prompt that leaves no room for a reply."""
    if error.exceeds_rate:
        return PromptTooLong(f"{server.url}: the prompt is too long for the rate limit: {error}")
    return PromptTooLong(f"{server.url}: the prompt is too long for the model: {error.message}")


def _quotes_prompt(error: ErrorResponse, body: Mapping[str, Any]) -> bool:
    """Whether the context length that an error names stands in the prompt, word for word."""
    match = CONTEXT_LENGTH.search(error.message)
    texts = [body["prompt"]] if "prompt" in body else [turn["content"] for turn in body["messages"]]
    return match is not None and any(match[0] in value_line(text) for text in texts)


def _rejected_key(server: Server, error: ErrorResponse) -> ServerRefused:
    return ServerRefused(f"{server.url}: rejected the key, {error}; {server.key.hint}")


async def _fetch_models(server: Server) -> list[str] | None:
    try:
        response = await server.pool.send("/models", None, _LIST_TIMEOUT)
    except RequestFailed:
        return None
    return read_models(response.content) if response.status == 200 else None


def _unknown_model(server: Server, models: list[str], model: str) -> ServerRefused:
    return ServerRefused(
        f"{server.url}: has no model {model!r} ({format_models(models)}); name one with --model NAME"
    )


def _no_endpoint(
    server: Server, error: ErrorResponse, body: Mapping[str, Any], models: list[str] | None
) -> ServerRefused:
    if "prompt" in body:
        return ServerRefused(
            f"{server.url}: no /completions for {body['model']!r}, {error}, which prompts without a chat "
            "template require; use --engine hf or vllm"
        )
    if models is None:
        return ServerRefused(
            f"{server.url}: no chat completions there, {error}; "
            "a base URL usually ends in /v1, such as http://host:8000/v1"
        )
    return ServerRefused(f"{server.url}: {error}")
