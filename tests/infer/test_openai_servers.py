"""Base URLs, API keys, and the check of the servers before a run."""

from __future__ import annotations

import pytest

from spar.errors import EngineError, ServerRefused, UsageError
from spar.infer.engines.openai.connection_pool import Key, base_url, read_key
from spar.infer.engines.openai.servers import check_server
from tests.answers import Script
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


@pytest.mark.parametrize("value", ["sk-pasted-0123456789", "0123456789abcdef", "Bearer x"])
def test_a_key_passed_as_variable_name_is_not_repeated(value: str) -> None:
    """The message says what is expected."""
    with pytest.raises(UsageError, match="name of an environment variable") as caught:
        read_key(value, "http://127.0.0.1:8000/v1")
    assert value not in str(caught.value)


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


def test_check_server_requires_a_name_if_it_cannot_choose() -> None:
    """There are several models, or the server does not list them."""
    two = ScriptedServer(Script(models=("tiny", "small")))
    with two, pytest.raises(UsageError, match="tiny, small"):
        check_server([two.url], "", "")
    with ScriptedServer(Script(models=())) as silent:
        assert check_server([silent.url], "any", "") == "any"
        with pytest.raises(UsageError, match="--model"):
            check_server([silent.url], "", "")


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
