"""Error responses: reading them, and what they say of time and length. Pure.

Servers agree on the status and on little else. The message is in `error.message`, `error`, `message` or
`detail`, and the reason must be read out of its words.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

_RETRYABLE = frozenset({408, 409, 425, 429})
_NOT_RETRYABLE = frozenset({501, 505})
_OVERLOADED = frozenset({429, 503, 529})
_MAYBE_TOO_LONG = frozenset({400, 422})
_MAYBE_OVER_RATE = frozenset({413, 429})
_MAYBE_WRONG_KEY = frozenset({400, 403})
_MAX_SHOWN = 300
_MIN_HALVED_TOKENS = 16
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|context (length|window|size)"
    r"|max_model_len|max_total_tokens|(prompt|input) is too long|reduce the length|too many (input )?tokens"
    r"|(prompt|input|tokens?)\b.{0,60}\blonger than"
    r"|\binputs`? (tokens \+|must have less than \d+ tokens)",  # TGI
    re.IGNORECASE,
)
CONTEXT_LENGTH = re.compile(
    r"(?:maximum context length (?:is|of)|max_model_len=|max_total_tokens=|context length \(?"
    r"|tokens \+ `?max_new_tokens`? must be <=)\s*(\d+)",
    re.IGNORECASE,
)
_PROMPT_LENGTH = re.compile(
    r"(?:contains|has|resulted in)\s+(?P<bound>at least\s+)?(\d+)\s+(?:input )?tokens|\((\d+) in the messages"
    r"|(\d+) tokens from the input messages|Given: (\d+) `?inputs",
    re.IGNORECASE,
)
_PROMPT_ALONE_TOO_LONG = re.compile(
    r"even without any output tokens|resulted in \d+ tokens|inputs`? must have less than"
    r"|input \(\d+ tokens\) is longer than",
    re.IGNORECASE,
)
_OF_TOKENS = re.compile(r"tokens|\bTP[MDH]\b", re.IGNORECASE)
_RATE = re.compile(r"\blimit:? (\d[\d,]*).{1,40}?\brequested:? (\d[\d,]*)", re.IGNORECASE)
_OVER_RATE = re.compile(r"request too large", re.IGNORECASE)
_WRONG_KEY = re.compile(
    r"\bapi[ _]key (?:is )?(?:not valid|invalid|expired)|\b(?:invalid|incorrect|wrong|expired) api[ _]key",
    re.IGNORECASE,
)
_ERROR_START = 1_000
"""Bytes of a reply that are looked at for an error, so that replies need not be parsed twice."""
_ERROR_STATUS = re.compile("[45][0-9]{2}")


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
        if self.code == "insufficient_quota" or self.exceeds_rate:
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
        """Whether the prompt, or prompt and reply together, exceed the model's context or what a minute allows."""
        if self.status == 413 or self.exceeds_rate:
            return True
        text = f"{self.code} {self.message}"
        return self.status in _MAYBE_TOO_LONG and _TOO_LONG.search(text) is not None

    @property
    def exceeds_rate(self) -> bool:
        """Whether this request alone has more tokens than the server allows in a minute, so that no wait helps."""
        is_named = self.status == 429 and _OVER_RATE.search(self.message) is not None
        return is_named or excess_tokens(self) > 0

    @property
    def rejects_key(self) -> bool:
        """Whether the key is rejected, as far as status and words tell; of 403 this is one cause of several."""
        is_named = _WRONG_KEY.search(self.message) is not None
        return self.status == 401 or (self.status in _MAYBE_WRONG_KEY and is_named)

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
        redact(value_line(fields.get(key)))[:_MAX_SHOWN] for key in ("message", "code", "field")
    )
    return ErrorResponse(status, message, code, name, retry_after_seconds(headers))


def error_message(content: Any) -> str:
    """What the JSON of a response says of an error, printable and on one line; "" if it says nothing."""
    return value_line(_error_fields(content).get("message"))[:_MAX_SHOWN]


def error_status(status: int, content: bytes) -> int:
    """The status of a response: gateways send errors of the servers behind them as replies, with status 200."""
    if status != 200 or b'"error"' not in content[:_ERROR_START]:
        return status
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return status
    error = body.get("error") if isinstance(body, dict) and not body.get("choices") else None
    code = str(error.get("code")) if isinstance(error, dict) else ""
    return int(code) if _ERROR_STATUS.fullmatch(code) else status


def context_length(error: ErrorResponse) -> int:
    """The context length that an error names; 0 if it names none."""
    match = CONTEXT_LENGTH.search(error.message)
    return int(match[1]) if match else 0


def excess_tokens(error: ErrorResponse) -> int:
    """By how many tokens a request exceeds a rate limit that no request may exceed alone; 0 if no numbers say so."""
    match = _RATE.search(error.message) if error.status in _MAYBE_OVER_RATE else None
    if match is None or not _OF_TOKENS.search(error.message):
        return 0
    limit, requested = (int(number.replace(",", "")) for number in match.groups())
    return max(0, requested - limit)


def reduced_max_tokens(error: ErrorResponse, max_tokens: int, n: int = 1) -> int:
    """A smaller token limit to try after `max_tokens` was too long; 0 if no reply can fit.

    If the message names the lengths of context and prompt, their difference; else half as many, down to a
    few: a server that refuses even these refuses the prompt. If it names a rate limit, what is left of that.

    Parameters
    ----------
    n:
        Replies that were requested, each of which may count against a rate limit.
    """
    excess = excess_tokens(error)
    if excess:
        share = excess if excess < max_tokens else -(-excess // n)
        return max(0, max_tokens - share)
    context, prompt = context_length(error), _PROMPT_LENGTH.search(error.message)
    if _PROMPT_ALONE_TOO_LONG.search(error.message):
        return 0
    if context and prompt and not prompt["bound"]:
        room = context - int(prompt[prompt.lastindex or 0])
        room -= room == max_tokens  # SGLang's last token must stay free
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
            except (ValueError, TypeError, OverflowError):
                continue
        if 0 < seconds < float("inf"):
            return seconds
    return 0.0


def _error_fields(content: Any) -> Mapping[str, Any]:
    """Message, code and field of an error, with the words of the provider behind a gateway (OpenRouter's `raw`)."""
    error = _error_object(content)
    fields, metadata = (
        _own_fields(error),
        error.get("metadata") if isinstance(error, dict) else None,
    )
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, str):
        with contextlib.suppress(ValueError, RecursionError):
            raw = json.loads(raw)
    if not raw:
        return fields
    said = {key: value for key, value in _own_fields(_error_object(raw)).items() if value}
    messages = [value_line(each.get("message")) for each in (fields, said)]
    return {**fields, **said, "message": ": ".join(dict.fromkeys(filter(None, messages)))}


def _error_object(content: Any) -> Any:
    """What describes the error: the content's own part of that name; Gemini's content is a list of one."""
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        (content,) = content
    return content.get("error", content) if isinstance(content, dict) else content


def _own_fields(error: Any) -> Mapping[str, Any]:
    if not isinstance(error, dict):
        return {"message": error}
    detail = error.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):  # pydantic's errors
        location, message = detail[0].get("loc"), detail[0].get("msg")
        if isinstance(location, list) and all(isinstance(part, str | int) for part in location):
            path = location[1:] if location[:1] == ["body"] else location
            where = ".".join(map(str, location))
            return {"message": f"{where}: {_as_text(message)}", "field": path[0] if path else ""}
    return {
        "message": error.get("message") or detail,
        "code": error.get("code") or error.get("type"),
        "field": error.get("param"),
    }


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return "" if value is None else json.dumps(value)
    except RecursionError:  # it could be read, which takes less of the stack
        return "..."


def value_line(value: Any) -> str:
    """A value of a response as printable text on one line."""
    text = _as_text(value)
    # A server's text is printed on terminals: no control characters, one line.
    return " ".join("".join(c if c.isprintable() else " " for c in text[:10_000]).split())
