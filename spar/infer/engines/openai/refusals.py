"""What a server means by an answer that is not a reply. Pure.

Servers agree on the status and on little else: the message stands in `error.message`, `error`,
`message` or `detail`, and the reason has to be read out of its words.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

_RETRYABLE = frozenset({408, 409, 425, 429})
_HOPELESS = frozenset({501, 505})
_BUSY = frozenset({429, 503, 529})
_REFUSED = frozenset({400, 413, 422})
_SHOWN = 300
_FEWEST = 16

_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|context (length|window|size)"
    r"|max_model_len|max_total_tokens|prompt is too long|reduce the length|too many (input )?tokens"
    r"|(prompt|input|tokens?)\b.{0,60}\blonger than",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"(?:maximum context length (?:is|of)|max_model_len=|max_total_tokens=|context length \(?)\s*(\d+)",
    re.IGNORECASE,
)
_PROMPT = re.compile(
    r"(?:contains|has|resulted in)\s+(?P<bound>at least\s+)?(\d+)\s+(?:input )?tokens|\((\d+) in the messages",
    re.IGNORECASE,
)
_PROMPT_ALONE = re.compile(r"even without any output tokens|resulted in \d+ tokens", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not a reply."""

    status: int
    message: str
    """What the server says, on one line, printable and without the key."""
    code: str = ""
    """The server's name for it, such as model_not_found."""
    field: str = ""
    """The field of the request that it is about, where the server says so."""
    wait: float = 0.0
    """Seconds after which the server wants to be asked again, 0 where it does not say."""

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        if self.code == "insufficient_quota":
            return False
        return self.status in _RETRYABLE or (self.status >= 500 and self.status not in _HOPELESS)

    @property
    def busy(self) -> bool:
        """Whether the server has too much to do."""
        return self.status in _BUSY

    @property
    def too_long(self) -> bool:
        """Whether prompt, or prompt and reply, do not fit in the context."""
        named = f"{self.code} {self.message}"
        return self.status == 413 or (self.status in _REFUSED and bool(_TOO_LONG.search(named)))

    def __str__(self) -> str:
        said = f" ({self.message})" if self.message else ""
        return f"HTTP {self.status}{said}"


def read_refusal(
    status: int, headers: Mapping[str, str], content: bytes, redact: Callable[[str], str]
) -> Refusal:
    """What an answer says; `redact` takes the key out of it."""
    text = content[:100_000].decode("utf-8", "replace")
    try:
        fields = _fields(json.loads(text))
    except (ValueError, RecursionError):
        fields = {"message": text}
    message, code, name = (redact(_line(fields.get(key))) for key in ("message", "code", "field"))
    return Refusal(status, message[:_SHOWN], code[:_SHOWN], name[:_SHOWN], wait_seconds(headers))


def context_length(refusal: Refusal) -> int:
    """The context that a refusal for length speaks of, 0 where it gives none."""
    found = _CONTEXT.search(refusal.message)
    return int(found[1]) if found else 0


def room_for_reply(refusal: Refusal, asked: int) -> int:
    """How many tokens to ask for instead of `asked`, after a refusal for length; 0 if none can fit.

    Where the message gives the context and the prompt, it is what they leave. Else half as many, down
    to a few: a server that refuses even these refuses the prompt.
    """
    context, prompt = context_length(refusal), _PROMPT.search(refusal.message)
    if _PROMPT_ALONE.search(refusal.message):
        return 0
    if context and prompt and not prompt["bound"]:
        room = context - int(prompt[2] or prompt[3])
        return room if 0 < room < asked else 0
    if context and asked >= context:  # it may have been refused for that alone
        return context - 1
    return asked // 2 if asked >= _FEWEST else 0


def wait_seconds(headers: Mapping[str, str]) -> float:
    """Seconds that `retry-after-ms` or `retry-after` asks for, 0 where neither can be read."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "")
        try:
            seconds = float(value) * unit
        except ValueError:
            seconds = _until(value)
        if 0 < seconds < float("inf"):
            return seconds
    return 0.0


def _until(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, TypeError):
        return 0.0


def _fields(content: Any) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        return {"message": content}
    error = content.get("error", content)
    if not isinstance(error, dict):
        return {"message": error}
    detail = error.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):  # pydantic's list
        place = [str(part) for part in detail[0].get("loc") or ()]
        return {
            "message": f"{'.'.join(place)}: {detail[0].get('msg')}",
            "field": (place or [""])[-1],
        }
    message = error.get("message") or detail
    return {
        "message": message,
        "code": error.get("code") or error.get("type"),
        "field": error.get("param"),
    }


def _line(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    # A server's words go to a terminal: no control characters, one line.
    return " ".join("".join(c if c.isprintable() else " " for c in text[:10_000]).split())
