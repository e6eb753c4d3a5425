"""Connections to one server: its base URL, its API key, and a pool of HTTP clients.

httpx's own pool scans all of its connections for every request (https://github.com/encode/httpcore/pull/1035,
https://github.com/encode/httpx/issues/3215), which from a few dozen connections on takes longer than the
request itself: with 64 in flight a bare `httpx.AsyncClient` reaches a tenth of this pool's rate
(`benchmarks/openai_client.py`). So this pool is a stack of clients with a single connection each, of which
the one used last, whose connection is most likely still open, is used first. aiohttp's connector has no
such cost, but no `httpx.MockTransport` to test against.

A key is read from the environment and sent in the header of requests to its server, nowhere else; `Key.redact`
removes it from whatever a server says.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spar.errors import UsageError

if TYPE_CHECKING:
    import ssl

    import httpx

_CONNECT_TIMEOUT = 20.0
_OPENAI_HOST, _OPENAI_KEY = "api.openai.com", "OPENAI_API_KEY"
_VARIABLE_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_KEY_PREFIX_LENGTH = 8
_TARGET_FILE_LIMIT = 65_536
_RESERVED_FILES = 64
_CONNECTION_SHARE = 0.5
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)


class RequestFailed(Exception):
    """The server sent no response."""


class TooManyOpenFiles(RequestFailed):
    """This process may not open another connection; the server is not to blame."""


class Unreachable(RequestFailed):
    """No connection to the server could be made."""


class ConnectionLost(RequestFailed):
    """The connection closed before the response was complete."""


class RequestTimeout(RequestFailed):
    """The response did not arrive in time."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key. Its value is in no repr."""

    value: str = field(default="", repr=False)
    name: str = ""
    """The environment variable it was read from; "" for no key."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that authorize a request."""
        return {"Authorization": f"Bearer {self.value}"} if self.value else {}

    def redact(self, text: str) -> str:
        """The text without the key, and without words that begin as the key does."""
        if not self.value:
            return text
        text = text.replace(self.value, "***")
        if len(self.value) <= 2 * _KEY_PREFIX_LENGTH:
            return text
        prefix = re.escape(self.value[:_KEY_PREFIX_LENGTH])
        return re.sub(prefix + r"[^\s\"',;]*", "***", text)

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
        It is not an HTTP URL, has no host, or contains credentials, a query or a fragment.
    """
    import httpx

    try:
        parsed = httpx.URL(url.strip())
    except (httpx.InvalidURL, TypeError) as error:
        raise UsageError(
            f"--base-url: invalid URL ({error}); expected a URL such as http://host:8000/v1"
        ) from None
    if parsed.userinfo or parsed.query or parsed.fragment:
        # The URL is left out of the message: a key may be in it.
        raise UsageError(
            f"--base-url: the URL of {parsed.host} contains a name, password, query or fragment; "
            "pass the plain URL, and the key with --api-key-env NAME"
        )
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(
            f"--base-url {url!r}: not an HTTP URL; expected a URL such as http://host:8000/v1"
        )
    plain = str(parsed).rstrip("/")
    return plain if parsed.path.strip("/") else f"{plain}/v1"


def read_key(name: str, url: str) -> Key:
    """Read the API key for the server at `url` from the environment variable `name`.

    Without a name there is no key, except for OpenAI's own server: `OPENAI_API_KEY`, if it is set.

    Raises
    ------
    UsageError
        `name` is not a variable name, or the variable is not set, empty, or not plain ASCII.
    """
    import httpx

    if name and not _VARIABLE_NAME.fullmatch(name):
        # The name is left out of the message: it may be the key.
        raise UsageError(
            "--api-key-env: expected the name of an environment variable that holds the key (letters, "
            "digits and underscores, such as MY_API_KEY), not the key itself"
        )
    use_default = not name and httpx.URL(url).host == _OPENAI_HOST
    name = _OPENAI_KEY if use_default else name
    value = os.environ.get(name, "").strip() if name else ""
    if not value:
        if name and not use_default:
            raise UsageError(f"--api-key-env {name}: this environment variable is not set or empty")
        return Key()
    if not value.isascii() or not value.isprintable():
        raise UsageError(f"--api-key-env {name}: its value is not an API key (not plain ASCII)")
    return Key(value, name)


@dataclass(frozen=True, slots=True)
class Response:
    """A server's response, whatever its status."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class ConnectionPool:
    """Connections to one server, made on demand.

    Parameters
    ----------
    url:
        Base URL, to which paths are appended.
    headers:
        Sent with every request.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            **headers,
        }
        self._urls: dict[str, httpx.URL] = {}
        self._idle: list[httpx.AsyncClient] = []
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def send(self, path: str, content: bytes | None, timeout: float) -> Response:
        """POST `content`, or GET if it is None. Cancelling closes the connection.

        Raises
        ------
        RequestFailed
            There is no response: `TooManyOpenFiles`, `Unreachable`, `ConnectionLost` or `RequestTimeout`.
        """
        import httpx

        client = self._idle.pop() if self._idle else self._new_client()
        # After a cancelled request a client may consider its one connection in use forever, so only
        # clients that completed a request are reused.
        reusable = False
        try:
            async with asyncio.timeout(timeout):
                response = await client.send(self._request(path, content))
            reusable = True
            return Response(response.status_code, response.headers, response.content)
        except TimeoutError:
            raise RequestTimeout(f"no response in {timeout:g} s") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            if is_out_of_files(error):
                raise TooManyOpenFiles("this process has too many open files (ulimit -n)") from None
            raise Unreachable(f"cannot connect ({_reason(error)})") from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise ConnectionLost(f"the connection was lost ({_reason(error)})") from None
        finally:
            if self._closed or not reusable:
                await client.aclose()
            else:
                self._idle.append(client)

    async def aclose(self) -> None:
        """Close idle connections now, and those in use when their requests end."""
        self._closed = True
        while self._idle:
            await self._idle.pop().aclose()

    def _request(self, path: str, content: bytes | None) -> httpx.Request:
        import httpx

        if path not in self._urls:  # parsing a URL is a tenth of a request's work
            self._urls[path] = httpx.URL(self._url + path)
        method = "GET" if content is None else "POST"
        return httpx.Request(method, self._urls[path], headers=self._headers, content=content)

    def _new_client(self) -> httpx.AsyncClient:
        import httpx

        if self._tls is None:  # loading the certificates takes longer than many requests
            try:
                self._tls = httpx.create_ssl_context()
            except OSError as error:
                if is_out_of_files(error):
                    message = "this process has too many open files (ulimit -n)"
                    raise TooManyOpenFiles(message) from None
                raise
        return httpx.AsyncClient(
            verify=self._tls,
            timeout=httpx.Timeout(None, connect=_CONNECT_TIMEOUT),
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
        )


def raise_open_file_limit() -> int:
    """Raise this process's limit on open files, since every connection takes one.

    Shells often start programs with a soft limit of 1,024 where the hard limit is far higher. Returns the
    limit; 0 if there is none or it is unknown.
    """
    if sys.platform == "win32":
        return 0
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 0
    target = _TARGET_FILE_LIMIT if hard == resource.RLIM_INFINITY else min(hard, _TARGET_FILE_LIMIT)
    if soft >= target:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    except (OSError, ValueError):  # a system may allow less than its hard limit says
        return soft
    return target


def max_connections(requested: int, file_limit: int, num_servers: int) -> int:
    """Connections per server: as many as requested, if half of the free file descriptors suffice.

    Parameters
    ----------
    file_limit:
        Limit on open files, 0 for none.
    """
    if not file_limit:
        return requested
    available = int((file_limit - _RESERVED_FILES) * _CONNECTION_SHARE)
    return max(1, min(requested, available // num_servers))


def is_out_of_files(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, is that no more files can be opened."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _OUT_OF_FILES:
            return True
        if isinstance(error, BaseExceptionGroup):
            return any(is_out_of_files(part) for part in error.exceptions)
        error = error.__cause__ or error.__context__
    return False


def _reason(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
