"""The routes: an ASGI application over a `SearchService`.

    GET  /v1/models              the searches that are offered
    POST /v1/chat/completions    an answer, whole or streamed
    GET  /health                 whether the server answers; needs no key
    GET  /metrics                Prometheus' format

    app = open_app(model="Qwen/Qwen2.5-7B-Instruct", offer="bfs-15,greedy", out="runs/serve")    # for uvicorn, or to mount

Everything that can be known before a stream starts is an error with a status of its own. A client that leaves cancels its
search. Starlette reads requests and writes responses.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from spar.listener import Broadcast, Listener, checked_listener
from spar.serve.errors import ApiError, unexpected_error
from spar.serve.http import (
    CLIENT_LEFT,
    Ending,
    EventStream,
    JsonResponse,
    check_key,
    error_response,
    http_error,
    read_body,
    read_key,
    unexpected,
    until_left,
)
from spar.serve.metrics import Metrics
from spar.serve.offers import Offer, answers_once
from spar.serve.passthrough import NOTE, Upstream
from spar.serve.reply import completion, usage_of
from spar.serve.request import ChatRequest, parse_json, parse_request
from spar.serve.running import RunningReply
from spar.serve.searching import Job, SearchService
from spar.serve.settings import server_settings
from spar.serve.tools import NOTE as TOOLS_NOTE
from spar.serve.tools import answer_with_tools, tool_events

TREE_HEADER = "X-Spar-Tree"
"""Header with `RUN/ID` of the tree of each answer."""
NOTE_HEADER = "X-Spar-Note"
"""Header that says what was not searched, and why."""
SIDE_TASK = "a front end's own request (a title, tags, follow-ups), answered greedily"

Endpoint = Callable[[Request], Awaitable[Response]]


def open_app(
    *,
    out: str | Path | None = None,
    recipe: str | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Starlette:
    """The application of a server whose models are loaded: what `spar serve` runs, for callers in Python.

    Parameters
    ----------
    out:
        Folder of the run directories; None for runs/serve, and `record=False` for none.
    recipe, listener:
        As in `spar.search`.
    settings:
        Fields of `spar.config.DecodeConfig` and `spar.config.ServeGroup`; plug-ins may be objects, as in `spar.search`.

    Raises
    ------
    UsageError
        As `spar.search`, an offer that is none, or a folder that cannot be used.
    """
    chosen = server_settings(recipe, settings, out)
    return create_app(SearchService.open(chosen, checked_listener(listener)))


def create_app(service: SearchService, *, close: bool = True) -> Starlette:
    """The application.

    Parameters
    ----------
    close:
        Whether the service is closed when the application shuts down.

    Raises
    ------
    UsageError
        The variable with the clients' key is not set.
    """
    server = _Server(service)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await server.aclose()
        if close:
            await asyncio.to_thread(service.close)

    return Starlette(
        routes=[
            Route("/v1/models", server.guarded(server.models)),
            Route("/v1/models/", server.guarded(server.models)),
            Route("/v1/models/{id:path}", server.guarded(server.model)),
            Route(
                "/v1/chat/completions",
                server.counted(server.guarded(server.chat)),
                methods=["POST"],
            ),
            Route("/metrics", server.guarded(server.metrics_text)),
            Route("/health", server.health),
        ],
        exception_handlers={HTTPException: http_error, Exception: unexpected},
        lifespan=lifespan,
    )


class _Server:
    """The endpoints."""

    def __init__(self, service: SearchService) -> None:
        self._service = service
        self._key = read_key(service.serve.client_key_env)
        self._metrics = Metrics()
        service.listener = Broadcast(self._metrics, service.listener)
        self._created = int(time.time())
        self._upstream = Upstream(service.resolved, service.serve.request_timeout)

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """An endpoint behind the key, whose errors have the API's shape."""

        async def guarded(request: Request) -> Response:
            try:
                check_key(request, self._key)
                return await endpoint(request)
            except ApiError as error:
                return error_response(error)
            except ClientDisconnect:
                return Response(status_code=CLIENT_LEFT)
            except Exception as error:
                return error_response(unexpected_error(error))

        return guarded

    def counted(self, endpoint: Endpoint) -> Endpoint:
        """An endpoint whose replies the metrics count at their end, whatever they are."""

        async def counted(request: Request) -> Response:
            start = time.monotonic()
            response = await endpoint(request)
            ending = getattr(response, "ending", None) or Ending(response.status_code)

            def count() -> None:
                self._metrics.reply(ending, time.monotonic() - start)

            if isinstance(response, EventStream):
                response.at_end(count)
            else:
                count()
            return response

        return counted

    async def models(self, request: Request) -> Response:
        """The list of models."""
        return JsonResponse(
            {"object": "list", "data": [self._model(name) for name in self._service.offers.ids]}
        )

    async def model(self, request: Request) -> Response:
        """One model."""
        name = request.path_params["id"]
        self._service.offers.find(name)
        return JsonResponse(self._model(name))

    async def health(self, request: Request) -> Response:
        """Whether the server answers, and how busy it is."""
        admission, recorder = self._service.admission, self._service.recorder
        return JsonResponse(
            {
                "status": "ok",
                "requests": admission.requests,
                "trees_running": admission.running,
                "trees_waiting": admission.waiting,
                "trees_not_stored": recorder.num_failed if recorder else 0,
            }
        )

    async def metrics_text(self, request: Request) -> Response:
        """Counts and gauges."""
        text = self._metrics.text(self._service)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def chat(self, request: Request) -> Response:
        """Answer a conversation."""
        serve = self._service.serve
        body = parse_json(await read_body(request, int(serve.max_body_mb * 1e6)))
        chat = parse_request(body, max_choices=serve.max_choices)
        if chat.uses_tools:
            offer = self._service.offers.find(chat.model)
            if self._upstream.is_there:
                return await self._pass_through(request, chat, offer)
            return await self._call_tools(request, chat)
        with ExitStack() as admitted:
            admitted.enter_context(self._service.admission.request())
            job = await self._service.start(chat, f"chatcmpl-{secrets.token_hex(12)}")
            reply = RunningReply(self._service, job, admitted.pop_all().close)
        if chat.stream:
            reply.start()
            headers = _headers(job, job.addresses)
            events = reply.events(serve.keep_alive)
            return EventStream(events, reply.ending, headers, on_end=reply.cancel)
        answers = await until_left(request, reply.start())
        headers = _headers(job, [answer.address for answer in answers])
        return JsonResponse(completion(job, answers, int(time.time())), headers=headers)

    async def _pass_through(self, request: Request, chat: ChatRequest, offer: Offer) -> Response:
        """A request with tools, answered by the model's own server."""
        body = {**chat.body, "model": chat.model or self._service.offers.id_of(offer)}
        headers = {NOTE_HEADER: NOTE}
        with ExitStack() as admitted:
            admitted.enter_context(self._service.admission.request())
            if not chat.stream:
                asking = asyncio.create_task(self._upstream.reply(body))
                content = await until_left(request, asking)
                return JsonResponse(content, headers=headers, usage=usage_of(content, chat.n))
            starting = asyncio.create_task(self._upstream.stream(body, chat.n))
            stream = await until_left(request, starting)
            release = admitted.pop_all().close
        return EventStream(stream.events(), stream.ending, headers, on_end=release)

    async def _call_tools(self, request: Request, chat: ChatRequest) -> Response:
        """A request with tools, answered by the model that spar has loaded."""
        headers = {NOTE_HEADER: TOOLS_NOTE}
        with self._service.admission.request():
            answering = asyncio.create_task(answer_with_tools(self._service, chat))
            content = await until_left(request, answering)
        usage = usage_of(content, chat.n)
        if not chat.stream:
            return JsonResponse(content, headers=headers, usage=usage)
        events = tool_events(content, chat.include_usage)
        return EventStream(events, Ending(usage=usage), headers)

    async def aclose(self) -> None:
        """Close the connections to the model's own server."""
        await self._upstream.aclose()

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "spar"}


def _headers(job: Job, addresses: list[str]) -> dict[str, str]:
    headers = {}
    if trees := ", ".join(filter(None, addresses)):
        headers[TREE_HEADER] = trees
    if job.request.is_side_task and answers_once(job.offer.strategy):
        headers[NOTE_HEADER] = SIDE_TASK
    return headers
