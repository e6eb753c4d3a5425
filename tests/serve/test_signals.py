"""The command as a process: it announces itself, finishes on SIGTERM, and goes on in its run directories."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from spar.cli.app import app
from spar.errors import RunStopped, UsageError
from spar.serve.searching import SearchService
from spar.store import read_trees
from tests.requires import requires
from tests.serve.harness import asking, serving

ROOT = Path(__file__).parents[2]
pytestmark = requires("starlette", "uvicorn")


@contextmanager
def command(out: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`spar serve` in a process, and its URL."""
    arguments = ["--port", "0", "--out", str(out), "--served-name", "tiny", *flags]
    process = subprocess.Popen(
        [sys.executable, "-m", "spar", "serve", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=out.parent,
    )
    assert process.stderr is not None
    lines = []
    try:
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"listening on (\S+)", line):
                yield process, found[1]
                break
        else:
            raise AssertionError("".join(lines))
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


SLOW = ("--engine", "tests.serve.slow_engine:open_slow", "--strategy", "greedy")


@pytest.mark.slow
def test_sigterm_finishes_what_is_in_flight(tmp_path: Path) -> None:
    """The answer and the stream arrive, new connections are refused, the process ends with 0, the trees are stored."""
    replies: list[Any] = []

    def ask(url: str, *, stream: bool) -> None:
        body = asking(model="greedy/tiny", stream=stream)
        replies.append(httpx.post(f"{url}/chat/completions", json=body, timeout=30))

    with command(tmp_path / "out", *SLOW) as (process, url):
        asking_threads = [
            threading.Thread(target=ask, args=(url,), kwargs={"stream": stream})
            for stream in (False, True)
        ]
        for thread in asking_threads:
            thread.start()
        while httpx.get(f"{url.removesuffix('/v1')}/health").json()["trees_running"] < 2:
            pass
        process.send_signal(signal.SIGTERM)
        for thread in asking_threads:
            thread.join()
        assert process.wait(30) == 0
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/models")
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    assert [reply.status_code for reply in replies] == [200, 200]
    (stream,) = (reply for reply in replies if "event-stream" in reply.headers["content-type"])
    assert stream.text.endswith("data: [DONE]\n\n")
    (run,) = (tmp_path / "out").glob("greedy-1-*")
    assert len(list(read_trees(run))) == 2
    assert json.loads((run / "summary.json").read_text())["trees"] == 2


@pytest.mark.slow
def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    """It does not wait for the replies in flight, of which this engine has none in a minute."""
    never = ("--engine", "tests.serve.slow_engine:open_stuck", "--strategy", "greedy")
    with command(tmp_path / "out", *never) as (process, url):
        body = asking(model="greedy/tiny")

        def ask() -> None:
            with pytest.raises(httpx.HTTPError):
                httpx.post(f"{url}/chat/completions", json=body, timeout=30).raise_for_status()

        asker = threading.Thread(target=ask)
        asker.start()
        while httpx.get(f"{url.removesuffix('/v1')}/health").json()["trees_running"] < 1:
            pass
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGTERM)
        process.wait(15)
        asker.join()


@pytest.mark.slow
def test_a_server_that_was_killed_goes_on_in_its_directory(tmp_path: Path) -> None:
    """What was answered before `kill -9` is stored, and the next server appends to the same run."""
    for _ in range(2):
        with command(tmp_path / "out", "--engine", "fake", "--budget", "3") as (process, url):
            reply = httpx.post(f"{url}/chat/completions", json=asking(model="bfs-3/tiny"))
            assert reply.status_code == 200
            process.send_signal(signal.SIGKILL)
            process.wait()
    (run,) = (tmp_path / "out").glob("bfs-3-*")
    assert len({tree.prompt.id for tree in read_trees(run)}) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--offer", "bsf-15"), "unknown strategy in --offer 'bsf'; did you mean 'bfs'"),
        (("--offer", "bfs-0"), "--offer bfs-0: the budget is out of range; accepted: 1 to 64"),
        (("--offer", "bfs-15", "--max-budget", "4"), "accepted: 1 to 4 (--max-budget)"),
        (("--budget", "15", "--max-budget", "4"), "--budget 15 is above --max-budget 4"),
        (("--offer", ","), "--offer names no search"),
        (("--client-key-env", "sk-live-123"), "--client-key-env: expected the name"),
        (("--client-key-env", "NOT_SET_HERE"), "NOT_SET_HERE is not set"),
        (("--port", "99999"), "--port"),
        (("--model", "/no/such/folder"), "/no/such/folder"),
        (("--judge", "nobody"), "unknown judge"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], message: str
) -> None:
    """Each is a usage error that says what is accepted, and repeats no key."""
    monkeypatch.chdir(tmp_path)
    engine = () if "--model" in flags else ("--engine", "fake")
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        app(["serve", *engine, *flags], standalone_mode=False)
    assert "sk-live-123" not in str(caught.value)


def test_a_port_and_a_folder_that_are_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has them is said, and what to choose instead."""
    monkeypatch.chdir(tmp_path)
    with serving(out=tmp_path / "out") as served:
        port = served.url.rpartition(":")[2].partition("/")[0]
        taken = f"cannot listen on 127.0.0.1:{port}: .* in use; choose another"
        with monkeypatch.context() as patch:  # before a model is loaded
            patch.setattr(SearchService, "open", None)
            with pytest.raises(UsageError, match=taken):
                app(["serve", "--engine", "fake", "--port", port], standalone_mode=False)
            nowhere = ("--host", "host.invalid")
            with pytest.raises(UsageError, match=r"cannot listen on host\.invalid:8100: "):
                app(["serve", "--engine", "fake", *nowhere], standalone_mode=False)
        command = ["serve", "--engine", "fake", "--port", "0", "--out", str(tmp_path / "out")]
        with pytest.raises(RunStopped, match=r"is writing to .*choose another --out"):
            app(command, standalone_mode=False)
