"""The `openai` engine for the contract suite: connected to a scripted server on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spar.infer.engine import Deployment, Request
from spar.infer.engines.openai.engine import OpenAIEngine, OpenAISettings
from tests.answers import Script
from tests.servers import ScriptedServer

CONTEXT = 256
"""Context length of the server's model, in words."""


def _babble(request: Request) -> str:
    from tests.infer.test_engine_contract import babble  # that module imports this one

    return babble(request)


@pytest.fixture(scope="session")
def babbling_server() -> Iterator[ScriptedServer]:
    """A server with the replies of the contract suite."""
    with ScriptedServer(Script(_babble, context=CONTEXT), keep=False) as server:
        yield server


@pytest.fixture
def openai_engine(babbling_server: ScriptedServer) -> OpenAIEngine:
    """A new engine connected to the babbling server; the test closes it."""
    settings = OpenAISettings(timeout=60.0, retry_for=10.0)
    return OpenAIEngine(Deployment("tiny", (babbling_server.url,)), settings)
