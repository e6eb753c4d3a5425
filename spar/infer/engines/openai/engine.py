"""The `openai` engine: any server that implements OpenAI's API, over aiohttp.

    spar decode --base-url http://host:8000/v1 --model NAME

Votes on one response travel as one request with `n` samples. What a server does not support (`n`, `seed`,
...) is learned once, from its errors and replies (`learning`). Transient errors are retried for as long as
the settings say (`retry`); a refusal is a fault of its prompt, or ends the run with the next step to take
(`refusals`). The number of concurrent requests adapts to the server (`concurrency_limit`), and a tree stays on
one of several servers (`servers`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from spar.errors import EngineError, UsageError
from spar.infer.engine import (
    Completion,
    Continuation,
    Deployment,
    Likelihood,
    NoteCallback,
    Request,
    Sampling,
)
from spar.infer.engines.chat import group_samples
from spar.infer.engines.openai.addresses import base_url, read_key
from spar.infer.engines.openai.concurrency_limit import (
    INITIAL_LIMIT,
    MAX_LIMIT,
    AdaptiveLimiter,
    Permit,
    Rerouted,
)
from spar.infer.engines.openai.connection_pool import (
    ConnectionPool,
    max_connections,
    raise_open_file_limit,
)
from spar.infer.engines.openai.endpoints import (
    CHAT,
    COMPLETIONS,
    PROMPT_LOGPROBS,
    Endpoint,
    PromptLogprobs,
    R,
    score,
)
from spar.infer.engines.openai.exchange import Call, Exchange
from spar.infer.engines.openai.refusals import no_logprobs
from spar.infer.engines.openai.retry import (
    MIN_ATTEMPTS,
    FailureLog,
    RebuildRequest,
    RetryPolicy,
    TransientError,
)
from spar.infer.engines.openai.servers import Server, ServerPool
from spar.infer.gather import gather
from spar.sanitize import replace_surrogates
from spar.types import Message

if TYPE_CHECKING:
    from spar.config import DecodeConfig

_ATTEMPTS_PER_SERVER = 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OpenAISettings:
    """How to talk to the servers."""

    api_key_env: str = ""
    """Environment variable that holds the key; "" sends none, except to OpenAI's own server."""
    timeout: float = 600.0
    """Seconds after which a request is abandoned and retried."""
    retry_for: float = 300.0
    """Seconds for which a request is retried after its first failure, not counting time in our own queue;
    it is attempted at least four times, however long that takes. 0 disables retries."""
    initial_backoff: float = 0.5
    """Upper bound of the first retry's delay, in seconds; doubles with each further one, up to 20."""
    initial_concurrency: int = INITIAL_LIMIT
    """Replies in flight per server, at the start."""
    max_concurrency: int = MAX_LIMIT
    """Replies in flight per server, at most."""
    headers: Mapping[str, Any] = field(default_factory=dict)
    """Name of a further header of requests to `env:VARIABLE`."""


def open_openai(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> OpenAIEngine:
    """Open an engine as configured. Sends nothing yet.

    Raises
    ------
    UsageError
        Adapters are requested, there is no or an invalid URL, or the key's variable is not set.
    """
    if deployment.adapters:
        raise UsageError(
            "--adapter: a server loads its adapters itself; pass the adapter's name as --model"
        )
    settings = OpenAISettings(
        config.api_key_env, config.timeout, config.retry_for, headers=config.header
    )
    return OpenAIEngine(deployment, settings, note)


class OpenAIEngine:
    """One model behind one or several servers.

    Raises
    ------
    UsageError
        There is no or an invalid URL, or the key's variable is not set.
    """

    def __init__(
        self,
        deployment: Deployment,
        settings: OpenAISettings = OpenAISettings(),
        note: NoteCallback = lambda _: None,
    ) -> None:
        if not deployment.urls:
            raise UsageError("--engine openai: no server; pass --base-url URL")
        self.model = deployment.model
        self._settings, self._note = settings, note
        self._retry_log = FailureLog(note, "retrying")
        urls = dict.fromkeys(map(base_url, deployment.urls))
        limit = max_connections(settings.max_concurrency, raise_open_file_limit(), len(urls))
        servers = []
        for url in urls:
            key = read_key(settings.api_key_env, url, settings.headers)
            limiter = AdaptiveLimiter(min(settings.initial_concurrency, limit), limit)
            servers.append(Server(url, key, ConnectionPool(url, key), limiter))
        self._servers = ServerPool(servers, note, settings.initial_backoff)
        self._exchange = Exchange(
            self.model, self._servers, settings.timeout, settings.retry_for, note
        )
        self._closed = False

    @property
    def capacity(self) -> int:
        """Replies in flight that the live servers are allowed now."""
        servers = self._servers.live or self._servers.all
        return sum(server.limiter.limit for server in servers)

    @property
    def structured_outputs(self) -> bool:
        """True, though a server may refuse the field: requests to come must not depend on when that is learned."""
        return True

    @property
    def description(self) -> str:
        """Number of servers, current concurrency, and number of retries."""
        num = len(self._servers.all)
        num_retries = self._retry_log.counts.total()
        retries = f", {num_retries:,} retries" if num_retries else ""
        return f"{num} server{'s' * (num > 1)}, {self.capacity:,} concurrent replies{retries}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order.

        Raises
        ------
        PromptTooLong
            A prompt does not fit in the model's context.
        PromptRefused
            A server that serves other prompts refuses one, or fails over it until the retries are exhausted.
        ServerRefused, UsageError
            Retrying cannot help; the message says what can.
        EngineError
            The servers failed for longer than the retry window, or refused the request itself.
        """
        self._check_open()
        calls = [Call(first, n, first.sampling.max_tokens) for first, n in group_samples(requests)]
        return await _join(
            [self._serve(c, COMPLETIONS if c.request.plain else CHAT) for c in calls]
        )

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One likelihood per continuation, in order, from servers that return prompt logprobs.

        Raises
        ------
        UsageError
            A server does not, or a context is a conversation.
        """
        self._check_open()
        return await score(self._fetch_prompt_logprobs, continuations)

    async def aclose(self) -> None:
        """Close the connections; waiting requests fail."""
        self._closed = True
        await self._servers.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("the engine is closed")

    async def _fetch_prompt_logprobs(self, texts: Sequence[str]) -> list[PromptLogprobs]:
        sampling = Sampling(max_tokens=1, top_logprobs=1)
        prompts = [(Message(role="user", content=replace_surrogates(text)),) for text in texts]
        requests = [Request(prompt, sampling, tree=0, plain=True) for prompt in prompts]
        return await _join([self._serve(Call(r, 1, 1), PROMPT_LOGPROBS) for r in requests])

    async def _serve(self, call: Call, endpoint: Endpoint[R]) -> list[R]:
        """Send a call until it is answered, wherever and in whatever form it takes."""
        retry = RetryPolicy(self._settings.retry_for, self._settings.initial_backoff)
        request, sampling = call.request, call.request.sampling
        while True:
            self._check_open()
            server = await self._select_server(request, retry)
            if sampling.top_logprobs and server.lacks(endpoint.logprobs_field):
                raise no_logprobs(server, endpoint.logprobs_field)
            if call.n > 1 and (server.lacks("n") or sampling.temperature == 0):
                # Some servers refuse several samples of a greedy request.
                return await _join([self._serve(single, endpoint) for single in call.split()])
            if call.n > 1 and server.capabilities.samples.is_suspect:
                singles = await _join([self._serve(single, endpoint) for single in call.split()])
                self._exchange.compare_samples(server, singles)
                return singles
            try:
                permit = await _acquire(server, call.n, retry)
                return await self._exchange.send(server, permit, call, endpoint)
            except Rerouted:
                continue
            except RebuildRequest as rebuild:
                call = replace(call, max_tokens=rebuild.max_tokens or call.max_tokens)
            except TransientError as error:
                self._check_open()
                try:
                    delay = retry.next_delay(server.url, error, self._servers.refusing_seconds)
                except EngineError as exhausted:
                    suspects_prompt = retry.suspects_prompt(error, server.replied_at)
                    if suspects_prompt and await self._exchange.serves_others(
                        server, call, endpoint
                    ):
                        raise self._exchange.refused_prompt(server, error, exhausted) from None
                    raise
                if retry.without_text >= MIN_ATTEMPTS and await self._exchange.serves_others(
                    server, call, endpoint
                ):
                    # A content filter answers so: there is nothing to wait for.
                    spent = f"gave up after {retry.without_text} failed attempts"
                    refusal = EngineError(f"{server.url}: {error}; {spent}")
                    raise self._exchange.refused_prompt(server, error, refusal) from None
                self._retry_log.record(server.url, error.kind, f"{server.url}: {error}")
                if retry.failures % _ATTEMPTS_PER_SERVER == 0:
                    self._servers.move_tree(request.tree, server)
                await asyncio.sleep(delay)

    async def _select_server(self, request: Request, retry: RetryPolicy) -> Server:
        while (server := self._servers.select(request.tree)) is None:
            down, down_since = self._servers.all[0], self._servers.down_since
            time_left = retry.time_left(down.url, down.last_failure, down_since)
            await self._servers.wait_for_recovery(time_left)
            self._check_open()
        return server


async def _acquire(server: Server, n: int, retry: RetryPolicy) -> Permit:
    start = server.limiter.unpaused_seconds
    try:
        return await server.limiter.acquire(n, is_retry=retry.failures > 0)
    finally:
        retry.add_queue_time(server.limiter.unpaused_seconds - start)


async def _join(parts: Sequence[Coroutine[Any, Any, list[T]]]) -> list[T]:
    """Run all at once and concatenate the results; if one fails the others are cancelled."""
    if len(parts) == 1:
        return await parts[0]
    tasks = [asyncio.ensure_future(part) for part in parts]
    return [result for results in await gather(tasks, lambda _: False) for result in results]
