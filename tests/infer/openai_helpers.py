"""Helpers for testing the openai engine against a scripted server."""

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

SETTINGS = OpenAISettings(timeout=60.0, retry_for=30.0, initial_backoff=0.02)


def echo(request: Request) -> str:
    """The prompt and the seed of the request."""
    return f"{request.messages[-1].content} {request.sampling.seed}"


@contextmanager
def serving(
    script: Script, settings: OpenAISettings = SETTINGS
) -> Iterator[tuple[ScriptedServer, OpenAIEngine, list[str]]]:
    """A server, an engine connected to it, and the engine's notes."""
    notes: list[str] = []
    with ScriptedServer(script) as server:
        yield server, connect(server, settings=settings, notes=notes), notes


def connect(
    *servers: ScriptedServer,
    settings: OpenAISettings = SETTINGS,
    notes: list[str] | None = None,
    model: str = "tiny",
) -> OpenAIEngine:
    """An engine connected to these servers."""
    notes = [] if notes is None else notes
    return OpenAIEngine(Deployment(model, tuple(s.url for s in servers)), settings, notes.append)


async def ask(engine: OpenAIEngine, requests: Sequence[Request]) -> list[Completion]:
    """Generate, then close the engine."""
    try:
        return await engine.generate(requests)
    finally:
        await engine.aclose()


def lacking(name: str) -> list[Script]:
    """A server that refuses a field, and one that ignores it."""
    return [Script(echo, lacks=(name,)), Script(echo, ignores=(name,))]


def votes(n: int = 3, text: str = "asked", tree: int = 1, **sampling: Any) -> list[Request]:
    """Requests that differ only in their seeds, which are consecutive."""
    first = Sampling(**{"temperature": 0.7, "seed": 10, **sampling})
    seeds = [None if first.seed is None else first.seed + i for i in range(n)]
    message = Message(role="user", content=text)
    return [Request((message,), replace(first, seed=seed), tree) for seed in seeds]
