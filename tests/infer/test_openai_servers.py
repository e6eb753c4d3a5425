"""Base URLs, API keys, and the check of the servers before a run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from spar.cli.flags import overrides
from spar.config import DecodeConfig, load_decode, load_eval, specs
from spar.errors import EngineError, ServerRefused, UsageError
from spar.infer.engines.openai.addresses import Key, base_url, read_key
from spar.infer.engines.openai.model_lists import check_server
from tests.answers import Script, error_body
from tests.infer.openai_helpers import SETTINGS, ask, echo, serving, votes
from tests.infer.raw_server import raw_server, response
from tests.servers import ScriptedServer


@pytest.mark.parametrize(
    ("url", "normalized"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/", "http://host:8000/v1"),
        ("http://host:8000/v1/", "http://host:8000/v1"),
        (" https://host/api/openai ", "https://host/api/openai"),
    ],
)
def test_base_urls_are_normalized(url: str, normalized: str) -> None:
    """No trailing slash; `/v1` if there is no path."""
    assert base_url(url) == normalized


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://host",
            "host:8000",
            "http://",
            "",
            "http://host:port",
            "localhost",
            "file:///etc/passwd",
        ),
        *(f"http://{name}@host/v1" for name in ("secret", "u:secret")),
        *("http://host/v1?key=secret", "http://host/v1#secret"),
        *("user:secret@host/v1", "http:/user:secret@host", "http://user:secret@[host", "secret@h"),
        "http://host:secret/v1",
        *(
            "http://a..b/v1",
            f"http://{'a' * 64}.com/v1",
            f"http://{'a.' * 127}b/v1",
            "http://.a/v1",
        ),
        *(
            "http://[::1",
            "http://h:99999/v1",
            "http://a b/v1",
            "http://h\x00/v1",
        ),
    ],
)
def test_invalid_base_urls_are_refused(url: str) -> None:
    """So are URLs with a name, password or query, which the message does not repeat."""
    with pytest.raises(UsageError, match="--base-url") as caught:
        base_url(url)
    assert "secret" not in str(caught.value)


def test_keys_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPENAI_API_KEY is the default for OpenAI's own server only."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    monkeypatch.setenv("EMPTY_KEY", " ")
    monkeypatch.setenv("ODD_KEY", "a\u2013b")
    assert read_key("", "https://api.openai.com/v1").value == "sk-own"
    assert not read_key("", "http://127.0.0.1:8000/v1").headers
    for name in ["EMPTY_KEY", "ODD_KEY", "NO_SUCH_KEY"]:
        with pytest.raises(UsageError, match=name):
            read_key(name, "http://127.0.0.1:8000/v1")


@pytest.mark.parametrize(
    "value",
    [
        *("sk-pasted-0123456789", "0123456789abcdef", "Bearer x"),
        *("hf_abcdefghijklmnop", "gsk_0123ABCdef", "AKIA0123456789ABCDEF", "token"),
    ],
)
def test_a_key_passed_as_variable_name_is_not_repeated(value: str) -> None:
    """Not even one that could be a name; with any engine, before anything is written."""
    with pytest.raises(UsageError, match=r"name of .* variable") as caught:
        read_key(value, "http://127.0.0.1:8000/v1")
    assert value not in str(caught.value)
    for load in (load_decode, load_eval):
        with pytest.raises(UsageError, match="--api-key-env") as caught:
            load(None, {"engine": "fake", "api_key_env": value})
        assert value not in str(caught.value)


def test_any_variable_that_is_set_may_hold_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not may be named if no key looks like its name: it is only read where a server is used."""
    monkeypatch.setenv("my_token", "right")
    assert read_key("my_token", "http://127.0.0.1:8000/v1").value == "right"
    assert load_decode(None, {"engine": "fake", "api_key_env": "my_token"}).api_key_env
    assert load_decode(None, {"engine": "fake", "api_key_env": "NOT_SET_HERE"}).api_key_env


@pytest.mark.parametrize("value", ["sk-secret-0123456789", "env:", "env:a b", 7, None])
def test_values_of_headers_are_named_not_given(value: Any) -> None:
    """A value would be stored, so only its variable is accepted, and no message repeats it."""
    for load in (load_decode, load_eval):
        with pytest.raises(
            UsageError, match="--header X-Key: expected X-Key=env:VARIABLE"
        ) as caught:
            load(None, {"engine": "fake", "header": {"X-Key": value}})
        assert "secret" not in str(caught.value)
    with pytest.raises(UsageError, match="--header: expected NAME=env:VARIABLE") as caught:
        overrides(
            {"header": ["X-Key: sk-secret"]}, [s for s in specs(DecodeConfig) if s.name == "header"]
        )
    assert "secret" not in str(caught.value)


def test_headers_are_sent_and_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every request, the first one too; what a server says of them is hidden."""
    monkeypatch.setenv("SPAR_TEAM", "team-secret-01")
    key = read_key("", "http://127.0.0.1:8000/v1", {"X-Team": "env:SPAR_TEAM"})
    assert key.headers == {"X-Team": "team-secret-01"}
    assert "secret" not in repr(key)
    assert key.redact("no team-secret-01 here") == "no *** here"
    assert key.redact_content(b'{"a": "team-secret-01"}') == b'{"a": "***"}'
    with pytest.raises(
        UsageError, match="--header X: the environment variable NOT_SET_HERE is not set"
    ):
        read_key("", "http://127.0.0.1:8000/v1", {"X": "env:NOT_SET_HERE"})


async def test_an_engine_sends_its_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the settings name them."""
    monkeypatch.setenv("SPAR_TEAM", "team-secret-01")
    settings = replace(SETTINGS, headers={"X-Team": "env:SPAR_TEAM"})
    with serving(Script(echo), settings) as (server, engine, _):
        await ask(engine, votes(1))
    sent = {name.lower(): value for name, value in server.seen[0].headers.items()}
    assert sent["x-team"] == "team-secret-01"


def test_keys_are_redacted() -> None:
    """In full and in words that begin as the key does."""
    key = Key("sk-proj-0123456789abcdef", "NAME")
    assert "sk-" not in repr(key)
    text = 'wrong key "sk-proj-0123456789abcdef", sk-proj-******cdef'
    assert key.redact(text) == 'wrong key "***", ***'
    assert Key().redact(text) == text


def test_check_server_returns_the_only_model() -> None:
    """And accepts a model that the server has."""
    with ScriptedServer(Script(models=("tiny",))) as one:
        assert check_server([one.url, one.url], "", "") == "tiny"
        assert check_server([one.url], "tiny", "") == "tiny"
        with pytest.raises(ServerRefused, match=r"'large'.*tiny"):
            check_server([one.url], "large", "")
    with pytest.raises(EngineError, match="no server responds"):
        check_server([one.url], "tiny", "")


def test_check_server_names_no_model_with_the_key_in_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name would be printed and stored."""
    monkeypatch.setenv("SPAR_TEST_KEY", "sk-proj-0123456789abcdef")
    with (
        ScriptedServer(Script(models=("m-sk-proj-0123456789abcdef",))) as server,
        pytest.raises(UsageError, match=r"name a model with --model .*m-\*\*\*"),
    ):
        check_server([server.url], "", "SPAR_TEST_KEY")


async def test_check_server_works_beside_a_running_event_loop() -> None:
    """As in a notebook."""
    with ScriptedServer(Script(models=("tiny",))) as one:
        assert check_server([one.url], "", "") == "tiny"


def test_check_server_tolerates_servers_that_are_down() -> None:
    """As long as another one responds; each that is down is noted."""
    notes: list[str] = []
    with ScriptedServer(Script()) as live, ScriptedServer(Script()) as dead:
        dead.kill()
        for urls in ([dead.url, live.url], [live.url, dead.url]):
            assert check_server(urls, "", "", notes.append) == "tiny"
        with pytest.raises(ServerRefused):
            check_server([dead.url, live.url], "large", "")
    assert len(notes) == 2
    assert all(dead.url in line and live.url not in line for line in notes)


def accept(body: dict[str, Any]) -> tuple[int, Any]:
    """A server that takes any model."""
    return 200, {"choices": [{"message": {"content": "OK"}}], "model": body["model"]}


def test_check_server_tries_a_model_that_is_not_listed() -> None:
    """Aliases, deployments and routes are served without being listed; who refuses the name is not asked further."""
    notes: list[str] = []
    with ScriptedServer(Script(models=("tiny", "small"), answer=accept)) as gateway:
        assert check_server([gateway.url], "large", "", notes.append) == "large"
    assert "does not list the model 'large'" in notes[0]
    assert len(gateway.seen) == 1
    with (
        ScriptedServer(Script(models=("tiny", "small"))) as strict,
        pytest.raises(ServerRefused, match=r"'large' .*tiny, small"),
    ):
        check_server([strict.url], "large", "")
    assert len(strict.seen) == 1


@pytest.mark.parametrize("status", [429, 503, 529])
def test_check_server_takes_a_busy_server_for_none_that_lacks_the_model(status: int) -> None:
    """A model that is not listed is requested all the same, since the run can wait for its turn."""
    notes: list[str] = []
    script = Script(models=("tiny", "small"), answer=lambda _: (status, error_body("Slow down.")))
    with ScriptedServer(script) as server:
        assert check_server([server.url], "large", "", notes.append) == "large"
    assert "does not list the model 'large'" in notes[0]


@pytest.mark.parametrize("listed", ["tiny:latest", "models/tiny"])
def test_check_server_tries_a_part_of_the_only_name(listed: str) -> None:
    """Any other name is a mistake, to which some servers of one model would answer."""
    with ScriptedServer(Script(models=(listed,), answer=accept)) as server:
        assert check_server([server.url], "tiny", "") == "tiny"
        assert len(server.seen) == 1
        with pytest.raises(ServerRefused, match=listed):
            check_server([server.url], "large", "")
        assert len(server.seen) == 1


def test_check_server_tries_a_model_with_the_limit_that_it_takes() -> None:
    """Reasoning models refuse max_tokens."""

    def renamed(body: dict[str, Any]) -> tuple[int, Any]:
        if "max_tokens" in body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return 400, error_body(message, "unsupported_parameter", "max_tokens")
        return accept(body)

    with ScriptedServer(Script(models=("tiny", "small"), answer=renamed)) as server:
        assert check_server([server.url], "large", "") == "large"


def test_check_server_requires_a_name_if_it_cannot_choose() -> None:
    """There are several models, or the server does not list them."""
    two = ScriptedServer(Script(models=("tiny", "small")))
    with two, pytest.raises(UsageError, match="tiny, small"):
        check_server([two.url], "", "")
    with ScriptedServer(Script(models=())) as silent:
        assert check_server([silent.url], "any", "") == "any"
        with pytest.raises(UsageError, match="--model"):
            check_server([silent.url], "", "")


@pytest.mark.parametrize("status", ["400 Bad Request", "429 Too Many Requests"])
async def test_check_server_reports_why_a_server_lists_no_models(status: str) -> None:
    """A list that it has but refuses is missed only where no model is named and no other server has one."""
    content = response(b'{"error": "slow down"}', status=status)
    async with raw_server(lambda _: content) as busy:
        with ScriptedServer(Script()) as live:
            assert await asyncio.to_thread(check_server, [busy.url, live.url], "", "") == "tiny"
        assert await asyncio.to_thread(check_server, [busy.url], "tiny", "") == "tiny"
        with pytest.raises(
            EngineError, match=rf"list its models: HTTP {status[:3]} \(slow down\).*--model"
        ):
            await asyncio.to_thread(check_server, [busy.url], "", "")


async def test_check_server_reports_a_key_that_is_rejected_in_words() -> None:
    """As Gemini's server does, whose status is that of a bad request."""
    body = (
        b'[{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}]'
    )
    content = response(body, status="400 Bad Request")
    async with raw_server(lambda _: content) as server:
        with pytest.raises(ServerRefused, match="rejected the key"):
            await asyncio.to_thread(check_server, [server.url], "tiny", "")


def test_check_server_reports_a_rejected_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says where the key came from, or how to pass one."""
    monkeypatch.setenv("SPAR_TEST_KEY", "wrong-key-wrong-key")
    with ScriptedServer(Script(key="right")) as server:
        with pytest.raises(ServerRefused, match="SPAR_TEST_KEY") as caught:
            check_server([server.url], "tiny", "SPAR_TEST_KEY")
        assert "wrong-key" not in str(caught.value)
        with pytest.raises(ServerRefused, match="--api-key-env"):
            check_server([server.url], "tiny", "")
        monkeypatch.setenv("SPAR_TEST_KEY", "right")
        assert check_server([server.url], "tiny", "SPAR_TEST_KEY") == "tiny"
