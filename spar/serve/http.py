"""HTTP as the server's endpoints need it: bodies that are bounded, clients that leave, keys, errors in the API's shape."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from spar.errors import UsageError
from spar.serve.errors import ApiError, server_error
from spar.types import Usage

BODY_SECONDS = 60.0
"""Seconds in which a body must arrive."""
CLIENT_LEFT = 499
"""Status, in the metrics alone, of a request whose client left."""

T = TypeVar("T")


@dataclass(slots=True)
class Ending:
    """How the reply to a request ends: what the metrics count. Final once all of it is sent."""

    status: int = 200
    """Status of the response; of a stream, the one that it would have had, had it been known before."""
    usage: Usage = Usage()
    """What a reply without a search took; a search's is in its tree."""


class JsonResponse(Response):
    """JSON in ASCII: a model's text may hold what UTF-8 cannot.

    Parameters
    ----------
    usage:
        As in `Ending`.
    """

    media_type = "application/json"

    def __init__(
        self,
        content: Any,
        *,
        status: int = 200,
        headers: Mapping[str, str] = {},
        usage: Usage = Usage(),
    ) -> None:
        super().__init__(content, status, dict(headers))
        self.ending = Ending(status, usage)

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return json.dumps(content).encode("ascii")


def error_response(error: ApiError) -> Response:
    """An error in the API's shape."""
    return JsonResponse(error.content, status=error.status, headers=error.headers)


class EventStream(StreamingResponse):
    """Server-sent events.

    Parameters
    ----------
    events:
        What is sent.
    ending:
        How it ends, by what the events say of it.
    on_end:
        Called once in the end, also where the client left before the first event.
    """

    def __init__(
        self,
        events: AsyncIterator[bytes],
        ending: Ending,
        headers: Mapping[str, str] = {},
        *,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        # nginx would hold the events back
        own = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(
            self._sent(events), media_type="text/event-stream", headers={**own, **headers}
        )
        self.ending = ending
        self._callbacks, self._all_sent = [on_end], False

    def at_end(self, callback: Callable[[], None]) -> None:
        """Call this, too, in the end."""
        self._callbacks.append(callback)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if not self._all_sent:
                self.ending.status = CLIENT_LEFT
            for callback in self._callbacks:
                callback()

    async def _sent(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for each in events:
            yield each
        self._all_sent = True


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a request.

    Raises
    ------
    ApiError
        It is no JSON by its header, too large, or too slow.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(
            415,
            f"the content type is {kind[:60]!a}; send the header Content-Type: application/json",
            "unsupported_media_type",
        )
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                data += piece
                if len(data) > limit:
                    raise ApiError(
                        413,
                        f"the body is larger than {limit / 1e6:g} MB (--max-body-mb)",
                        "body_too_large",
                        headers={"connection": "close"},
                    )
    except TimeoutError:
        raise ApiError(
            408, f"the body did not arrive in {BODY_SECONDS:g} seconds", "body_timeout"
        ) from None
    return bytes(data)


async def until_left(request: Request, task: asyncio.Task[T]) -> T:
    """The result of a task; cancels it where the client leaves before.

    Raises
    ------
    ClientDisconnect
        It has left.
    """
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait([task, leaving], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        task.cancel()
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving


async def _left(request: Request) -> None:
    """Return once the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def check_key(request: Request, key: bytes) -> None:
    """Raise `ApiError` unless a request carries the key; b"" asks for none."""
    if not key:
        return
    kind, _, sent = request.headers.get("authorization", "").partition(" ")
    is_right = hmac.compare_digest(sent.strip().encode("utf-8", "replace"), key)
    if kind.lower() != "bearer" or not is_right:
        raise ApiError(
            401,
            "the key is missing or wrong; send the header Authorization: Bearer KEY",
            "invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )


def read_key(variable: str) -> bytes:
    """The clients' key; b"" for none."""
    if not variable:
        return b""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(
            f"--client-key-env: the environment variable {variable} is not set; set it to the clients' key"
        )
    return key.encode("utf-8", "replace")


async def http_error(request: Request, error: Exception) -> Response:
    """No such path, or another method."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    message = (
        f"{what[:200]}: {error.detail}; this server has /v1/models and POST /v1/chat/completions"
    )
    api_error = ApiError(error.status_code, message, "not_found", headers=error.headers or {})
    return error_response(api_error)


async def unexpected(request: Request, error: Exception) -> Response:
    """An error of spar itself; the server's log has it."""
    return error_response(
        server_error(500, f"unexpected error: {type(error).__name__}", "internal_error")
    )
