"""Requests with tools, handed to the model's own server: greedy decoding, no search, no tree.

A call of a tool is no text that a judge could hold against the instruction, and the turns of tools are no conversation that
spar's roles know. So such a request goes to the actor's server as it came, with the model's own name, the fields that the
settings add to every request, and temperature 0 unless the server accepts none; what the request names itself is not
replaced. The reply comes back as it is, under the id that the client asked for.
The server's key is in no message. A model that spar has loaded is asked by `spar.serve.tools`.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any

from spar.config import DecodeConfig
from spar.infer.engines.openai.addresses import Key, read_key
from spar.infer.engines.openai.connection_pool import CONNECT_SECONDS, IDLE_SECONDS
from spar.infer.engines.openai.errors import read_error
from spar.infer.engines.openai.learning import is_about
from spar.infer.engines.openai.network import tls_for
from spar.run.resolve import models, urls
from spar.run.sampling import server_fields
from spar.sanitize import replace_surrogates
from spar.serve.errors import ApiError, server_error
from spar.serve.http import Ending
from spar.serve.reply import usage_of

if TYPE_CHECKING:
    import httpx

NOTE = "tools: passed on to the model's server, greedily and without a search"
_OWN_FIELDS = ("spar", "input")
_GREEDY: Mapping[str, Any] = {"temperature": 0}


class Upstream:
    """The actor's servers.

    Parameters
    ----------
    config:
        Resolved settings.
    timeout:
        Seconds that a reply may take.
    """

    def __init__(self, config: DecodeConfig, timeout: float) -> None:
        self._urls = urls(config)["actor"]
        self._next = cycle(self._urls)
        self._model = models(config)["actor"]
        self._config, self._timeout = config, timeout
        self._temperature = _GREEDY
        self._fields = server_fields(config, config.draft)
        self._client: httpx.AsyncClient | None = None

    @property
    def is_there(self) -> bool:
        """Whether the actor's model has a server of its own."""
        return bool(self._urls)

    async def reply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The server's completion, under the model's id of the body.

        Raises
        ------
        ApiError
            The server refuses, fails, or there is none.
        """
        response = await self._send(body, stream=False)
        content = await self._json(response)
        return {**content, "model": body.get("model", "")}

    async def stream(self, body: Mapping[str, Any], num_calls: int) -> UpstreamStream:
        """The server's stream, once it has begun; raises as `reply` does."""
        response = await self._send(body, stream=True)
        return UpstreamStream(response, str(body.get("model", "")), num_calls)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _send(self, body: Mapping[str, Any], *, stream: bool) -> httpx.Response:
        """The response of the next server, or of the first one after it that can be reached."""
        import httpx

        urls, failure = dict.fromkeys((next(self._next), *self._urls)), ""
        for url in urls:
            key = read_key(self._config.api_key_env, url, self._config.header)
            try:
                return await self._ask(url, key, {**self._fields, **body}, stream=stream)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = failure or _reason(key, error)
        raise _not_asked(failure)

    async def _ask(
        self, url: str, key: Key, body: Mapping[str, Any], *, stream: bool
    ) -> httpx.Response:
        response = await self._post(url, key, {**self._temperature, **body}, stream=stream)
        if "temperature" not in body and _refuses(response, key, self._temperature):
            # As reasoning models do.
            response = await self._post(url, key, body, stream=stream)
            self._temperature = self._temperature if response.is_error else {}
        if response.is_error:
            raise _refusal(response, key)
        return response

    async def _post(
        self, url: str, key: Key, body: Mapping[str, Any], *, stream: bool
    ) -> httpx.Response:
        """The server's response; an error with its content. Raises httpx's own error where it cannot be reached."""
        import httpx

        if self._client is None:
            self._client = self._new_client()
        sent = {name: value for name, value in body.items() if name not in _OWN_FIELDS}
        text = json.dumps({**sent, "model": self._model}, ensure_ascii=False)
        request = self._client.build_request(
            "POST",
            f"{url}/chat/completions",
            content=replace_surrogates(text).encode(),
            headers={"Content-Type": "application/json", **key.headers},
        )
        try:
            response = await self._client.send(request, stream=stream)
            if response.is_error:
                await response.aread()
                await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise
        except httpx.TimeoutException:
            raise server_error(
                504, "the model's server took too long", "timeout", retry=False
            ) from None
        except httpx.HTTPError as error:
            raise _not_asked(_reason(key, error)) from None
        return response

    def _new_client(self) -> httpx.AsyncClient:
        """A client that trusts the certificates that the `openai` engine trusts, and drops idle connections as it does."""
        import httpx

        contexts = filter(None, map(tls_for, self._urls))
        return httpx.AsyncClient(
            timeout=httpx.Timeout(self._timeout, connect=min(self._timeout, CONNECT_SECONDS)),
            # Where no server speaks TLS, no certificate is read, and none is trusted.
            verify=next(contexts, None) or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
        )

    async def _json(self, response: httpx.Response) -> dict[str, Any]:
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict) or not isinstance(content.get("choices"), list):
            raise server_error(502, "the model's server sent no completion", "engine_error")
        return content


class UpstreamStream:
    """A stream of the model's own server, under another model's id.

    Parameters
    ----------
    num_calls:
        How many replies it has, for the count of a whole one.
    """

    def __init__(self, response: httpx.Response, model: str, num_calls: int) -> None:
        self._response, self._model, self._num_calls = response, model, num_calls
        self._counts: Mapping[str, Any] = {}
        self.ending = Ending()
        """By what has come so far."""

    async def events(self) -> AsyncIterator[bytes]:
        """The lines as they come; an error of its own where the server breaks off."""
        import httpx

        rest = b""
        try:
            # httpx's own lines end at U+2028 and the like too, which may stand in the middle of a text.
            async for piece in self._response.aiter_bytes():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    yield self._read(line) + b"\n"
            if rest:
                yield self._read(rest) + b"\n"
            if self.ending.status == 200:
                self.ending.usage = usage_of(self._counts, self._num_calls)
        except httpx.HTTPError:
            error = server_error(502, "the model's server broke off", "engine_error")
            self.ending.status = error.status
            # An empty line ends the event that was begun.
            yield f"\ndata: {json.dumps(error.content)}\n\ndata: [DONE]\n\n".encode()
        finally:
            await self._response.aclose()

    def _read(self, line: bytes) -> bytes:
        """A line under the model's id that the client asked for; notes an error and the usage."""
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or not data.startswith(b"{"):
            return line
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            return line
        if content.get("error"):
            self.ending.status = 502
        if content.get("usage"):
            self._counts = content
        if "model" not in content:
            return line
        return b"data: " + json.dumps({**content, "model": self._model}).encode()


def _refuses(response: httpx.Response, key: Key, fields: Mapping[str, Any]) -> bool:
    """Whether a response is the refusal of one of these fields of the request."""
    if response.status_code not in (400, 422):
        return False
    error = read_error(response.status_code, response.headers, response.content, key.redact)
    return any(is_about(error, name) for name in fields)


def _reason(key: Key, error: httpx.HTTPError) -> str:
    return key.redact(f"{type(error).__name__}: {error}")


def _not_asked(reason: str) -> ApiError:
    return server_error(502, f"the model's server cannot be asked: {reason}", "engine_error")


def _refusal(response: httpx.Response, key: Key) -> ApiError:
    """The error that a client receives for one of the server: its own mistake as it is, a wrong key as the server's."""
    status = response.status_code
    error = read_error(status, response.headers, response.content, key.redact)
    message = error.message
    if error.rejects_key or status == 403:
        return server_error(
            502, "the model's server refuses the key of this server", "engine_error"
        )
    if status == 429:
        wait = {"retry-after": response.headers.get("retry-after", "1")}
        return ApiError(429, message, "rate_limited", kind="rate_limit_error", headers=wait)
    if status < 500:
        return ApiError(status, message, "invalid_value")
    return server_error(502, f"the model's server failed: {message}", "engine_error")
