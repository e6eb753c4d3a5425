"""Where servers are and how to be let in: URLs, keys, and the check before a run."""

from __future__ import annotations

import pytest

from spar.errors import EngineError, ServerRefused, UsageError
from spar.infer.engines.openai.engine import check_server
from spar.infer.engines.openai.servers import Key, base_url, read_key
from tests.answers import Script
from tests.servers import ScriptedServer


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/", "http://host:8000/v1"),
        ("http://host:8000/v1/", "http://host:8000/v1"),
        (" https://host/api/openai ", "https://host/api/openai"),
    ],
)
def test_base_urls(given: str, url: str) -> None:
    """As given, but for a slash at the end; `/v1` where there is no path."""
    assert base_url(given) == url


@pytest.mark.parametrize(
    "given",
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
def test_other_urls_are_refused(given: str) -> None:
    """With a name, password or query in it too, which the message does not repeat."""
    with pytest.raises(UsageError, match="--base-url") as caught:
        base_url(given)
    assert "secret" not in str(caught.value)


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's own server has its usual variable; its key goes nowhere else."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    monkeypatch.setenv("EMPTY_KEY", " ")
    monkeypatch.setenv("ODD_KEY", "a\u2013b")
    assert read_key("", "https://api.openai.com/v1").value == "sk-own"
    assert not read_key("", "http://127.0.0.1:8000/v1").headers
    for name in ["EMPTY_KEY", "ODD_KEY", "NO_SUCH_KEY"]:
        with pytest.raises(UsageError, match=name):
            read_key(name, "http://127.0.0.1:8000/v1")


@pytest.mark.parametrize("given", ["sk-pasted-0123456789", "0123456789abcdef", "Bearer x"])
def test_a_key_in_place_of_its_variable_is_not_repeated(given: str) -> None:
    """The message says what is wanted."""
    with pytest.raises(UsageError, match="name of an environment variable") as caught:
        read_key(given, "http://127.0.0.1:8000/v1")
    assert given not in str(caught.value)


def test_keys_do_not_show() -> None:
    """Neither whole nor by their beginning."""
    key = Key("sk-proj-0123456789abcdef", "NAME")
    assert "sk-" not in repr(key)
    said = 'wrong key "sk-proj-0123456789abcdef", sk-proj-******cdef'
    assert key.redact(said) == 'wrong key "***", ***'
    assert Key().redact(said) == said


def test_the_check_finds_the_only_model() -> None:
    """And accepts a given one that is there."""
    with ScriptedServer(Script(models=("tiny",))) as one:
        assert check_server([one.url, one.url], "", "") == "tiny"
        assert check_server([one.url], "tiny", "") == "tiny"
        with pytest.raises(ServerRefused, match=r"'large'.*tiny"):
            check_server([one.url], "large", "")
    with pytest.raises(EngineError, match="no server answers"):
        check_server([one.url], "tiny", "")


def test_a_server_that_is_down_does_not_refuse_the_start() -> None:
    """As long as another one answers; which is down is told."""
    heard: list[str] = []
    with ScriptedServer(Script()) as live, ScriptedServer(Script()) as dead:
        dead.kill()
        for urls in ([dead.url, live.url], [live.url, dead.url]):
            assert check_server(urls, "", "", heard.append) == "tiny"
        with pytest.raises(ServerRefused):
            check_server([dead.url, live.url], "large", "")
    assert len(heard) == 2
    assert all(dead.url in line and live.url not in line for line in heard)


def test_the_check_wants_a_name_where_it_cannot_choose() -> None:
    """Several models, or a server that does not say which it has."""
    two = ScriptedServer(Script(models=("tiny", "small")))
    with two, pytest.raises(UsageError, match="tiny, small"):
        check_server([two.url], "", "")
    with ScriptedServer(Script(models=())) as silent:
        assert check_server([silent.url], "any", "") == "any"
        with pytest.raises(UsageError, match="--model"):
            check_server([silent.url], "", "")


def test_the_check_wants_the_right_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says where the wrong one came from, or how to give one."""
    monkeypatch.setenv("SPAR_TEST_KEY", "wrong-key-wrong-key")
    with ScriptedServer(Script(key="right")) as server:
        with pytest.raises(ServerRefused, match="SPAR_TEST_KEY") as caught:
            check_server([server.url], "tiny", "SPAR_TEST_KEY")
        assert "wrong-key" not in str(caught.value)
        with pytest.raises(ServerRefused, match="--api-key-env"):
            check_server([server.url], "tiny", "")
        monkeypatch.setenv("SPAR_TEST_KEY", "right")
        assert check_server([server.url], "tiny", "SPAR_TEST_KEY") == "tiny"
