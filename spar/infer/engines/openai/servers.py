"""Where the servers are and how to be let in: base URLs, keys, and the check before a run.

A key is read from the environment and goes nowhere but into the header of requests to its server;
whatever a server says is cleaned of it before a person or a file sees it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spar.errors import EngineError, ServerRefused, UsageError
from spar.infer.engine import NoteCallback

_OPENAI_HOST, _OPENAI_KEY = "api.openai.com", "OPENAI_API_KEY"
_CHECK_SECONDS = 20.0
_SHOWN = 8
_HINT_LENGTH = 8
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Key:
    """A server's key, which never shows."""

    value: str = field(default="", repr=False)
    name: str = ""
    """Environment variable that it came from, "" for no key."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What a request carries."""
        return {"Authorization": f"Bearer {self.value}"} if self.value else {}

    def redact(self, text: str) -> str:
        """The text without the key, nor a part of it that starts as it does."""
        if not self.value:
            return text
        text = text.replace(self.value, "***")
        if len(self.value) <= 2 * _HINT_LENGTH:
            return text
        return re.sub(re.escape(self.value[:_HINT_LENGTH]) + r"[^\s\"',;]*", "***", text)

    def explain(self) -> str:
        """Which key was sent and how to send another one, for a person."""
        if self.value:
            return f"the key in the environment variable {self.name} was sent; give its right value"
        return "no key was sent; name the environment variable that holds it: --api-key-env NAME"


def base_url(given: str) -> str:
    """The URL that paths are added to: without a trailing slash, with `/v1` where it has no path.

    Raises
    ------
    UsageError
        Not http or https, no host, or with a password, a query or a fragment in it.
    """
    import httpx

    try:
        url = httpx.URL(given.strip())
    except (httpx.InvalidURL, TypeError) as error:
        raise UsageError(f"--base-url: not a URL ({error}); give http://host:8000/v1") from None
    if url.userinfo or url.query or url.fragment:
        # Not shown: a key may be in it.
        raise UsageError(
            f"--base-url of {url.host}: has a name, password, query or fragment in it; give the "
            "plain URL, and the key by --api-key-env NAME"
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(f"--base-url {given!r}: not an http URL; give http://host:8000/v1")
    plain = str(url).rstrip("/")
    return plain if url.path.strip("/") else f"{plain}/v1"


def read_key(name: str, url: str) -> Key:
    """The key for the server at `url`, out of the environment variable `name`.

    With no name there is no key, but for OpenAI's own server: `OPENAI_API_KEY`, where it is set.

    Raises
    ------
    UsageError
        Not the name of a variable, or the variable is not set, empty, or cannot be a key.
    """
    import httpx

    if name and not _VARIABLE.fullmatch(name):
        # Not shown: it may be the key.
        raise UsageError(
            "--api-key-env: wants the name of an environment variable that holds the key (letters, "
            "digits and underscores, such as MY_API_KEY), not the key itself"
        )
    implied = not name and httpx.URL(url).host == _OPENAI_HOST
    name = _OPENAI_KEY if implied else name
    value = os.environ.get(name, "").strip() if name else ""
    if not value:
        if name and not implied:
            raise UsageError(f"--api-key-env {name}: this environment variable is not set or empty")
        return Key()
    if not value.isascii() or not value.isprintable():
        raise UsageError(f"--api-key-env {name}: its value cannot be a key (not plain ASCII)")
    return Key(value, name)


def check_server(
    urls: Sequence[str], model: str, api_key_env: str, note: NoteCallback = lambda _: None
) -> str:
    """Ask every server what it serves; returns the name of the model to ask for. Blocks.

    As long as one of them answers the others may be down: the engine goes on without them.

    Parameters
    ----------
    model:
        The wanted model, "" for the only one that the servers have.
    tell:
        Told which servers are down, where not all are.

    Raises
    ------
    UsageError
        A bad URL, a missing key, or no model named where a server has several or does not tell.
    ServerRefused
        A server wants another key, or does not have the model.
    EngineError
        None of the servers can be reached and is ready.
    """
    down: list[EngineError] = []
    for url in map(base_url, urls):
        try:
            listed = list_models(url, read_key(api_key_env, url))
        except EngineError as error:
            down.append(error)
        else:
            model = choose_model(url, listed, model)
    if len(down) == len(urls):
        raise down[0]
    for failure in down:
        note(f"{failure}; the other servers are asked meanwhile")
    return model


def list_models(url: str, key: Key) -> list[str] | None:
    """Names of the models at a base URL; None where the server has no such list."""
    import httpx

    try:
        headers = {"Accept": "application/json", **key.headers}
        response = httpx.get(f"{url}/models", headers=headers, timeout=_CHECK_SECONDS)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise EngineError(
            f"{url}: no server answers there ({reason}); start it, or mend --base-url"
        ) from None
    if response.status_code in (401, 403):
        raise ServerRefused(
            f"{url}: refused the key (HTTP {response.status_code}); {key.explain()}"
        )
    if response.status_code >= 500:
        raise EngineError(
            f"{url}: not ready (HTTP {response.status_code}); look at the server's log"
        )
    return read_models(response.content) if response.is_success else None


def read_models(content: bytes) -> list[str] | None:
    """Names in the body of an answer to GET /models, None where it is no such list."""
    try:
        reply: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    rows = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(rows, list):
        return None
    return [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row]


def choose_model(url: str, listed: list[str] | None, model: str) -> str:
    """The wanted model if the server may have it, its only one if none is wanted."""
    if listed is None:
        if not model:
            raise UsageError(f"{url}: does not say which models it has; name one by --model NAME")
        return model
    if model in listed:
        return model
    if model:
        raise ServerRefused(f"{url}: has no model {model!r} ({shown(listed)}); name one by --model")
    if len(listed) != 1:
        raise UsageError(f"{url}: name a model by --model NAME ({shown(listed)})")
    return listed[0]


def shown(models: Sequence[str]) -> str:
    """A few of a server's models, for a person."""
    more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
    names = ", ".join(name if name.isprintable() else ascii(name) for name in models[:_SHOWN])
    return f"it has: {names or 'none'}{more}"
