"""The `openai` engine as the contract suite meets it: against a scripted server on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spar.infer.engine import Deployment, Request
from spar.infer.engines.openai.engine import OpenAIEngine, OpenAISettings
from tests.answers import Script
from tests.servers import ScriptedServer

CONTEXT = 256
"""Words that the server's model can hold."""


def _babble(request: Request) -> str:
    from tests.infer.test_engine_contract import babble  # that module imports this one

    return babble(request)


@pytest.fixture(scope="session")
def babbling_server() -> Iterator[ScriptedServer]:
    """A server whose replies are the contract's own."""
    with ScriptedServer(Script(_babble, context=CONTEXT), keep=False) as server:
        yield server


@pytest.fixture
def openai_engine(babbling_server: ScriptedServer) -> OpenAIEngine:
    """A fresh engine that asks the babbling server; whoever takes it closes it."""
    settings = OpenAISettings(timeout=60.0, retry_for=10.0)
    return OpenAIEngine(Deployment("tiny", (babbling_server.url,)), settings)
