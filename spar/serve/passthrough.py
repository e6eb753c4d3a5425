"""Requests with tools, handed to the model's own server: greedy decoding, no search, no tree.

A call of a tool is no text that a judge could hold against the instruction, and the turns of tools are no conversation that
spar's roles know. So such a request goes to the actor's server as it came, with the model's own name and temperature 0
unless it names one, and the reply comes back as it is, under the id that the client asked for. The server's key is in no
message. A model that spar has loaded is asked by `spar.serve.tools`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any

from spar.config import DecodeConfig
from spar.infer.engines.openai.addresses import Key, read_key
from spar.run.resolve import models, urls
from spar.serve.errors import ApiError, server_error

if TYPE_CHECKING:
    import httpx

NOTE = "tools: passed on to the model's server, greedily and without a search"
_OWN_FIELDS = ("spar", "input")
_SHOWN = 500


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

    async def stream(self, body: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """The lines of the server's stream, whose first has arrived; raises as `reply` does."""
        response = await self._send(body, stream=True)
        return self._lines(response, str(body.get("model", "")))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _send(self, body: Mapping[str, Any], *, stream: bool) -> httpx.Response:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=httpx.Timeout(self._timeout))
        url = next(self._next)
        key = read_key(self._config.api_key_env, url, self._config.header)
        sent = {"temperature": 0, **body, "model": self._model}
        content = {name: value for name, value in sent.items() if name not in _OWN_FIELDS}
        request = self._client.build_request(
            "POST", f"{url}/chat/completions", json=content, headers=dict(key.headers)
        )
        try:
            response = await self._client.send(request, stream=stream)
        except httpx.TimeoutException:
            raise server_error(
                504, "the model's server took too long", "timeout", retry=False
            ) from None
        except httpx.HTTPError as error:
            reason = key.redact(f"{type(error).__name__}: {error}")
            raise server_error(
                502, f"the model's server cannot be asked: {reason}", "engine_error"
            ) from None
        if response.is_error:
            await response.aread()
            await response.aclose()
            raise _refusal(response, key)
        return response

    async def _json(self, response: httpx.Response) -> dict[str, Any]:
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict) or not isinstance(content.get("choices"), list):
            raise server_error(502, "the model's server sent no completion", "engine_error")
        return content

    async def _lines(self, response: httpx.Response, model: str) -> AsyncIterator[bytes]:
        import httpx

        try:
            async for line in response.aiter_lines():
                yield f"{_renamed(line, model)}\n".encode()
        except httpx.HTTPError:
            error = server_error(502, "the model's server broke off", "engine_error")
            yield f"data: {json.dumps(error.content)}\n\ndata: [DONE]\n\n".encode()
        finally:
            await response.aclose()


def _renamed(line: str, model: str) -> str:
    """A line of a stream under the model's id that the client asked for."""
    if not line.startswith("data: {"):
        return line
    try:
        content = json.loads(line.removeprefix("data: "))
    except ValueError:
        return line
    return f"data: {json.dumps({**content, 'model': model})}" if "model" in content else line


def _refusal(response: httpx.Response, key: Key) -> ApiError:
    """The error that a client receives for one of the server: its own mistake as it is, a wrong key as the server's."""
    try:
        content = response.json()
    except ValueError:
        content = response.text
    error = content.get("error") if isinstance(content, dict) else None
    said = error.get("message") if isinstance(error, dict) else None
    message = key.redact(str(said or content))[:_SHOWN]
    status = response.status_code
    if status in (401, 403):
        return server_error(
            502, "the model's server refuses the key of this server", "engine_error"
        )
    if status == 429:
        wait = {"retry-after": response.headers.get("retry-after", "1")}
        return ApiError(429, message, "rate_limited", kind="rate_limit_error", headers=wait)
    if status < 500:
        return ApiError(status, message, "invalid_value")
    return server_error(502, f"the model's server failed: {message}", "engine_error")
