"""HTTP to one server: a stack of clients with one connection each.

httpx's pool looks at all of its connections for every request, which takes longer than the request
once there are dozens of them. A client of a single connection has nothing to look through; the one
that was used last, whose connection is most likely still open, is used first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spar.infer.engines.openai.fd_limit import is_shortage

if TYPE_CHECKING:
    import ssl

    import httpx

_CONNECT_SECONDS = 20.0


class NoDescriptor(Exception):
    """This process has too many files open to make another connection."""


class Unreachable(Exception):
    """No connection to the server could be made."""


class Cut(Exception):
    """The connection ended before the answer did."""


class TimedOut(Exception):
    """The answer did not come in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, whatever it was."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Lanes:
    """Connections to one server, made as they are needed.

    Parameters
    ----------
    url:
        Base URL, to which paths are added.
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

    async def ask(self, path: str, content: bytes | None, seconds: float) -> Answer:
        """POST `content`, or GET where there is none. Cancelling closes the connection.

        Raises
        ------
        NoDescriptor, Unreachable, Cut, TimedOut
            There is no answer.
        """
        import httpx

        client = self._idle.pop() if self._idle else self._make()
        # A client whose request was cancelled may keep its one connection taken for ever, and the
        # client used last is used first: only one that gave an answer is used again.
        fit = False
        try:
            async with asyncio.timeout(seconds):
                response = await client.send(self._request(path, content))
            fit = True
            return Answer(response.status_code, response.headers, response.content)
        except TimeoutError:
            raise TimedOut(f"no answer in {seconds:g} s") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            if is_shortage(error):
                raise NoDescriptor("this process has too many open files (ulimit -n)") from None
            raise Unreachable(f"no connection ({_reason(error)})") from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise Cut(f"the connection was cut ({_reason(error)})") from None
        finally:
            await self._put_back(client, fit)

    async def aclose(self) -> None:
        """Close every connection; those in use when they come back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().aclose()

    def _request(self, path: str, content: bytes | None) -> httpx.Request:
        import httpx

        if path not in self._urls:  # reading a URL is a tenth of a request's work
            self._urls[path] = httpx.URL(self._url + path)
        method = "GET" if content is None else "POST"
        return httpx.Request(method, self._urls[path], headers=self._headers, content=content)

    def _make(self) -> httpx.AsyncClient:
        import httpx

        # Reading the certificates takes longer than many requests: once for all of them.
        self._tls = self._tls or _tls_context()
        return httpx.AsyncClient(
            verify=self._tls,
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
        )

    async def _put_back(self, client: httpx.AsyncClient, fit: bool) -> None:
        if self._closed or not fit:
            await client.aclose()
        else:
            self._idle.append(client)


def _tls_context() -> ssl.SSLContext:
    import httpx

    try:
        return httpx.create_ssl_context()
    except OSError as error:
        if is_shortage(error):
            raise NoDescriptor("this process has too many open files (ulimit -n)") from None
        raise


def _reason(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
