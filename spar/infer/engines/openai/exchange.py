"""One call to one server: it is sent, its replies are read, and an error becomes what is to be done.

Which server a call goes to, and when and how often it is sent again, is the engine's business.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic

from spar.errors import EngineError, PromptRefused, ServerRefused
from spar.infer.engine import Completion, NoteCallback, OnText, Request
from spar.infer.engines.growing import growing_text
from spar.infer.engines.openai.choices import InvalidReply
from spar.infer.engines.openai.concurrency_limit import Permit, Rerouted
from spar.infer.engines.openai.connection_pool import (
    ConnectionLost,
    RequestFailed,
    RequestTimeout,
    Response,
    ResponseTooLarge,
    TooManyOpenFiles,
    Unreachable,
)
from spar.infer.engines.openai.endpoints import Endpoint, R, max_response_bytes
from spar.infer.engines.openai.errors import (
    ErrorResponse,
    error_status,
    read_error,
)
from spar.infer.engines.openai.learning import integer_field, learn_turns, simpler_bodies
from spar.infer.engines.openai.model_lists import PROBE_TEXT
from spar.infer.engines.openai.refusals import (
    RefusalChecker,
    names_no_field,
    probe_body,
    prompt_too_long,
    refused_settings,
    resolve_error,
)
from spar.infer.engines.openai.replies import (
    Capabilities,
    MissingLogprobs,
    TooFewChoices,
)
from spar.infer.engines.openai.retry import TIMEOUT, FailureLog, RebuildRequest, TransientError
from spar.infer.engines.openai.samples import EQUAL_SAMPLES_NOTE
from spar.infer.engines.openai.servers import Server, ServerPool
from spar.infer.engines.openai.streamed import StreamedReply
from spar.types import Message


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request: `n` samples of a request, with seeds in a row."""

    request: Request
    """The request of the first sample."""
    n: int
    max_tokens: int

    def split(self) -> list[Call]:
        """The samples as calls of their own."""
        sampling = self.request.sampling
        seeds = [None if sampling.seed is None else sampling.seed + i for i in range(self.n)]
        requests = [replace(self.request, sampling=replace(sampling, seed=s)) for s in seeds]
        return [Call(request, 1, request.sampling.max_tokens) for request in requests]

    def probe(self) -> Call:
        """The same call with the prompt of `probe_body`."""
        message = Message(role="user", content=PROBE_TEXT)
        return replace(self, request=replace(self.request, messages=(message,)))


@dataclass(frozen=True, slots=True)
class _Sent(Generic[R]):
    """A call as it was sent to a server, while its permit is held."""

    server: Server
    endpoint: Endpoint[R]
    call: Call
    max_tokens: int
    permit: Permit
    body: dict[str, Any]
    sent_at: float = field(default_factory=time.monotonic)
    """By the monotonic clock."""


class Exchange:
    """Sends the calls of an engine.

    Parameters
    ----------
    timeout:
        Seconds after which a request is abandoned.
    max_pause:
        Most seconds for which a server may ask to be left alone; 0 where nothing is sent twice.
    note:
        Called with what was learned about a server, and with some of the prompts that it refused.
    """

    def __init__(
        self,
        model: str,
        servers: ServerPool,
        timeout: float,
        max_pause: float,
        note: NoteCallback,
    ) -> None:
        self._model, self._servers = model, servers
        self._timeout, self._max_pause, self._note = timeout, max_pause, note
        self._refusals = RefusalChecker()
        self._refusal_log = FailureLog(note, "the run goes on")

    async def send(
        self, server: Server, permit: Permit, call: Call, endpoint: Endpoint[R]
    ) -> list[R]:
        """Send a call and read its replies; the permit is returned.

        Raises
        ------
        TransientError, RebuildRequest
            The call is to be sent again, after a while or in another form.
        PromptRefused, ServerRefused, UsageError, EngineError
            As `OpenAIEngine.generate`.
        """
        tokens, capabilities = 0, server.capabilities
        try:
            # Built here, not before the wait for a permit: more may be known about the server by now.
            sent = self._build(server, permit, call, endpoint)
            on_text = _shown(server, call.request)
            response = await self._post(server, endpoint.path, sent.body, permit, on_text)
            status = error_status(response.status, response.content)
            if status != 200:
                raise await self._resolve_refusal(sent, replace(response, status=status))
            try:
                replies = _read(sent, response, capabilities)
            except TooFewChoices:
                self._note_once(server, capabilities.mark_unsupported("n"))
                raise RebuildRequest from None
            except MissingLogprobs:
                self._note_once(server, capabilities.mark_unsupported(endpoint.logprobs_field))
                raise RebuildRequest from None
            self._refusals.record_served(server.url, sent.body)
            self._servers.record_reply(server)
            if capabilities.cut_prompt:
                self._note_once(server, capabilities.cut_prompt)
            tokens = max(reply.completion_tokens for reply in replies)
            return replies
        finally:
            server.limiter.release(permit, tokens)

    def _build(self, server: Server, permit: Permit, call: Call, endpoint: Endpoint[R]) -> _Sent[R]:
        capabilities = server.capabilities
        limit = min(call.max_tokens, capabilities.max_reply_tokens or call.max_tokens)
        body = endpoint.body(self._model, call.request, call.n, limit, capabilities)
        return _Sent(server, endpoint, call, limit, permit, body)

    async def _post(
        self,
        server: Server,
        path: str,
        body: dict[str, Any],
        permit: Permit,
        on_text: OnText | None = None,
    ) -> Response:
        content, sent_at = json.dumps(body).encode(), time.monotonic()
        streamed = StreamedReply(on_text) if body.get("stream") else None
        try:
            response = await server.pool.send(
                path,
                content,
                self._timeout,
                max_response_bytes(body),
                streamed.feed if streamed is not None else None,
            )
        except TooManyOpenFiles as error:  # this says nothing about the server
            server.limiter.back_off(permit)
            raise TransientError("too many open files", str(error)) from None
        except ResponseTooLarge as error:
            self._servers.record_response(server)
            raise TransientError("response too large", str(error), suspects_prompt=True) from None
        except RequestFailed as error:
            # A server that responded to others meanwhile is not down, but has too many requests.
            is_busy = server.responded_at > sent_at
            if isinstance(error, RequestTimeout):
                server.limiter.back_off_after_timeout(permit)
            elif isinstance(error, Unreachable) and is_busy:
                server.limiter.back_off(permit)
            if isinstance(error, ConnectionLost) or not is_busy:
                self._servers.record_failure(server, error)
            is_timeout = isinstance(error, RequestTimeout)
            raise TransientError(
                TIMEOUT if is_timeout else type(error).__name__,
                f"{error} (--timeout)" if is_timeout else str(error),
                suspects_prompt=is_timeout or isinstance(error, ConnectionLost),
            ) from None
        self._servers.record_response(server)
        if streamed is not None and response.status == 200:
            whole = server.key.redact_content(streamed.body(response.content))
            return replace(response, content=whole)
        return response

    async def _resolve_refusal(self, sent: _Sent[R], response: Response) -> Exception:
        """What an error response comes to."""
        server, error = sent.server, self._read_refusal(sent, response)
        find_cause = partial(self._find_cause, sent)
        resolved = await resolve_error(server, error, sent.body, self._note_once, find_cause)
        is_lowered = sent.call.max_tokens < sent.call.request.sampling.max_tokens
        if error.exceeds_rate and is_lowered and isinstance(resolved, RebuildRequest):
            return prompt_too_long(server, error)  # the limit on replies is not what counts there
        max_tokens = resolved.max_tokens if isinstance(resolved, RebuildRequest) else 0
        call = replace(sent.call, max_tokens=max_tokens or sent.call.max_tokens)
        is_new = self._build(server, sent.permit, call, sent.endpoint).body != sent.body
        is_new = is_new or ("echo" in sent.body and server.lacks("echo"))  # it is not sent again
        if isinstance(resolved, RebuildRequest) and not is_new:
            # An extra field of the user's replaces what was learned.
            return refused_settings(server, error, sent.body)
        if isinstance(resolved, ServerRefused) and is_new:  # something was learned meanwhile
            return RebuildRequest()
        if type(resolved) is PromptRefused:  # too long a prompt needs no warning
            self._refusal_log.record(server.url, f"HTTP {error.status}", str(resolved))
        return resolved

    async def _find_cause(self, sent: _Sent[R]) -> ErrorResponse | None:
        """None if the prompt of a request is to blame; else how a harmless prompt is refused."""

        async def probe() -> ErrorResponse | None:
            error = await self._probe(sent, sent.body)
            if error is not None and names_no_field(error, sent.body):
                await self._find_refused_field(sent)
            return error

        return await self._refusals.find_cause(sent.server.url, sent.body, sent.sent_at, probe)

    async def _probe(self, sent: _Sent[R], body: Mapping[str, Any]) -> ErrorResponse | None:
        """Send a harmless prompt with the settings of `body`; returns its refusal, None if it is served."""
        path = sent.endpoint.path
        response = await self._post(sent.server, path, probe_body(body), sent.permit)
        status = error_status(response.status, response.content)
        if status != 200:
            return self._read_refusal(sent, replace(response, status=status))
        with contextlib.suppress(TooFewChoices, MissingLogprobs):
            n = integer_field(body, "n") or 1
            _read(replace(sent, call=replace(sent.call.probe(), n=n)), response, Capabilities())
        return None

    async def _find_refused_field(self, sent: _Sent[R]) -> None:
        """Learn which field of a request is refused, by leaving out one after the other."""
        for body, learn in simpler_bodies(sent.server.capabilities, sent.body):
            if await self._probe(sent, body) is None:
                self._note_once(sent.server, learn())
                return

    def compare_samples(self, server: Server, singles: Sequence[R]) -> None:
        """Learn whether a server's samples were equal by its fault, from ones that were requested one by one."""
        texts = [reply.text for reply in singles if isinstance(reply, Completion)]
        if server.capabilities.samples.record_singles(texts):
            server.capabilities.unsupported.add("n")
            self._note_once(server, EQUAL_SAMPLES_NOTE)

    async def serves_others(self, server: Server, call: Call, endpoint: Endpoint[R]) -> bool:
        """Whether a harmless prompt is served where this call failed until its retries were exhausted."""
        if not self._max_pause:  # the probe would be a retry
            return False
        try:
            permit = await server.limiter.acquire(call.n, is_retry=True)
        except Rerouted:
            return False
        try:
            return await self._find_cause(self._build(server, permit, call, endpoint)) is None
        except TransientError:
            return False
        finally:
            server.limiter.release(permit)

    def refused_prompt(
        self, server: Server, failure: TransientError, exhausted: EngineError
    ) -> PromptRefused:
        """The error of a call whose retries are exhausted, where `serves_others`."""
        error = PromptRefused(f"{exhausted}; other prompts are served")
        self._refusal_log.record(server.url, failure.kind, str(error))
        return error

    def _read_refusal(self, sent: _Sent[R], response: Response) -> ErrorResponse:
        """The error in a response; raises `TransientError` where the same request may be served later."""
        server = sent.server
        error = read_error(response.status, response.headers, response.content, server.key.redact)
        if not error.retryable:
            return error
        if error.status == 500:  # llama.cpp's for an exception of the chat template
            learned = learn_turns(server.capabilities, error, sent.body.get("messages", ()))
            if learned:
                self._note_once(server, learned)
                raise RebuildRequest
        self._servers.record_refusal(server, error.retry_after)
        # No request would wait longer than its own window.
        server.limiter.pause(min(error.retry_after, self._max_pause))
        if error.overloaded:
            server.limiter.back_off(sent.permit)
        raise TransientError(
            f"HTTP {error.status}",
            str(error),
            error.retry_after,
            suspects_prompt=not error.overloaded,
        )

    def _note_once(self, server: Server, note: str) -> None:
        if note not in server.noted:
            server.noted.add(note)
            self._note(f"{server.url}: {note}")


def _shown(server: Server, request: Request) -> OnText | None:
    """A callback that takes the text a server has sent so far and passes on what may be shown; None without one."""
    on_text = request.on_text
    if on_text is None:
        return None

    def show(text: str) -> None:
        opened = server.capabilities.starts_inside_thinking
        on_text(growing_text(server.key.redact_growing(text), request, opened=opened))

    return show


def _read(sent: _Sent[R], response: Response, capabilities: Capabilities) -> list[R]:
    call = sent.call
    try:
        return sent.endpoint.read(
            response.content, call.request, call.n, sent.max_tokens, capabilities
        )
    except InvalidReply as error:
        reason = sent.server.key.redact(str(error))
        raise TransientError(error.kind, reason, suspects_prompt=True) from None
