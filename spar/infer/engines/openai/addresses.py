"""Where a server is and what authorizes requests to it: its base URL and its API key.

A key is read from the environment and sent in the header of requests to its server, nowhere else; `Key`
removes it from whatever a server says. A URL is repeated in a message only if it cannot hold a key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from spar.config import check_headers, check_key_name
from spar.errors import UsageError
from spar.infer.engines.stops import unfinished_stop

REDACTED = "***"
"""What a key is replaced by."""

_OPENAI_HOST, _OPENAI_KEY = "api.openai.com", "OPENAI_API_KEY"
_KEY_PREFIX_LENGTH = 8
_MIN_SECRET_LENGTH = (
    12  # a shorter "key" is a placeholder such as EMPTY or none, a word of ordinary text
)
_MIN_HIDDEN_LENGTH = (
    6  # a shorter one, of a key or a header, would be hidden inside the words of messages
)
_MAX_LABEL, _MAX_HOST = 63, 253
_EXAMPLE = "expected a URL such as http://host:8000/v1"


@dataclass(frozen=True, slots=True)
class Key:
    """An API key. Its value is in no repr."""

    value: str = field(default="", repr=False)
    name: str = ""
    """The environment variable it was read from; "" for no key."""
    more: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Further headers of requests; their values are treated as keys are."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that authorize a request."""
        own = {"Authorization": f"Bearer {self.value}"} if self.value else {}
        return {**own, **self.more}

    @property
    def _secrets(self) -> tuple[str, ...]:
        """What no message may repeat, the longest first."""
        values = {self.value, *self.more.values()}
        secrets = (value for value in values if len(value) >= _MIN_HIDDEN_LENGTH)
        return tuple(sorted(secrets, key=len, reverse=True))

    @property
    def _reply_secrets(self) -> tuple[str, ...]:
        """What no reply may repeat, the longest first."""
        return tuple(secret for secret in self._secrets if len(secret) >= _MIN_SECRET_LENGTH)

    def redact(self, text: str) -> str:
        """The text without the key and the values of headers, and without words that begin as the key does."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        if not self.value:
            return text
        if len(self.value) <= 2 * _KEY_PREFIX_LENGTH:
            return text
        prefix = re.escape(self.value[:_KEY_PREFIX_LENGTH])
        return re.sub(prefix + r"[^\s\"',;]*", REDACTED, text)

    def redact_content(self, content: bytes) -> bytes:
        """The body of a response without the secrets, also as JSON with escaped slashes."""
        for secret in self._reply_secrets:
            for value in {secret, secret.replace("/", "\\/")}:
                content = content.replace(value.encode(), REDACTED.encode())
        return content

    def redact_growing(self, text: str) -> str:
        """The beginning of a reply's text as `redact_content` leaves it, without an end that may begin a secret."""
        for secret in self._reply_secrets:
            text = text.replace(secret, REDACTED)
        return text[: len(text) - unfinished_stop(text, self._reply_secrets)]

    @property
    def hint(self) -> str:
        """Which key was sent, and how to send another one."""
        if self.value:
            return f"the key in the environment variable {self.name} was sent; check its value"
        return "no key was sent; name the environment variable that holds it: --api-key-env NAME"


def base_url(url: str) -> str:
    """The URL that endpoint paths are appended to: no trailing slash, and `/v1` if it has no path.

    Raises
    ------
    UsageError
        It is not an HTTP URL, has no valid host, or contains credentials, a query or a fragment. The message
        repeats it only if no key can be in it.
    """
    from yarl import URL

    plain = url.strip()
    shown = "" if re.search("[@?#]", plain) else f" {plain!r}"
    if not plain.isprintable() or re.search(r"\s", plain):
        raise UsageError(f"--base-url{shown}: contains white space or control characters")
    try:
        parts, parsed = urlsplit(plain), URL(plain)
    except ValueError:  # the reason may quote the URL, and a key may stand in place of the port
        raise UsageError(f"--base-url: invalid host or port; {_EXAMPLE}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not parsed.raw_host:
        raise UsageError(f"--base-url{shown}: not an HTTP URL; {_EXAMPLE}")
    if "@" in parts.netloc or set("?#") & set(plain):
        raise UsageError(
            f"--base-url: the URL of {parts.hostname} contains a name, password, query or fragment; "
            "pass the plain URL, and the key with --api-key-env NAME"
        )
    labels = parsed.raw_host.rstrip(".").split(".")
    if len(parsed.raw_host) > _MAX_HOST or not all(0 < len(each) <= _MAX_LABEL for each in labels):
        raise UsageError(
            f"--base-url: invalid host name (a part between dots has 1 to {_MAX_LABEL} characters, the whole "
            f"at most {_MAX_HOST}); {_EXAMPLE}"
        )
    normal = str(parsed).rstrip("/")
    return normal if parsed.path.strip("/") else f"{normal}/v1"


def read_key(name: str, url: str, headers: Mapping[str, Any] | None = None) -> Key:
    """Read the API key for the server at `url` from the environment variable `name`.

    Without a name there is no key, except for OpenAI's own server: `OPENAI_API_KEY`, if it is set.

    Parameters
    ----------
    headers:
        Name of a further header to `env:VARIABLE`.

    Raises
    ------
    UsageError
        `name` may be a key itself, or a variable is not set, empty, or not plain ASCII.
    """
    check_key_name(name)
    more = _read_headers(headers or {})
    use_default = not name and urlsplit(url).hostname == _OPENAI_HOST
    name = _OPENAI_KEY if use_default else name
    value = os.environ.get(name, "").strip() if name else ""
    if not value:
        if name and not use_default:
            raise UsageError(f"--api-key-env {name}: this environment variable is not set or empty")
        return Key(more=more)
    if not value.isascii() or not value.isprintable():
        raise UsageError(f"--api-key-env {name}: its value is not an API key (not plain ASCII)")
    return Key(value, name, more)


def _read_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    check_headers(headers)
    values: dict[str, str] = {}
    for name, reference in headers.items():
        variable = reference.removeprefix("env:")
        value = os.environ.get(variable, "").strip()
        if not value or not value.isascii() or not value.isprintable():
            raise UsageError(
                f"--header {name}: the environment variable {variable} is not set, empty, or not plain ASCII"
            )
        values[name] = value
    return values
