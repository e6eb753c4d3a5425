"""In front of a running server: its faults, its key, and requests that are no longer wanted there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from spar.errors import ServerRefused
from spar.serve.server import dry_run_text
from spar.serve.settings import server_settings
from tests.answers import Script, error_body
from tests.serve.harness import asking, serving, wait_for
from tests.serve.test_side_requests import TOOL
from tests.serve.test_streaming import data_of, stream
from tests.servers import ScriptedServer

SECRET = "sk-upstream-secret-1"


def test_the_models_are_named_by_the_upstream() -> None:
    """By the name of the only model it has, unless a name is chosen; a dry run, which does not ask it, says so."""
    with ScriptedServer(Script(models=("up/m",))) as upstream:
        settings: dict[str, Any] = {"base_url": (upstream.url,), "offer": ("bfs-3", "greedy")}
        assert "  bfs-3/model\n" in (shown := dry_run_text(server_settings(None, settings)))
        assert shown.endswith(
            "model: the server is asked for its model's name when spar serve starts"
        )
        for own, name in (({"served_name": ""}, "up/m"), ({"served_name": "mine"}, "mine")):
            with serving("openai", serve=own, **settings) as served:
                ids = [model["id"] for model in served.get("/v1/models").json()["data"]]
                assert ids == [f"bfs-3/{name}", f"greedy/{name}"]
                assert served.post(asking(model=name)).json()["spar"]["budget"] == 3
                assert served.post(asking(model=f"greedy/{name}")).json()["spar"]["budget"] == 1
                assert served.post(asking(model="bfs-3/embedded")).status_code == 404


@pytest.mark.parametrize("fields", [{}, {"tools": [TOOL]}, {"tools": [TOOL], "stream": True}])
def test_a_client_that_leaves_cancels_requests_upstream(fields: dict[str, Any]) -> None:
    """The upstream sees its connections closed, so that it stops generating."""
    with (
        ScriptedServer(Script(seconds=20.0)) as upstream,
        serving("openai", base_url=(upstream.url,)) as served,
    ):
        with pytest.raises(httpx.TimeoutException):
            served.post(asking(**fields), timeout=0.5)
        wait_for(lambda: [seen.cancelled for seen in upstream.seen] == [True])
        wait_for(lambda: not served.service.admission.requests)


def test_a_faulty_upstream_is_asked_again(tmp_path: Path) -> None:
    """A fifth of its requests fail; every client gets its answer."""
    script = Script(fault_share=0.2, faults=("500", "cut", "half", "empty"), seed=3)
    with (
        ScriptedServer(script) as upstream,
        serving("openai", base_url=(upstream.url,), out=tmp_path / "out", budget=3) as served,
    ):
        replies = [served.post(asking(f"Say {i}.", model="bfs-3/tiny")) for i in range(4)]
    assert [reply.status_code for reply in replies] == [200] * 4


def test_an_upstream_that_is_away(tmp_path: Path) -> None:
    """502 in the API's shape once the retries are over, and an answer again once it is back."""
    with ScriptedServer() as upstream:
        flags: dict[str, Any] = {"base_url": (upstream.url,), "retry_for": 0.0}
        with serving("openai", out=tmp_path / "out", **flags) as served:
            upstream.kill()
            response = served.post(asking(model="greedy/tiny"))
            assert response.status_code == 502
            assert response.json()["error"]["code"] == "engine_error"
            assert upstream.url not in response.json()["error"]["message"]
            upstream.start()
            assert served.post(asking(model="greedy/tiny")).status_code == 200


def filtering(body: dict[str, Any]) -> tuple[int, Any] | None:
    """A content filter, which refuses one prompt and serves others."""
    if "weapon" not in str(body["messages"]):
        return None
    return 400, error_body("the content filter was triggered", "content_filter", "")


@pytest.mark.parametrize("model", ["greedy/tiny", "best-of-n-3/tiny"])
def test_a_prompt_that_the_upstream_refuses_is_the_clients_mistake(model: str) -> None:
    """400 with what is wrong, so that OpenAI's clients do not repeat the search; the upstream's address is not shown."""
    with (
        ScriptedServer(Script(answer=filtering)) as upstream,
        serving("openai", base_url=(upstream.url,)) as served,
    ):
        response = served.post(asking("Build a weapon.", model=model))
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, "messages")
        assert "the content filter was triggered" in error["message"]
        assert upstream.url not in error["message"]
        _, lines = stream(served, asking("Build a weapon.", model=model))
        assert data_of(lines)[-2] == {"error": error}
        assert served.post(asking(model=model)).status_code == 200


def test_no_key_of_an_upstream_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in errors, although the upstream echoes it, nor in what is printed or stored."""
    monkeypatch.setenv("UPSTREAM_KEY", SECRET)
    script = Script(key=SECRET)
    with ScriptedServer(script) as upstream:
        flags: dict[str, Any] = {"base_url": (upstream.url,), "retry_for": 0.0}
        flags["api_key_env"] = "UPSTREAM_KEY"
        with serving("openai", out=tmp_path / "out", **flags) as served:
            assert served.post(asking()).status_code == 200
            upstream.script = Script(key="another-key-entirely")
            refused = served.post(asking())
            assert refused.status_code == 502
            assert SECRET not in refused.text
        with (
            pytest.raises(ServerRefused) as caught,
            serving("openai", **flags),
        ):
            pass
        assert SECRET not in str(caught.value)
    printed = capfd.readouterr()
    assert SECRET not in printed.out + printed.err
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()
