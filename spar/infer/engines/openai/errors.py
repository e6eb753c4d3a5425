"""Error responses: what a server means by one, what it reveals about the server, and what comes next.

Servers agree on the status and on little else. The message is in `error.message`, `error`, `message` or
`detail`, and the reason must be read out of its words.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from spar.errors import EngineError, PromptRefused, PromptTooLong, ServerRefused, UsageError
from spar.infer.engines.openai.connection_pool import RequestFailed
from spar.infer.engines.openai.replies import UNSUPPORTED_NOTES, Capabilities
from spar.infer.engines.openai.retry import RebuildRequest
from spar.infer.engines.openai.servers import Server, format_models, read_models

_RETRYABLE = frozenset({408, 409, 425, 429})
_NOT_RETRYABLE = frozenset({501, 505})
_OVERLOADED = frozenset({429, 503, 529})
_MAYBE_TOO_LONG = frozenset({400, 422})
_MAX_SHOWN = 300
_MIN_HALVED_TOKENS = 16
_LIST_TIMEOUT = 20.0

_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|context (length|window|size)"
    r"|max_model_len|max_total_tokens|prompt is too long|reduce the length|too many (input )?tokens"
    r"|(prompt|input|tokens?)\b.{0,60}\blonger than",
    re.IGNORECASE,
)
_CONTEXT_LENGTH = re.compile(
    r"(?:maximum context length (?:is|of)|max_model_len=|max_total_tokens=|context length \(?)\s*(\d+)",
    re.IGNORECASE,
)
_PROMPT_LENGTH = re.compile(
    r"(?:contains|has|resulted in)\s+(?P<bound>at least\s+)?(\d+)\s+(?:input )?tokens|\((\d+) in the messages",
    re.IGNORECASE,
)
_PROMPT_ALONE_TOO_LONG = re.compile(
    r"even without any output tokens|resulted in \d+ tokens", re.IGNORECASE
)
_SEVERAL_CHOICES = re.compile(
    r"\bn\b\s*(?:>|<=|=|must|should|is\b|parameter|greater)|(?:multiple|number of|several) (?:choices|completions)",
    re.IGNORECASE,
)
_MAX_LOGPROBS = re.compile(
    r"(?:max(?:imum)?(?: allowed)?|at most|less than or equal to|<=|between 0 and)\D{0,12}(\d+)",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(
    r"unsupported|not support|only the default|not permitted|unrecognized", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """A response that is not a reply."""

    status: int
    message: str
    """The server's message, on one line, printable and without the key."""
    code: str = ""
    """The server's error code, such as model_not_found."""
    field: str = ""
    """The field of the request that it is about, if the server says so."""
    retry_after: float = 0.0
    """Seconds after which the server wants the request again; 0 if it does not say."""

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        if self.code == "insufficient_quota":
            return False
        return self.status in _RETRYABLE or (
            self.status >= 500 and self.status not in _NOT_RETRYABLE
        )

    @property
    def overloaded(self) -> bool:
        """Whether the server has too many requests."""
        return self.status in _OVERLOADED

    @property
    def too_long(self) -> bool:
        """Whether the prompt, or prompt and reply together, exceed the model's context."""
        if self.status == 413:
            return True
        text = f"{self.code} {self.message}"
        return self.status in _MAYBE_TOO_LONG and _TOO_LONG.search(text) is not None

    def __str__(self) -> str:
        message = f" ({self.message})" if self.message else ""
        return f"HTTP {self.status}{message}"


def read_error(
    status: int, headers: Mapping[str, str], content: bytes, redact: Callable[[str], str]
) -> ErrorResponse:
    """Read a response that is not a reply; `redact` removes the key from its text."""
    text = content[:100_000].decode("utf-8", "replace")
    try:
        fields = _error_fields(json.loads(text))
    except (ValueError, RecursionError):
        fields = {"message": text}
    message, code, name = (
        redact(_one_line(fields.get(key)))[:_MAX_SHOWN] for key in ("message", "code", "field")
    )
    return ErrorResponse(status, message, code, name, retry_after_seconds(headers))


def context_length(error: ErrorResponse) -> int:
    """The context length that an error names; 0 if it names none."""
    match = _CONTEXT_LENGTH.search(error.message)
    return int(match[1]) if match else 0


def reduced_max_tokens(error: ErrorResponse, max_tokens: int) -> int:
    """A smaller token limit to try after `max_tokens` was too long; 0 if no reply can fit.

    If the message names the lengths of context and prompt, their difference; else half as many, down to a
    few: a server that refuses even these refuses the prompt.
    """
    context, prompt = context_length(error), _PROMPT_LENGTH.search(error.message)
    if _PROMPT_ALONE_TOO_LONG.search(error.message):
        return 0
    if context and prompt and not prompt["bound"]:
        room = context - int(prompt[2] or prompt[3])
        return room if 0 < room < max_tokens else 0
    if context and max_tokens >= context:  # this alone may be the reason
        return context - 1
    return max_tokens // 2 if max_tokens >= _MIN_HALVED_TOKENS else 0


def retry_after_seconds(headers: Mapping[str, str]) -> float:
    """Seconds that the `retry-after-ms` or `retry-after` header asks for; 0 if neither can be read."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "")
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, TypeError):
                continue
        if 0 < seconds < float("inf"):
            return seconds
    return 0.0


def learn_from_error(
    capabilities: Capabilities, error: ErrorResponse, body: Mapping[str, Any]
) -> str:
    """Update what is known of a server from its refusal of `body`.

    Returns a note on what is done instead; "" if nothing was learned.
    """
    if (
        "max_tokens" in body
        and "max_completion_tokens" in error.message
        and ("instead" in error.message or _UNSUPPORTED.search(error.message))
    ):
        capabilities.max_tokens_field = "max_completion_tokens"
        return "requires max_completion_tokens in place of max_tokens"
    if "top_logprobs" in body and _is_about(error, "top_logprobs"):
        limit = _MAX_LOGPROBS.search(error.message)
        if limit and 0 < int(limit[1]) < body["top_logprobs"]:
            capabilities.max_top_logprobs = int(limit[1])
            return f"returns at most {capabilities.max_top_logprobs} log-probabilities per token"
    if "echo" in body and (_is_about(error, "echo") or _is_about(error, "logprobs")):
        return capabilities.mark_unsupported("echo")
    for name in UNSUPPORTED_NOTES:
        if name in body and _refuses_field(error, name):
            return capabilities.mark_unsupported(name)
    return ""


async def resolve_error(
    server: Server,
    error: ErrorResponse,
    body: Mapping[str, Any],
    note: Callable[[Server, str], None],
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
    """
    if error.too_long:
        return _too_long(server, error, body.get("max_tokens") or body["max_completion_tokens"])
    learned = learn_from_error(server.capabilities, error, body)
    if learned:
        note(server, learned)
        return RebuildRequest()
    if error.status in (401, 403):
        return ServerRefused(f"{server.url}: rejected the key, {error}; {server.key.hint}")
    if error.status in (404, 405):
        return await _not_found(server, error, body)
    if 300 <= error.status < 400:
        return ServerRefused(
            f"{server.url}: HTTP {error.status}, a redirect; pass the URL that it leads to"
        )
    if error.status in (400, 422, 501) and "echo" in body:
        return no_logprobs(server, "echo", f" ({error})")
    if error.status in (400, 422) and server.has_replied:
        # A content filter, or a template that refuses the conversation: other prompts may pass.
        return PromptRefused(f"{server.url}: refused this prompt, {error}")
    return EngineError(f"{server.url}: {error}")


def no_logprobs(server: Server, field: str, detail: str = "") -> UsageError:
    """The error for a server without log-probabilities: of replies, or of prompts if `field` is echo."""
    if field == "echo":
        return UsageError(
            f"{server.url}: returns no log-probabilities of a prompt (echo with logprobs), which "
            f"log-likelihoods require{detail}; use --engine hf or vllm"
        )
    return UsageError(
        f"{server.url}: returns no log-probabilities, which --judge logprob requires; "
        "use --judge votes"
    )


def _too_long(server: Server, error: ErrorResponse, max_tokens: int) -> Exception:
    context = context_length(error)
    if 1 < context <= max_tokens:
        server.capabilities.max_reply_tokens = context - 1
    reduced = reduced_max_tokens(error, max_tokens)
    if reduced:
        return RebuildRequest(reduced)
    return PromptTooLong(f"{server.url}: the prompt is too long for the model: {error.message}")


async def _not_found(
    server: Server, error: ErrorResponse, body: Mapping[str, Any]
) -> ServerRefused:
    try:
        response = await server.pool.send("/models", None, _LIST_TIMEOUT)
    except RequestFailed:
        models = None
    else:
        models = read_models(response.content) if response.status == 200 else None
    model = body["model"]
    if models is not None and model not in models:
        return ServerRefused(
            f"{server.url}: has no model {model!r} ({format_models(models)}); name one with --model NAME"
        )
    if "prompt" in body:
        return ServerRefused(
            f"{server.url}: no /completions for {model!r}, {error}, which prompts without a chat template "
            "require; use --engine hf or vllm"
        )
    if models is None:
        return ServerRefused(
            f"{server.url}: no chat completions there, {error}; "
            "a base URL usually ends in /v1, such as http://host:8000/v1"
        )
    return ServerRefused(f"{server.url}: {error}")


def _refuses_field(error: ErrorResponse, name: str) -> bool:
    if name in (
        "temperature",
        "top_p",
    ):  # otherwise its value is out of range, not the field unknown
        return _is_about(error, name) and bool(_UNSUPPORTED.search(error.message + error.code))
    if name == "logprobs" and _is_about(error, "top_logprobs"):
        return True
    return _is_about(error, name) or (name == "n" and bool(_SEVERAL_CHOICES.search(error.message)))


def _is_about(error: ErrorResponse, name: str) -> bool:
    if error.field.rpartition(".")[2] == name:
        return True
    quoted = rf"['\"`]{name}['\"`]" if name in ("n", "stop") else rf"\b{name}\b"
    return re.search(quoted, error.message) is not None


def _error_fields(content: Any) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        return {"message": content}
    error = content.get("error", content)
    if not isinstance(error, dict):
        return {"message": error}
    detail = error.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):  # pydantic's errors
        location = [str(part) for part in detail[0].get("loc") or ()]
        return {
            "message": f"{'.'.join(location)}: {detail[0].get('msg')}",
            "field": (location or [""])[-1],
        }
    return {
        "message": error.get("message") or detail,
        "code": error.get("code") or error.get("type"),
        "field": error.get("param"),
    }


def _one_line(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    # A server's text is printed on terminals: no control characters, one line.
    return " ".join("".join(c if c.isprintable() else " " for c in text[:10_000]).split())
