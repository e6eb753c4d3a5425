"""Connections to one server: a pool of them over aiohttp, and limits on what is opened and read.

aiohttp costs a quarter of the processor time of httpx, whose pool scans all of its connections for every
request (https://github.com/encode/httpx/issues/3215); `benchmarks/openai_client.py` measures it. Its own limit
of 100 connections is lifted: the engine's limiter decides how many requests are in flight.

A server is not trusted with this process's memory: a response is read, and unpacked if it is compressed, up to
a number of bytes that the caller sets. The key is removed from whatever a server says, before anybody sees it.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spar.infer.engines.openai.addresses import Key
from spar.infer.engines.openai.network import proxy_for, tls_for

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

MAX_BYTES = 16 * 2**20
"""Most bytes of a response, if the caller sets no other limit."""

IDLE_SECONDS = 4.0
"""Seconds after which an idle connection is not used again: common servers close one after 5."""

OnChunk = Callable[[bytes], None]
"""Takes a part of a response's body."""

_MAX_ERROR_BYTES = 2**18
CONNECT_SECONDS = 20.0
_TARGET_FILE_LIMIT = 65_536
_RESERVED_FILES = 64
_CONNECTION_SHARE = 0.5
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
_MAX_REASON = 300
_LARGE_BODY = 2**20
_GZIP, _ZLIB, _DEFLATE = 31, 15, -15  # of zlib's wbits


class RequestFailed(Exception):
    """The server sent no response that can be used."""


class TooManyOpenFiles(RequestFailed):
    """This process may not open another connection; the server is not to blame."""


class Unreachable(RequestFailed):
    """No connection to the server could be made."""


class ConnectionLost(RequestFailed):
    """The connection closed before the response was complete."""


class RequestTimeout(RequestFailed):
    """The response did not arrive in time."""


class ResponseTooLarge(RequestFailed):
    """The response has more bytes than the request can need."""


@dataclass(frozen=True, slots=True)
class Response:
    """A server's response, whatever its status."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    """Unpacked, without the key. Of a response that is not a success only the first part, if it is long."""


class ConnectionPool:
    """Connections to one server, made on demand.

    Parameters
    ----------
    url:
        Base URL, to which paths are appended.
    key:
        Sent with every request, and removed from every response.

    Raises
    ------
    UsageError
        The environment's proxy or certificates cannot be used.
    """

    def __init__(self, url: str, key: Key = Key()) -> None:
        self._url, self._key = url, key
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": "spar",
            **key.headers,
        }
        self._proxy, self._tls = proxy_for(url), tls_for(url)
        self._urls: dict[str, URL] = {}
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(
        self,
        path: str,
        content: bytes | None,
        timeout: float,
        max_bytes: int = MAX_BYTES,
        on_chunk: OnChunk | None = None,
    ) -> Response:
        """POST `content`, or GET if it is None. Cancelling closes the connection.

        Parameters
        ----------
        timeout:
            Seconds for all of it, from the connection to the last byte.
        max_bytes:
            Most bytes of the response that are read, and that they are unpacked to.
        on_chunk:
            Called with the bytes of a success as they arrive; compressed ones are unpacked first, as a whole.

        Raises
        ------
        RequestFailed
            There is no response: `TooManyOpenFiles`, `Unreachable`, `ConnectionLost`, `RequestTimeout` or
            `ResponseTooLarge`.
        """
        import aiohttp

        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(path, content, max_bytes, on_chunk)
        except TimeoutError as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise Unreachable(f"cannot connect in {CONNECT_SECONDS:g} s") from None
            raise RequestTimeout(f"no response in {timeout:g} s") from None
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            if is_out_of_files(error):
                raise TooManyOpenFiles("this process has too many open files (ulimit -n)") from None
            raise Unreachable(f"cannot connect ({self._reason(error)})") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: what aiohttp cannot parse; OSError: a connection reset while it was written to.
            if self._closed:
                raise ConnectionLost("the engine was closed") from None
            raise ConnectionLost(f"the connection was lost ({self._reason(error)})") from None

    async def aclose(self) -> None:
        """Close all connections; requests in flight fail."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _exchange(
        self, path: str, content: bytes | None, max_bytes: int, on_chunk: OnChunk | None
    ) -> Response:
        from yarl import URL

        if self._closed:
            raise ConnectionLost("the engine was closed")
        if self._session is None:
            self._session = self._new_session()
        if path not in self._urls:
            self._urls[path] = URL(self._url + path)
        request = self._session.request(
            "GET" if content is None else "POST",
            self._urls[path],
            data=_body(content),
            allow_redirects=False,
            proxy=self._proxy,
        )
        async with request as response:
            is_success = 200 <= response.status < 300
            if is_success:
                body = await _read(response, max_bytes, whole=True, on_chunk=on_chunk)
            else:
                body = await _read(response, _MAX_ERROR_BYTES, whole=False)
            body = self._key.redact_content(body)
            return Response(response.status, response.headers, body)

    def _new_session(self) -> aiohttp.ClientSession:
        import aiohttp

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ssl=self._tls or True, keepalive_timeout=IDLE_SECONDS
            ),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            auto_decompress=False,  # it knows no limit for the whole
        )

    def _reason(self, error: Exception) -> str:
        import aiohttp

        text = str(error)
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            text = str(error.certificate_error)
        elif isinstance(error, aiohttp.ClientConnectorError):
            cause = error.os_error
            is_known = cause.errno is not None and cause.errno > 0
            text = os.strerror(cause.errno or 0) if is_known else cause.strerror or str(cause)
        elif isinstance(error, aiohttp.ClientResponseError):
            text = error.message
        # It may quote what the server sent: one printable line, without the key.
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return self._key.redact(text)[:_MAX_REASON].rstrip(".") or type(error).__name__


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


def _body(content: bytes | None) -> bytes | io.BytesIO | None:
    """The body of a request as aiohttp wants it: it warns of large bytes, which it writes in one go."""
    if content is None or len(content) < _LARGE_BODY:
        return content
    return io.BytesIO(content)


async def _read(
    response: aiohttp.ClientResponse,
    max_bytes: int,
    *,
    whole: bool,
    on_chunk: OnChunk | None = None,
) -> bytes:
    """The body, unpacked; only its first bytes if it is longer and need not be whole."""
    chunks, size = [], 0
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    is_packed = encoding not in ("", "identity")
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        if on_chunk is not None and not is_packed:
            on_chunk(chunk)
        size += len(chunk)
        if size > max_bytes:
            if whole:
                raise _too_large(max_bytes)
            response.close()
            break
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if is_packed:
        body = _unpack(body, encoding, max_bytes + 1)
    if whole and len(body) > max_bytes:
        raise _too_large(max_bytes)
    if on_chunk is not None and is_packed:
        on_chunk(body)
    return body[:max_bytes]


def _unpack(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The first bytes of a compressed body."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ValueError(f"the response is compressed by {encoding[:20]}, which was not asked for")
    # What is called deflate is zlib's format in most cases, whose first byte has this lower half.
    is_zlib = body[:1] and body[0] & 0x0F == 8
    wbits = _GZIP if encoding != "deflate" else _ZLIB if is_zlib else _DEFLATE
    unpacked, rest = b"", body
    try:
        while rest and len(unpacked) < max_bytes:  # a gzip body may have several members
            member = zlib.decompressobj(wbits)
            unpacked += member.decompress(rest, max_bytes - len(unpacked))
            rest = member.unused_data
            if not member.eof:
                break
    except zlib.error:
        raise ValueError("the response is not compressed as it says") from None
    return unpacked


def _too_large(max_bytes: int) -> ResponseTooLarge:
    return ResponseTooLarge(f"its response has more than {max_bytes:,} bytes, which were not read")
