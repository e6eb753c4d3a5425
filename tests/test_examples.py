"""Every script of `examples/` runs, as a user runs it or in this process."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import spar
from spar.config import default_recipe, load_decode
from spar.own_verifiers import EQUAL
from spar.prompts import read_prompts
from spar.verifiers import CONSTRAINTS, unverifiable
from tests.requires import requires

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_here(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """Run a script in this process; returns its names."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    return runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_search_one_prompt() -> None:
    """A script without a guard, in a process of its own."""
    command = [
        sys.executable,
        str(EXAMPLES / "search_one_prompt.py"),
        "--engine",
        "fake",
        "Say it.",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    assert run.stdout.startswith("#0 [") and "responses and" in run.stdout


def test_own_strategy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The strategy with an option searches, beside one that ships."""
    run_here("own_strategy.py", monkeypatch, "--engine", "fake", "--limit", "3")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("bfs: ") and lines[1].startswith("__main__:UCB: ")
    assert all(" of 3 solved" in line for line in lines)


@requires("starlette", "uvicorn", "openai")
def test_serve_demo(tmp_path: Path) -> None:
    """The server announces itself, answers the SDK, ends, and the tree of its answer is shown."""
    command = [sys.executable, str(EXAMPLES / "serve_demo.py"), "--engine", "fake"]
    run = subprocess.run(
        [*command, "--out", str(tmp_path / "serve")],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        check=True,
    )
    assert "draft 1: " in run.stdout
    assert "X-Spar-Tree: " in run.stdout
    assert "Finish with these exact words" in run.stdout.rpartition("--format markdown")[2]


def test_own_judge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No scripted reply is JSON, and the judge says why."""
    names = run_here("own_judge.py", monkeypatch, "--engine", "fake")
    assert capsys.readouterr().out.startswith("not solved")
    judgement = names["tree"].nodes[0].judgement
    assert "is not JSON" in judgement.critique and judgement.score == 0.0
    judge = names["is_json_object"]
    assert judge(None, '{"title": "M", "year": 1931}')[0] is True
    assert judge(None, '{"title": "M"}') == (False, "Missing keys: year.")
    assert judge(None, "[]")[0] is False


class Ollama(BaseHTTPRequestHandler):
    """A server of Ollama's chat protocol with scripted replies."""

    def do_POST(self) -> None:
        """Answer a conversation."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/api/chat" and body["stream"] is False and body["model"] == "toy"
        asked = body["messages"][-1]["content"]
        text = "It rains\nand rains"
        if "Final Judgement" in asked:
            text = "Two lines.\nFinal Judgement: Yes"
        reply = {
            "message": {"role": "assistant", "content": text},
            "done_reason": "stop",
            "prompt_eval_count": 7,
            "eval_count": 4,
        }
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it
        """Print nothing."""


@pytest.fixture
def ollama() -> Iterator[str]:
    """The server's URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ollama)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_own_engine(
    ollama: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A remote engine of another protocol drafts and judges."""
    names = run_here("own_engine.py", monkeypatch, ollama, "--model", "toy")
    assert capsys.readouterr().out == "It rains\nand rains\n"
    assert names["tree"].solved and names["tree"].usage.completion_tokens > 0


@pytest.mark.slow
@pytest.mark.model
def test_pairs_to_trl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pairs of the embedded model train a model that can be loaded."""
    pytest.importorskip("trl")
    arguments = ("--limit", "24", "--max-steps", "1", "--out", str(tmp_path))
    run_here("pairs_to_trl.py", monkeypatch, *arguments)
    assert " pairs of 24 prompts" in capsys.readouterr().out
    assert (tmp_path / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(("flags", "max_tokens"), [((), 128), (("--model", "mine"), 2048)])
def test_pairs_are_searched_with_the_models_own_settings(
    monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], max_tokens: int
) -> None:
    """The embedded model's recipe is for that model alone: it cuts the replies of any other."""

    class Searched(Exception):
        """In place of a search."""

    def decode(*, listener: Any, out: Path, recipe: str | None = None, **settings: Any) -> None:
        config = load_decode(recipe or default_recipe(settings), settings)
        raise Searched(config.draft.max_tokens)

    monkeypatch.setattr(spar, "decode", decode)
    with pytest.raises(Searched, match=f"^{max_tokens}$"):
        run_here("pairs_to_trl.py", monkeypatch, *flags)


def test_everyday_instructions_are_checked_without_lm_eval() -> None:
    """`make demo-real` installs the extra hf alone, and its verdicts are still IFEval's."""
    prompts = list(read_prompts(str(EXAMPLES / "everyday.jsonl")))
    types = {name for prompt in prompts for name in prompt.meta[CONSTRAINTS]}
    assert len(prompts) == 10
    assert types == EQUAL
    assert all(unverifiable(prompt) == "" for prompt in prompts)
