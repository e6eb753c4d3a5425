"""Short words for asking a scripted server through the openai engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from spar.infer.engine import Completion, Deployment, Request, Sampling
from spar.infer.engines.openai.engine import OpenAIEngine, OpenAISettings
from spar.types import Message
from tests.answers import Script
from tests.servers import ScriptedServer

SETTINGS = OpenAISettings(request_seconds=60.0, retry_seconds=30.0, backoff_seconds=0.02)


def echo(request: Request) -> str:
    """A text that says what was asked and with which seed."""
    return f"{request.messages[-1].content} {request.sampling.seed}"


@contextmanager
def serving(script: Script) -> Iterator[tuple[ScriptedServer, OpenAIEngine, list[str]]]:
    """A server, an engine that asks it, and what the engine tells."""
    heard: list[str] = []
    with ScriptedServer(script) as server:
        yield server, connect(server, heard=heard), heard


def connect(
    *servers: ScriptedServer,
    settings: OpenAISettings = SETTINGS,
    heard: list[str] | None = None,
    model: str = "tiny",
) -> OpenAIEngine:
    """An engine that asks these servers."""
    tell = [] if heard is None else heard
    return OpenAIEngine(Deployment(model, tuple(s.url for s in servers)), settings, tell.append)


async def ask(engine: OpenAIEngine, requests: Sequence[Request]) -> list[Completion]:
    """Ask, and close the engine whatever comes."""
    try:
        return await engine.generate(requests)
    finally:
        await engine.aclose()


def lacking(name: str) -> list[Script]:
    """Servers that refuse a field, and that do not heed it."""
    return [Script(echo, lacks=(name,)), Script(echo, ignores=(name,))]


def votes(n: int = 3, text: str = "asked", tree: int = 1, **sampling: Any) -> list[Request]:
    """Requests that differ in their seeds alone, which are in a row."""
    first = Sampling(**{"temperature": 0.7, "seed": 10, **sampling})
    seeds = [None if first.seed is None else first.seed + i for i in range(n)]
    message = Message(role="user", content=text)
    return [Request((message,), replace(first, seed=seed), tree) for seed in seeds]
