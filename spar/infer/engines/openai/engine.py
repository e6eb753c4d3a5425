"""The `openai` engine: any server that speaks OpenAI's protocol, over httpx.

    spar decode --base-url http://host:8000/v1 --model NAME

Votes on one response travel as one request with `n` samples. Servers that lack something (`n`,
`seed`, ...) are found out once and asked otherwise. What can be retried is, for as long as the
settings say; what cannot stops the run with what to do about it. How many requests a server gets at
once is found out while it works (`pacing`), which of several a tree asks is in
`replicas`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
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
from spar.infer.engines.chat import grouped
from spar.infer.engines.openai import prompt_logprobs as echoes
from spar.infer.engines.openai.concurrency_limit import CAP, START, Moved, Pacer, Slot
from spar.infer.engines.openai.connection_pool import (
    Answer,
    Cut,
    Lanes,
    NoDescriptor,
    TimedOut,
    Unreachable,
)
from spar.infer.engines.openai.endpoints import ECHO, A, Form, form_of
from spar.infer.engines.openai.fd_limit import most_connections, raise_limit
from spar.infer.engines.openai.outcomes import no_logprobs, outcome
from spar.infer.engines.openai.refusals import Refusal, read_refusal
from spar.infer.engines.openai.replicas import Replica, Replicas
from spar.infer.engines.openai.replies import FaultyReply, NoLogprobs, TooFewChoices
from spar.infer.engines.openai.retry import Changed, Journal, Patience, Retry
from spar.infer.engines.openai.servers import base_url, check_server, read_key
from spar.infer.gather import gather
from spar.sanitize import whole
from spar.types import Message

if TYPE_CHECKING:
    from spar.config import DecodeConfig

__all__ = ["OpenAIEngine", "OpenAISettings", "check_server", "open_openai"]

_TRIES_A_SERVER = 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OpenAISettings:
    """How to talk to the servers."""

    api_key_env: str = ""
    """Environment variable that holds the key; "" sends none, but for OpenAI's own server."""
    request_seconds: float = 600.0
    """A request that takes longer is given up and sent again."""
    retry_seconds: float = 300.0
    """How long a request is tried again after its first failure, without its time in our own queue. It is
    tried at least four times, however long that takes; 0 is no second try."""
    backoff_seconds: float = 0.5
    """Most seconds before the second try; doubles with each further one, up to 20."""
    first_places: int = START
    """Replies on their way to a server at once, at the start."""
    most_places: int = CAP
    """The same, at most."""


def open_openai(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> OpenAIEngine:
    """The servers of a deployment, as the configuration says; nothing is sent yet."""
    if deployment.adapters:
        raise UsageError(
            "--adapter: a server loads its adapters itself; give an adapter's name as --model"
        )
    settings = OpenAISettings(config.api_key_env, config.timeout, config.retry_for)
    return OpenAIEngine(deployment, settings, note)


class OpenAIEngine:
    """One model behind one or several servers.

    Raises
    ------
    UsageError
        No URL, a bad one, or the key's variable is not set.
    """

    def __init__(
        self,
        deployment: Deployment,
        settings: OpenAISettings = OpenAISettings(),
        note: NoteCallback = lambda _: None,
    ) -> None:
        if not deployment.urls:
            raise UsageError("--engine openai: no server is given; give --base-url URL")
        self.model = deployment.model
        self._settings, self._tell = settings, note
        self._journal = Journal(note)
        urls = dict.fromkeys(map(base_url, deployment.urls))
        most = most_connections(settings.most_places, raise_limit(), len(urls))
        settings = replace(settings, most_places=most)
        self._replicas = Replicas(
            [_replica(url, settings) for url in urls], note, settings.backoff_seconds
        )
        self._closed = False

    @property
    def capacity(self) -> int:
        """Replies that the live servers are given at once, as far as was found out."""
        replicas = self._replicas.live or self._replicas.all
        return sum(replica.pacer.limit for replica in replicas)

    @property
    def description(self) -> str:
        """How many servers, how much they are given, what failed."""
        num = len(self._replicas.all)
        retried = self._journal.counts.total()
        failures = f", {retried:,} requests sent again" if retried else ""
        return f"{num} server{'s' * (num > 1)}, {self.capacity:,} replies at once{failures}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order.

        Raises
        ------
        PromptTooLong
            A prompt does not fit in the model's context.
        PromptRefused
            A server that serves others refuses a prompt.
        ServerRefused, UsageError
            Asking again cannot help, but the person can.
        EngineError
            The servers failed for too long, or refused the request itself.
        """
        self._check_open()
        groups = [(first, n, form_of(first)) for first, n in grouped(requests)]
        if len(groups) == 1:
            return await self._serve(*groups[0])
        return await _together([self._serve(*group) for group in groups])

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One likelihood a continuation, in order, from servers that tell of a prompt's tokens.

        Raises
        ------
        UsageError
            A server does not, or a context is a conversation.
        """
        self._check_open()
        return await echoes.score(self._echo, continuations)

    async def aclose(self) -> None:
        """Close the connections; what still waits is refused."""
        self._closed = True
        await self._replicas.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("the engine is closed")

    async def _echo(self, texts: Sequence[str]) -> list[echoes.Echo]:
        asked = Sampling(max_tokens=1, top_logprobs=1)
        prompts = [(Message(role="user", content=whole(text)),) for text in texts]
        requests = [Request(prompt, asked, tree=0, plain=True) for prompt in prompts]
        return await _together([self._serve(request, 1, ECHO) for request in requests])

    async def _serve(self, request: Request, n: int, form: Form[A]) -> list[A]:
        patience = Patience(self._settings.retry_seconds, self._settings.backoff_seconds)
        limit = request.sampling.max_tokens
        while True:
            self._check_open()
            server = await self._find_server(request, patience)
            if request.sampling.top_logprobs and server.lacks(form.logprobs):
                raise no_logprobs(server, form.logprobs)
            if n > 1 and (server.lacks("n") or request.sampling.temperature == 0):
                # Some servers refuse n samples of what is not sampled.
                return await _together([self._serve(one, 1, form) for one in _singles(request, n)])
            try:
                slot = await _enter(server, n, patience)
                return await self._try(server, slot, (request, n, limit), form)
            except Moved:
                continue
            except Changed as changed:
                limit = changed.limit or limit
            except Retry as failure:
                delay = patience.delay(server.url, failure, self._replicas.refusing)
                self._journal.record(server.url, failure)
                if patience.tries % _TRIES_A_SERVER == 0:
                    self._replicas.move(request.tree, server)
                await asyncio.sleep(delay)

    async def _find_server(self, request: Request, patience: Patience) -> Replica:
        while (server := self._replicas.home(request.tree)) is None:
            dead, down_since = self._replicas.all[0], self._replicas.down_since
            await self._replicas.wait(patience.left(dead.url, dead.failure, down_since))
            self._check_open()
        return server

    async def _try(
        self, server: Replica, slot: Slot, asked: tuple[Request, int, int], form: Form[A]
    ) -> list[A]:
        longest, (request, n, limit) = 0, asked
        try:
            # Made here, not before the wait: by now more may be known of the server.
            limit = min(limit, server.abilities.most_tokens or limit)
            body = form.body(self.model, request, n, limit, server.abilities)
            answer = await self._post(server, form.path, body, slot)
            if answer.status != 200:
                await self._refused(server, answer, body, slot)
            replies = self._read(server, answer, (request, n, limit), form)
            self._replicas.gave_reply(server)
            longest = max(reply.completion_tokens for reply in replies)
            return replies
        finally:
            server.pacer.leave(slot, longest)

    async def _post(self, server: Replica, path: str, body: dict[str, Any], slot: Slot) -> Answer:
        content = json.dumps(body).encode()
        try:
            answer = await server.lanes.ask(path, content, self._settings.request_seconds)
        except NoDescriptor as error:  # nothing is known of the server
            server.pacer.back_off(slot)
            raise Retry("no file descriptor", str(error)) from None
        except (Unreachable, Cut, TimedOut) as error:
            if isinstance(error, TimedOut):
                server.pacer.back_off(slot)
            self._replicas.failed(server, error)
            raise Retry(type(error).__name__, str(error)) from None
        self._replicas.answered(server)
        return answer

    def _read(
        self, server: Replica, answer: Answer, asked: tuple[Request, int, int], form: Form[A]
    ) -> list[A]:
        try:
            return form.read(answer.content, *asked, server.abilities)
        except FaultyReply as fault:
            raise Retry(fault.kind, str(fault)) from None
        except TooFewChoices:
            self._say(server, server.abilities.lack("n"))
            raise Changed from None
        except NoLogprobs:
            self._say(server, server.abilities.lack(form.logprobs))
            raise Changed from None

    async def _refused(
        self, server: Replica, answer: Answer, body: dict[str, Any], slot: Slot
    ) -> None:
        """Raise what an answer that is no reply comes to."""
        refusal = read_refusal(answer.status, answer.headers, answer.content, server.key.redact)
        if refusal.retryable:
            self._hold_back(server, refusal, slot)
            raise Retry(f"HTTP {refusal.status}", str(refusal), refusal.wait)
        raise await outcome(server, refusal, body, self._say)

    def _hold_back(self, server: Replica, refusal: Refusal, slot: Slot) -> None:
        self._replicas.refused(server, refusal.wait)
        # Longer than its window no request would wait anyway.
        server.pacer.pause(min(refusal.wait, self._settings.retry_seconds))
        if refusal.busy:
            server.pacer.back_off(slot)

    def _say(self, server: Replica, found: str) -> None:
        if found not in server.told:
            server.told.add(found)
            self._tell(f"{server.url}: {found}")


def _replica(url: str, settings: OpenAISettings) -> Replica:
    key = read_key(settings.api_key_env, url)
    first = min(settings.first_places, settings.most_places)
    return Replica(url, key, Lanes(url, key.headers), Pacer(first, settings.most_places))


async def _enter(server: Replica, n: int, patience: Patience) -> Slot:
    since = server.pacer.seconds_open
    try:
        return await server.pacer.enter(n, again=patience.tries > 0)
    finally:
        patience.queue(server.pacer.seconds_open - since)


def _singles(request: Request, n: int) -> list[Request]:
    seed = request.sampling.seed
    seeds = [None if seed is None else seed + i for i in range(n)]
    return [replace(request, sampling=replace(request.sampling, seed=seed)) for seed in seeds]


async def _together(parts: Sequence[Coroutine[Any, Any, list[T]]]) -> list[T]:
    """All of them at once, joined in order; when one fails the others are cancelled."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    return [reply for replies in await gather(tasks, lambda _: False) for reply in replies]
