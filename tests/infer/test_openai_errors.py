"""The openai engine when it is refused: what is tried again, what stops, and what a person is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from spar.errors import EngineError, PromptRefused, PromptTooLong, ServerRefused
from spar.infer.engine import Deployment
from spar.infer.engines.openai.engine import OpenAIEngine
from tests.answers import Script, error_body
from tests.infer.asking import SETTINGS, ask, connect, serving, votes
from tests.servers import ScriptedServer

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"


async def test_a_prompt_too_long_for_the_server_fails_alone() -> None:
    """A reply that does not fit beside its prompt is asked for shorter; a prompt that does not, fails."""
    with serving(Script(lambda _: "w " * 99, context=40)) as (server, engine, _):
        (short,) = await engine.generate(votes(1, "w " * 20))
        assert (short.completion_tokens, short.finish) == (40 - 21, "length")
        with pytest.raises(PromptTooLong, match="maximum context length"):
            await engine.generate(votes(2, "w " * 60))
        assert len(await ask(engine, votes(1))) == 1
    assert len(server.seen) <= 6


async def test_a_wrong_key_stops_at_once_and_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable; the key is in no text, though the server repeats it."""
    monkeypatch.setenv("SPAR_TEST_KEY", KEY)
    settings = replace(SETTINGS, api_key_env="SPAR_TEST_KEY")
    heard: list[str] = []
    with ScriptedServer(Script(key="another")) as server:
        engine = connect(server, settings=settings, heard=heard)
        with pytest.raises(ServerRefused, match="SPAR_TEST_KEY") as caught:
            await ask(engine, votes(1))
    shown = f"{caught.value!r} {caught.getrepr(style='long')} {heard} {engine.description}"
    shown += repr(
        [
            vars(replica) if hasattr(replica, "__dict__") else replica
            for replica in engine._replicas.all
        ]
    )
    assert KEY not in shown
    assert KEY[:12] not in shown
    assert "***" in str(caught.value)


async def test_the_right_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of the environment, as a bearer token."""
    monkeypatch.setenv("SPAR_TEST_KEY", f" {KEY}\n")
    with ScriptedServer(Script(key=KEY)) as server:
        settings = replace(SETTINGS, api_key_env="SPAR_TEST_KEY")
        assert await ask(connect(server, settings=settings), votes(1))


async def test_keys_stay_out_of_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that repeats the key in an error that is tried again."""
    monkeypatch.setenv("SPAR_TEST_KEY", KEY)
    script = Script(answer=lambda _: (500, {"error": f"cannot use {KEY} nor {KEY[:15]}..."}))
    settings = replace(SETTINGS, api_key_env="SPAR_TEST_KEY", retry_seconds=0.05)
    heard: list[str] = []
    with ScriptedServer(script) as server, pytest.raises(EngineError) as caught:
        await ask(connect(server, settings=settings, heard=heard), votes(1))
    assert heard
    assert KEY[:12] not in f"{caught.value} {heard}"


async def test_an_unknown_model_is_named_with_those_there_are() -> None:
    """Asking again cannot help."""
    with (
        ScriptedServer(Script(models=("tiny", "small"))) as server,
        pytest.raises(ServerRefused, match=r"'large' .*tiny, small.*--model"),
    ):
        await ask(connect(server, model="large"), votes(1))
    assert len(server.seen) == 1


async def test_a_wrong_path_is_told_from_a_wrong_model() -> None:
    """The message suggests /v1."""
    with ScriptedServer(Script()) as server:
        engine = OpenAIEngine(Deployment("tiny", (f"{server.url}/chat",)), SETTINGS)
        with pytest.raises(ServerRefused, match="/v1"):
            await ask(engine, votes(1))


async def test_what_a_server_refuses_for_good_is_not_tried_again() -> None:
    """Its words are in the error, cut to a length."""
    script = Script(answer=lambda _: (400, {"detail": "no such thing \x1b[31m" + "x" * 999}))
    with (
        serving(script) as (server, engine, _),
        pytest.raises(EngineError, match="no such thing") as caught,
    ):
        await ask(engine, votes(1))
    assert not isinstance(caught.value, PromptRefused)
    assert len(server.seen) == 1
    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 422])
async def test_what_a_server_that_serves_others_refuses_is_about_the_prompt(status: int) -> None:
    """A content filter, say: the prompt fails, and the run goes on."""

    def sift(body: dict[str, Any]) -> tuple[int, Any] | None:
        bad = "bad" in body["messages"][0]["content"]
        return (status, error_body("The prompt was filtered", "content_filter")) if bad else None

    with serving(Script(answer=sift)) as (_, engine, _):
        await engine.generate(votes(1))
        with pytest.raises(PromptRefused, match="filtered"):
            await engine.generate(votes(1, "bad"))
        assert await ask(engine, votes(1))


async def test_retries_end_with_the_last_failure() -> None:
    """The error says what happened, where, and how long it was tried."""
    settings = replace(SETTINGS, retry_seconds=0.3)
    with (
        ScriptedServer(Script(fault_share=1.0, faults=("half",))) as server,
        pytest.raises(EngineError, match=r"127.*half a JSON.*given up after \d+ failed"),
    ):
        await ask(connect(server, settings=settings), votes(1))
    assert len(server.seen) > 2


async def test_no_patience_is_no_second_try() -> None:
    """With a window of 0 the first failure is the last."""
    settings = replace(SETTINGS, retry_seconds=0.0)
    with (
        ScriptedServer(Script(fault_share=1.0, faults=("500",))) as server,
        pytest.raises(EngineError, match="HTTP 500"),
    ):
        await ask(connect(server, settings=settings), votes(1))
    assert len(server.seen) == 1


async def test_nobody_at_home() -> None:
    """A server that was never there ends as one that went away."""
    with ScriptedServer(Script()) as server:
        pass
    settings = replace(SETTINGS, retry_seconds=0.3)
    with pytest.raises(EngineError, match="given up"):
        await ask(connect(server, settings=settings), votes(1))


async def test_a_spent_quota_is_not_tried_again() -> None:
    """Though it comes as a 429."""
    error = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    with (
        serving(Script(answer=lambda _: (429, error))) as (server, engine, _),
        pytest.raises(EngineError, match="quota"),
    ):
        await ask(engine, votes(1))
    assert len(server.seen) == 1
