"""Commands as forks of a process that has imported their module: they do what processes of their own would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from spar.fork_server import ForkServer
from spar.subprocesses import WATCHED, await_end, family

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="for Linux")

MODULE = """
import os, subprocess, sys, time
from pathlib import Path
IMPORTED_BY = os.getpid()

def main(arguments):
    if arguments[0] == "show":
        print(arguments, sys.argv[1:], os.environ["OF_SERVER"], os.environ["OF_CHILD"], os.getcwd())
        print("imported by", IMPORTED_BY, "run by", os.getpid(), "of the session", os.getsid(0))
        return 3
    if arguments[0] == "fail":
        raise ValueError("a fault")
    if arguments[0] == "leave":
        sys.exit(4)
    if arguments[0] == "wait":
        from spar.subprocesses import exit_with_parent, kill_children
        exit_with_parent(kill_children)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(arguments[1]).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    """One that has imported the module above."""
    (tmp_path / "forkable.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with ForkServer(["forkable", "no_such_module"], {"OF_SERVER": "a"}) as server:
        yield server


def run(server: ForkServer, log: Path, *words: str, module: str = "forkable", **more: Any) -> int:
    """Run a command to its end."""
    environment = {WATCHED: "1", "OF_CHILD": "b"}
    with log.open("ab") as stream:
        parts = [sys.executable, "-m", module, *words]
        return server.run_child(parts, stream, environment=environment, **more)


def waiting(path: Path) -> list[psutil.Process]:
    """The processes whose ids are in a file, once they are."""
    while not path.is_file() or not path.read_text():
        time.sleep(0.02)
    return [psutil.Process(int(pid)) for pid in path.read_text().split()]


def test_a_fork_has_arguments_environment_folder_and_log_of_its_own(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module is imported once, by the server; the exit code is that of `main`."""
    logs = tmp_path / "a.log", tmp_path / "b.log"
    assert run(server, logs[0], "show", "1", "") == 3
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert run(server, logs[1], "show", "2") == 3
    first, second = (log.read_text().splitlines() for log in logs)
    assert first[0].startswith("['show', '1', ''] ['show', '1', ''] a b ")
    assert second[0] == f"['show', '2'] ['show', '2'] a b {tmp_path / 'below'}"
    importers, runners, sessions = zip(
        *([int(word) for word in lines[1].split() if word.isdigit()] for lines in (first, second)),
        strict=True,
    )
    assert len(set(importers)) == 1 and len({*importers, *runners, os.getpid()}) == 4
    assert sessions == runners


@pytest.mark.parametrize(("word", "code"), [("fail", 1), ("leave", 4)])
def test_a_fork_fails_as_a_process_does(
    server: ForkServer, tmp_path: Path, word: str, code: int
) -> None:
    """With a traceback in its log, or the code that it left with."""
    log = tmp_path / "log"
    assert run(server, log, word) == code
    assert ("ValueError: a fault" in log.read_text()) == (word == "fail")


def test_another_command_is_started_as_ever(server: ForkServer, tmp_path: Path) -> None:
    """A module that the server was not told of."""
    assert run(server, tmp_path / "log", "-h", module="compileall") == 0
    assert "usage" in (tmp_path / "log").read_text()
    assert server._process is None


def test_an_error_of_the_tick_ends_the_fork_and_what_it_started(
    server: ForkServer, tmp_path: Path
) -> None:
    """Before it is raised; the server goes on."""
    processes: list[psutil.Process] = []

    def tick() -> None:
        processes.extend(waiting(tmp_path / "pids"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(server, tmp_path / "log", "wait", str(tmp_path / "pids"), tick=tick)
    assert len(processes) == 2 and await_end(processes, 5) == []
    assert run(server, tmp_path / "log", "show") == 3


@pytest.mark.parametrize("of_server", [False, True])
def test_a_killed_fork_has_the_code_of_its_signal(
    server: ForkServer, tmp_path: Path, *, of_server: bool
) -> None:
    """And so has one whose server is killed, which it does not outlive; forks run side by side."""
    codes: list[int] = []
    threads = [
        Thread(
            target=lambda n=n: codes.append(
                run(server, tmp_path / n, "wait", str(tmp_path / f"{n}.pids"))
            )
        )
        for n in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    processes = [waiting(tmp_path / f"{n}.pids") for n in ("a", "b")]
    assert server._process is not None
    if of_server:
        server._process.kill()
    else:
        for process, _ in processes:
            process.send_signal(signal.SIGKILL)
    for thread in threads:
        thread.join(20)
    assert codes == [-signal.SIGKILL] * 2
    assert await_end([each for pair in processes for each in pair], 5) == []


def test_nothing_outlives_a_killed_caller(server: ForkServer, tmp_path: Path) -> None:
    """Neither the server, nor a fork, nor what that started."""
    code = f"""
import sys
from spar.fork_server import ForkServer
ForkServer(["forkable"], {{}}).run_child(
    [sys.executable, "-m", "forkable", "wait", {str(tmp_path / "pids")!r}], None, environment={{"{WATCHED}": "1"}}
)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as caller:
        waiting(tmp_path / "pids")
        processes = family([caller.pid])
        assert len(processes) == 4
        caller.kill()
    assert await_end(processes, 5) == []


def test_closing_ends_the_server(server: ForkServer, tmp_path: Path) -> None:
    """The next command starts another."""
    run(server, tmp_path / "log", "show")
    assert server._process is not None
    (process,) = family([server._process.pid])
    server.close()
    assert await_end([process], 1) == []
    assert run(server, tmp_path / "log", "show") == 3
