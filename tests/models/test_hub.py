"""Hub names where the hub answers, and where it does not."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")

_LOAD = """
import sys
from spar.errors import SparError
from spar.models import hub
from spar.models.folders import local_model

hub.HUB_SECONDS = 0.5
try:
    print(local_model(sys.argv[1], print))
except SparError as error:
    print(error)
"""
_READ = """
from spar.errors import SparError
from spar.models import hub
from spar.rows.hub import hub_rows

hub.HUB_SECONDS = 0.5
try:
    list(hub_rows("nobody/rows"))
except SparError as error:
    print(error)
"""
_DECODE = ("-m", "spar", "decode", "--prompt", "Hello.", "--engine", "hf", "--display", "plain")


def python(*arguments: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    """A child process with that hub and that cache of it."""
    variables = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home)}
    variables.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [sys.executable, *arguments],
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def hanging() -> Iterator[str]:
    """The address of a hub that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def answering() -> Iterator[str]:
    """The address of a hub that answers, if only that it has nothing."""

    class NotFound(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), NotFound) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def put_into_cache(model: Path, home: Path, name: str) -> Path:
    """Lay a model out as the hub's client does."""
    entry = home / "hub" / f"models--{name.replace('/', '--')}"
    folder = entry / "snapshots" / ("0" * 40)
    shutil.copytree(model, folder)
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text("0" * 40)
    return folder


def test_a_hub_name_stays_one_where_the_hub_answers(tmp_path: Path) -> None:
    """Whatever it answers: transformers says what is wrong with the name."""
    with answering() as endpoint:
        run = python("-c", _LOAD, "nobody/tiny", endpoint=endpoint, home=tmp_path)
    assert run.stdout == "nobody/tiny\n", run.stderr


def test_without_an_answer_a_model_that_is_not_cached_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's own client would try for a minute; a name that no hub has, or that is of another hub, is left to others."""
    with hanging() as endpoint:
        run = python("-c", _LOAD, "nobody/tiny", endpoint=endpoint, home=tmp_path)
        odd = python("-c", _LOAD, "a/b/c", endpoint=endpoint, home=tmp_path)
        monkeypatch.setenv("VLLM_USE_MODELSCOPE", "True")
        other = python("-c", _LOAD, "nobody/tiny", endpoint=endpoint, home=tmp_path)
    assert "'nobody/tiny'" in run.stdout and "the hub does not answer: " in run.stdout, run.stderr
    assert (odd.stdout, other.stdout) == ("a/b/c\n", "nobody/tiny\n"), odd.stderr


@pytest.mark.slow
def test_without_an_answer_a_cached_model_is_loaded(tiny_model: Path, tmp_path: Path) -> None:
    """As on a train: from the cache, at once, and said so."""
    folder = put_into_cache(tiny_model, tmp_path, "nobody/tiny")
    refused = "http://127.0.0.1:9"
    loaded = python("-c", _LOAD, "nobody/tiny", endpoint=refused, home=tmp_path)
    note, path = loaded.stdout.splitlines()
    assert "nobody/tiny is taken from the hub's cache" in note and path == str(folder)
    flags = ("--model", "nobody/tiny", "--budget", "1", "--max-new-tokens", "4")
    run = python(*_DECODE, *flags, endpoint=refused, home=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "is taken from the hub's cache" in run.stderr


def test_without_an_answer_a_data_set_is_refused_at_once(tmp_path: Path) -> None:
    """With the reason; what is in the cache is read from there."""
    pytest.importorskip("datasets")
    with hanging() as endpoint:
        run = python("-c", _READ, endpoint=endpoint, home=tmp_path)
    assert "there is no file nobody/rows" in run.stdout and "timed out" in run.stdout, run.stderr
