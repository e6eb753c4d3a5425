"""Error responses: what is retried, what ends the run, and what the messages say."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import spar
from spar.errors import EngineError, PromptTooLong, ServerRefused
from spar.infer.engine import Deployment, Request
from spar.infer.engines.fake import scripted_reply
from spar.infer.engines.openai.engine import OpenAIEngine
from tests.answers import Script, error_body
from tests.infer.openai_helpers import SETTINGS, ask, connect, serving, votes
from tests.servers import ScriptedServer

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"


async def test_a_prompt_that_is_too_long_fails_alone() -> None:
    """A reply that does not fit gets a smaller limit; a prompt that does not fit fails."""
    with serving(Script(lambda _: "w " * 99, context=40)) as (server, engine, _):
        (short,) = await engine.generate(votes(1, "w " * 20))
        assert (short.completion_tokens, short.finish) == (40 - 21, "length")
        with pytest.raises(PromptTooLong, match="maximum context length"):
            await engine.generate(votes(2, "w " * 60))
        assert len(await ask(engine, votes(1))) == 1
    assert len(server.seen) <= 6


async def test_a_wrong_key_ends_the_run_and_is_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable; no message or repr contains the key, though the server repeats it."""
    monkeypatch.setenv("SPAR_TEST_KEY", KEY)
    settings = replace(SETTINGS, api_key_env="SPAR_TEST_KEY")
    notes: list[str] = []
    with ScriptedServer(Script(key="another")) as server:
        engine = connect(server, settings=settings, notes=notes)
        with pytest.raises(ServerRefused, match="SPAR_TEST_KEY") as caught:
            await ask(engine, votes(1))
    shown = f"{caught.value!r} {caught.getrepr(style='long')} {notes} {engine.description}"
    shown += repr(
        [vars(server) if hasattr(server, "__dict__") else server for server in engine._servers.all]
    )
    assert KEY not in shown
    assert KEY[:12] not in shown
    assert "***" in str(caught.value)


async def test_the_right_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read from the environment and sent as a bearer token."""
    monkeypatch.setenv("SPAR_TEST_KEY", f" {KEY}\n")
    with ScriptedServer(Script(key=KEY)) as server:
        settings = replace(SETTINGS, api_key_env="SPAR_TEST_KEY")
        assert await ask(connect(server, settings=settings), votes(1))


async def test_keys_are_redacted_in_retry_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the server repeats the key in a retryable error."""
    monkeypatch.setenv("SPAR_TEST_KEY", KEY)
    script = Script(answer=lambda _: (500, {"error": f"cannot use {KEY} nor {KEY[:15]}..."}))
    settings = replace(SETTINGS, api_key_env="SPAR_TEST_KEY", retry_for=0.05)
    notes: list[str] = []
    with ScriptedServer(script) as server, pytest.raises(EngineError) as caught:
        await ask(connect(server, settings=settings, notes=notes), votes(1))
    assert notes
    assert KEY[:12] not in f"{caught.value} {notes}"


async def test_an_unknown_model_is_an_error_that_lists_the_models() -> None:
    """It is not retried."""
    with (
        ScriptedServer(Script(models=("tiny", "small"))) as server,
        pytest.raises(ServerRefused, match=r"'large' .*tiny, small.*--model"),
    ):
        await ask(connect(server, model="large"), votes(1))
    assert len(server.seen) == 1


async def test_a_wrong_path_is_an_error_that_suggests_v1() -> None:
    """It differs from the error for an unknown model."""
    with ScriptedServer(Script()) as server:
        engine = OpenAIEngine(Deployment("tiny", (f"{server.url}/chat",)), SETTINGS)
        with pytest.raises(ServerRefused, match="/v1"):
            await ask(engine, votes(1))


async def test_a_message_is_shown_safely() -> None:
    """The server's message is in the error, truncated and without control characters."""
    script = Script(answer=lambda _: (400, {"detail": "no such thing \x1b[31m" + "x" * 999}))
    with (
        serving(script) as (server, engine, _),
        pytest.raises(ServerRefused, match="no such thing") as caught,
    ):
        await ask(engine, votes(1))
    assert len(server.seen) == 4  # the request, the probe, one without a seed and one without top_p
    assert len(str(caught.value)) < 500
    assert "\x1b" not in str(caught.value)


async def test_exhausted_retries_raise_the_last_failure() -> None:
    """The error says what happened, where, and for how long it was retried."""
    settings = replace(SETTINGS, retry_for=0.3)
    with (
        ScriptedServer(Script(fault_share=1.0, faults=("half",))) as server,
        pytest.raises(EngineError, match=r"127.*invalid JSON.*gave up after \d+ failed"),
    ):
        await ask(connect(server, settings=settings), votes(1))
    assert len(server.seen) > 2


async def test_a_window_of_zero_disables_retries() -> None:
    """The first failure is the last."""
    settings = replace(SETTINGS, retry_for=0.0)
    with (
        ScriptedServer(Script(fault_share=1.0, faults=("500",))) as server,
        pytest.raises(EngineError, match="HTTP 500"),
    ):
        await ask(connect(server, settings=settings), votes(1))
    assert len(server.seen) == 1


async def test_a_server_that_never_responds_exhausts_the_retries() -> None:
    """As one that went away does."""
    with ScriptedServer(Script()) as server:
        pass
    settings = replace(SETTINGS, retry_for=0.3)
    with pytest.raises(EngineError, match="gave up"):
        await ask(connect(server, settings=settings), votes(1))


def tokens_per_minute(limit: int, counts_reply: bool) -> Script:
    """A server that refuses requests of more tokens than it allows in a minute, as OpenAI's."""

    def answer(body: dict[str, Any]) -> tuple[int, Any] | None:
        requested = len(body["messages"][0]["content"].split())
        requested += body["max_tokens"] if counts_reply else 0
        numbers = f"Limit {limit}, Requested {requested}"
        message = f"Request too large for tiny on tokens per min (TPM): {numbers}."
        error = error_body(message, "rate_limit_exceeded")
        return (429, error) if requested > limit else None

    return Script(lambda _: "w " * 99, answer=answer)


async def test_a_request_that_no_rate_limit_has_room_for_is_not_retried() -> None:
    """It gets a smaller limit on its reply if it fits then, else it fails alone; nothing is slowed."""
    with serving(tokens_per_minute(100, counts_reply=True)) as (server, engine, notes):
        limit = engine.capacity
        (short,) = await engine.generate(votes(1, "w " * 60, max_tokens=80))
        assert (short.completion_tokens, short.finish) == (40, "length")
        with pytest.raises(PromptTooLong, match=r"rate limit: HTTP 429 .*Limit 100, Requested 280"):
            await engine.generate(votes(1, "w " * 200, max_tokens=80))
        assert len(await engine.generate(votes(1, max_tokens=80))) == 1
        assert engine.capacity == limit
        await engine.aclose()
    assert len(server.seen) == 4
    assert not notes


async def test_a_rate_limit_that_does_not_count_the_reply_is_asked_twice() -> None:
    """Each request would be refused by as much, however short its reply."""
    with serving(tokens_per_minute(100, counts_reply=False)) as (server, engine, _):
        with pytest.raises(PromptTooLong, match="Requested 101"):
            await engine.generate(votes(1, "w " * 101))
        assert len(await ask(engine, votes(1))) == 1
    assert len(server.seen) == 3


async def test_an_error_of_the_provider_behind_a_gateway_is_read() -> None:
    """So that a prompt that is too long for it is known as one."""
    raw = "This model's maximum context length is 40 tokens. However, your prompt contains {} input tokens"

    def answer(body: dict[str, Any]) -> tuple[int, Any] | None:
        length = len(body["messages"][0]["content"].split())
        metadata = {"raw": json.dumps({"error": {"message": raw.format(length)}})}
        error = {"message": "Provider returned error", "code": 400, "metadata": metadata}
        return (400, {"error": error}) if length + body["max_tokens"] > 40 else None

    with serving(Script(lambda _: "w " * 99, answer=answer)) as (_, engine, notes):
        (short,) = await engine.generate(votes(1, "w " * 30))
        assert short.completion_tokens == 10
        with pytest.raises(PromptTooLong, match="Provider returned error: This model's maximum"):
            await ask(engine, votes(1, "w " * 60))
    assert not notes


async def test_a_wrong_key_is_named_where_the_status_does_not_say_so() -> None:
    """As Gemini's server answers, with a list of one error."""
    error = {"code": 400, "message": "API key not valid. Please pass a valid API key."}
    with (
        serving(Script(answer=lambda _: (400, [{"error": error}]))) as (server, engine, _),
        pytest.raises(ServerRefused, match=r"rejected the key.*API key not valid.*--api-key-env"),
    ):
        await ask(engine, votes(1))
    assert len(server.seen) == 2


async def test_an_exhausted_quota_is_not_retried() -> None:
    """Although its status is 429."""
    error = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    with (
        serving(Script(answer=lambda _: (429, error))) as (server, engine, _),
        pytest.raises(EngineError, match="quota"),
    ):
        await ask(engine, votes(1))
    assert len(server.seen) == 1


async def test_no_file_of_a_run_has_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Though the server repeats it in every reply, error and reason."""
    monkeypatch.setenv("SPAR_TEST_KEY", KEY)
    asked: Counter[str] = Counter()

    def answer(body: dict[str, Any]) -> tuple[int, Any] | None:
        text = body["messages"][0]["content"]
        asked[text] += 1
        if "refuse" in text:
            return 400, error_body(f"no, {KEY}", KEY, KEY)
        return (500, {"error": f"{KEY} failed"}) if asked[text] == 1 else None

    def reply(request: Request) -> str:
        return f"{scripted_reply(request)}\n{KEY} Bearer {KEY}"

    caplog.set_level(logging.INFO, logger="spar")
    with ScriptedServer(Script(reply, answer=answer, key=KEY)) as server:
        await spar.decode_async(
            ["say it", "refuse it"],
            base_url=server.url,
            api_key_env="SPAR_TEST_KEY",
            budget=3,
            votes=3,
            out=tmp_path / "run",
        )
    files = {path: path.read_text() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    trees = files[tmp_path / "run" / "trees.jsonl"]
    assert len(trees.splitlines()) == 2
    assert "***" in trees
    assert not [path for path, text in files.items() if KEY[:12] in text]
    assert "connecting to the server ..." in caplog.text
    assert KEY[:12] not in caplog.text
