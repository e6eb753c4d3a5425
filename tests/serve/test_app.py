"""The server as a library: an application with a caller's own functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from spar.config import DecodeConfig
from spar.config.yaml_text import load_yaml
from spar.infer.engine import NoteCallback
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.run.resolve import resolve_config
from spar.serve.app import open_app
from spar.serve.deployment import OWN, application
from spar.serve.server import dry_run_text
from spar.serve.settings import server_settings
from spar.types import Prompt
from tests.fakes import Notes
from tests.serve.harness import asking, running, serving


def is_short(prompt: Prompt, response: str) -> bool:
    """A judge of one's own."""
    return len(response) < 100


def test_an_application_with_a_function_as_judge(tmp_path: Path) -> None:
    """`open_app` takes what `spar.search` takes; its models are loaded, and it closes them at its end."""
    app = open_app(
        engine=FakeEngine(scripted_reply),
        judge=is_short,
        offer="bfs-3",
        served_name="tiny",
        out=tmp_path / "out",
    )
    with running(app) as url:
        reply = httpx.post(f"{url}/v1/chat/completions", json=asking(model="tiny")).json()
    assert reply["spar"]["calls"] == 1
    assert reply["spar"]["choices"][0]["solved"]
    assert reply["spar"]["judge"].endswith("is_short")


@pytest.mark.parametrize(
    ("offer", "listed"), [((), "bfs-4/tiny"), (("bfs-3", "greedy"), "bfs-3/tiny")]
)
def test_the_limit_of_budgets_holds_for_all(offer: tuple[str, ...], listed: str) -> None:
    """A default budget above it is lowered, whichever searches are listed; a client that asks for more is refused."""
    with serving(serve={"offer": offer, "max_budget": 4}) as served:
        assert served.get("/v1/models").json()["data"][0]["id"] == listed
        assert served.post(asking(model="bfs-12/tiny")).status_code == 400
        assert served.post(asking(model=listed, spar={"budget": 12})).status_code == 400
        for asked in (asking(model="best-of-n"), asking(model=listed, spar={"strategy": "dfs"})):
            assert served.post(asked).json()["spar"]["budget"] == 4
        assert "-15" not in dry_run_text(server_settings(None, {"max_budget": 3, "offer": offer}))


def test_a_larger_budget_raises_a_limit_that_is_not_set() -> None:
    """The budget that the server itself was given is the largest."""
    assert server_settings(None, {"budget": 100}).serve.max_budget == 100
    assert server_settings(None, {"budget": 7}).serve.max_budget == 64


def test_the_deployment_file_has_known_settings() -> None:
    """Its arguments are those of the application that it imports."""
    path = Path(__file__).parents[2] / "examples" / "ray_serve.yaml"
    (deployed,) = load_yaml(path.read_text("utf-8"))["applications"]
    assert deployed["import_path"] == f"{application.__module__}:{application.__name__}"
    values = {name: value for name, value in deployed["args"].items() if name not in OWN}
    settings = server_settings(None, values)
    assert settings.serve.offer == ("bfs-15", "greedy")
    assert settings.config.model == deployed["args"]["model"]
    assert set(OWN) & set(deployed["args"]) == {"replicas", "gpus", "out"}


def test_a_note_on_models_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each search that is prepared, at the start or for a client later."""
    notes = Notes()

    def noting(config: DecodeConfig, note: NoteCallback, **options: Any) -> DecodeConfig:
        note("engine: hf, since no GPU is seen")
        return resolve_config(config, note, **options)

    monkeypatch.setattr("spar.run.interactive.resolve_config", noting)
    with serving(listener=notes, serve={"offer": ("bfs-3", "greedy")}) as served:
        for budget in (4, 5):
            assert served.post(asking(model=f"bfs-{budget}/tiny")).status_code == 200
        assert notes.lines.count("engine: hf, since no GPU is seen") == 1
        for _ in range(2):  # an engine says so whenever it is so
            served.service._notes.note("http://up:8000/v1: down")
    assert notes.lines.count("http://up:8000/v1: down") == 2
