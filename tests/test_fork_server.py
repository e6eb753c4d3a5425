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
import os, subprocess, sys, threading, time
from pathlib import Path
IMPORTED_BY, IMPORTED_WITH = os.getpid(), os.environ.get("OF_SERVER")

def main(arguments):
    if arguments[0] == "show":
        print(arguments, sys.argv[1:], os.environ.get("OF_SERVER"), os.environ["OF_CHILD"])
        print("imported with", IMPORTED_WITH)
        print("imported by", IMPORTED_BY, "run by", os.getpid(), "of the session", os.getsid(0))
        return 3
    if arguments[0] == "fail":
        raise ValueError("a fault")
    if arguments[0] == "leave":
        sys.exit({"4": 4, "None": None}.get(arguments[1], arguments[1]))
    if arguments[0] == "thread":
        threading.Thread(target=lambda: (time.sleep(0.3), print("the thread has ended"))).start()
        return 0
    if arguments[0] == "wait":
        from spar.subprocesses import exit_with_parent, kill_children
        exit_with_parent(kill_children)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(arguments[1]).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
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


def test_a_fork_has_arguments_environment_and_log_of_its_own(
    server: ForkServer, tmp_path: Path
) -> None:
    """The module is imported once, by the server, with variables that a fork has not; the exit code is that of `main`."""
    logs = tmp_path / "a.log", tmp_path / "b.log"
    assert run(server, logs[0], "show", "1", "") == 3
    assert run(server, logs[1], "show", "2") == 3
    first, second = (log.read_text().splitlines() for log in logs)
    assert first[:2] == ["['show', '1', ''] ['show', '1', ''] None b", "imported with a"]
    assert second[:2] == ["['show', '2'] ['show', '2'] None b", "imported with a"]
    importers, runners, sessions = zip(
        *([int(word) for word in lines[2].split() if word.isdigit()] for lines in (first, second)),
        strict=True,
    )
    assert len(set(importers)) == 1 and len({*importers, *runners, os.getpid()}) == 4
    assert sessions == runners


@pytest.mark.parametrize("of", ["folder", "environment"])
def test_a_command_with_other_surroundings_than_the_server_is_a_process_of_its_own(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    """Its imports may find, or read, something else; back in the server's surroundings it is a fork."""
    assert run(server, tmp_path / "a", "show") == 3
    with monkeypatch.context() as patch:
        if of == "folder":
            patch.chdir(tmp_path)
        else:
            patch.setenv("OF_SERVER", "changed")
        assert run(server, tmp_path / "b", "show") == 3
    assert run(server, tmp_path / "c", "show") == 3
    importers = [
        (tmp_path / name).read_text().split("imported by ")[1].split()[0] for name in "abc"
    ]
    assert importers[0] == importers[2] != importers[1]
    changed = None if of == "folder" else "changed"
    assert f"imported with {changed}\n" in (tmp_path / "b").read_text()


@pytest.mark.parametrize(
    ("words", "code", "log"),
    [
        (["fail"], 1, "ValueError: a fault"),
        (["leave", "4"], 4, ""),
        (["leave", "None"], 0, ""),
        (["leave", "a reason"], 1, "a reason"),
        (["thread"], 0, "the thread has ended"),
    ],
)
def test_a_fork_ends_as_a_process_does(
    server: ForkServer, tmp_path: Path, words: list[str], code: int, log: str
) -> None:
    """With a traceback in its log, or the code that it left with, once its threads have ended."""
    assert run(server, tmp_path / "log", *words) == code
    shown = (tmp_path / "log").read_text().strip()
    assert shown.endswith(log) and bool(shown) == bool(log)


def test_a_command_waits_for_its_own_module_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those behind it in the list are imported while nothing is to be started."""
    (tmp_path / "forkable.py").write_text(MODULE)
    slow = f"from pathlib import Path\nPath({str(tmp_path)!r}, 'imported').touch()\n"
    (tmp_path / "slow.py").write_text(f"import time\ntime.sleep(1)\n{slow}")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with ForkServer(["forkable", "slow"], {}) as server:
        assert run(server, tmp_path / "log", "show") == 3
        assert not (tmp_path / "imported").exists()
        while not (tmp_path / "imported").exists():
            time.sleep(0.02)
        assert run(server, tmp_path / "log", "show") == 3


def test_another_command_is_started_as_ever(server: ForkServer, tmp_path: Path) -> None:
    """A module that the server was not told of."""
    assert run(server, tmp_path / "log", "-h", module="compileall") == 0
    assert "usage" in (tmp_path / "log").read_text()
    assert not server.is_running


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


def test_a_caller_that_is_killed_while_modules_are_imported_leaves_no_server(
    server: ForkServer, tmp_path: Path
) -> None:
    """A command waits for the import of its module, in the server's socket."""
    (tmp_path / "endless.py").write_text(
        f"import time\nopen({str(tmp_path / 'importing')!r}, 'w').close()\ntime.sleep(600)\n"
    )
    code = """
import sys
from spar.fork_server import ForkServer
ForkServer(["endless"], {}).run_child([sys.executable, "-m", "endless"], None, environment={})
"""
    with subprocess.Popen([sys.executable, "-c", code]) as caller:
        while not (tmp_path / "importing").exists():
            time.sleep(0.02)
        processes = family([caller.pid])
        assert len(processes) == 2
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
