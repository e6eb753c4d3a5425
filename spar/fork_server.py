"""Runs `python -m MODULE` as a fork of a process that has imported the module, so that it starts at once.

    with ForkServer(["spar.worker", "trl"], {"OMP_NUM_THREADS": "1"}) as server:
        code = server.run_child([sys.executable, "-m", "spar.worker", "order.json"], log, environment={})

Importing torch, transformers and TRL takes about ten seconds of a core, more than a stage of a small model. Each fork is a
process of its own all the same: its memory is free after it, and nothing that it changes reaches another.

The server computes nothing, and has no thread of Python's when it forks, which makes its forks safe: threads that native
libraries start when they are loaded (OpenBLAS, pyarrow's jemalloc) are prepared for a fork by these. `multiprocessing` has a
fork server too; its processes import the caller's script again, and starting one cannot be interrupted while the server imports.
For Linux, and for machines without a GPU, whose driver does not survive a fork.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn, Self

from spar.subprocesses import GRACE_SECONDS, TICK_SECONDS, end_child, kill_children, run_child

_MESSAGE_BYTES = 1 << 16
_POLL_SECONDS = 0.05
_DIED = -signal.SIGKILL
"""Exit code of a process whose server has died; it has been killed."""


class ForkServer:
    """Starts its process with the first child, and ends it with `close`; children may be run from several threads."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        """Prepare; starts nothing.

        Parameters
        ----------
        modules:
            What the server imports in this order, as far as it is installed. A command waits for its own module; those
            behind that are imported while nothing is to be started.
        environment:
            Variables of the server, which the modules read when they are imported; a child has those of the caller.
        """
        self._modules, self._environment = tuple(modules), dict(environment)
        self._lock = threading.Lock()
        self._surroundings: tuple[str, dict[str, str]] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def run_child(
        self,
        parts: Sequence[str],
        stream: IO[bytes] | None,
        *,
        environment: Mapping[str, str],
        tick: Callable[[], None] = lambda: None,
    ) -> int:
        """As `spar.subprocesses.run_child`.

        A command is started as there where a fork would differ: one other than `python -m` one of the modules, and any once
        the folder or the environment of this process is not what it was when the server started.
        """
        if (*parts[:2],) != (sys.executable, "-m") or parts[2] not in self._modules:
            return run_child(parts, stream, environment=environment, tick=tick)
        if self.is_running and self._surroundings != _surroundings():
            return run_child(parts, stream, environment=environment, tick=tick)
        own = {name: os.environ.get(name) for name in self._environment}
        order = {
            "module": parts[2],
            "arguments": parts[3:],
            "environment": {**own, **environment},
        }
        output = (stream or sys.stderr).fileno()
        stdin, stdin_end = os.pipe()
        status, status_end = os.pipe()
        child = _Child(status)
        try:
            try:
                self._send(json.dumps(order).encode(), [stdin, output, status_end])
            finally:
                os.close(stdin)
                os.close(status_end)
            while child.code is None:
                if not child.read(TICK_SECONDS):
                    tick()
            return child.code
        finally:
            os.close(stdin_end)  # one that is not forked yet ends by this
            child.end()
            os.close(status)

    @property
    def is_running(self) -> bool:
        """Whether the server was started, and not ended yet."""
        return self._process is not None

    def close(self) -> None:
        """End the server; the children must have ended."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            if self._process is not None:
                end_child(self._process)
            self._channel = self._process = None

    def _send(self, message: bytes, descriptors: Sequence[int]) -> None:
        with self._lock:
            if self._channel is None:
                self._channel = self._start()
            with suppress(BrokenPipeError, ConnectionResetError):  # `status` then says that it died
                socket.send_fds(self._channel, [message], descriptors)

    def _start(self) -> socket.socket:
        self._surroundings = _surroundings()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), *self._modules],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # what imports print; a child has its own log
                stderr=subprocess.DEVNULL,
                env={**os.environ, **self._environment},
                start_new_session=True,  # Ctrl-C reaches the caller only
            )
        return ours


class _Child:
    """A process of the server as its caller sees it."""

    def __init__(self, status: int) -> None:
        self.code: int | None = None
        self._status, self._text, self._pid = status, "", 0

    def read(self, seconds: float) -> bool:
        """Wait for news at most so long; whether there was any."""
        if not select.select([self._status], [], [], seconds)[0]:
            return False
        data = os.read(self._status, _MESSAGE_BYTES)
        self._text += data.decode()
        pid, _, code = self._text.partition("\n")
        self._pid = int(pid or 0)
        if code.endswith("\n") or not data:
            self.code = int(code) if code else _DIED
        return True

    def end(self) -> None:
        """End it and its process group: SIGTERM, then SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._pid:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, number)
            while self._pid and self.code is None and self.read(GRACE_SECONDS):
                pass
            if self.code is not None or not self._pid:
                return


def main(arguments: Sequence[str]) -> int:
    """The server; in a fork of it, the module that it was asked to run. Returns the exit code."""
    number, *modules = arguments
    with socket.socket(fileno=int(number)) as channel:
        order = _serve(channel, modules)
    if order is None:
        kill_children()
        return 0
    sys.argv = [order["module"], *order["arguments"]]
    return _end_of_fork(lambda: int(import_module(order["module"]).main(order["arguments"])))


def _serve(channel: socket.socket, modules: list[str]) -> dict[str, Any] | None:
    """Import the modules and fork a child for each message, whose order is returned in the child; None once the caller is gone."""
    running: dict[int, int] = {}
    while True:
        seconds = 0 if modules else _POLL_SECONDS if running else None
        ready, _, _ = select.select([channel], [], [], seconds)
        if ready:
            message, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 3)
            if not message:
                return None
            order: dict[str, Any] = json.loads(message)
            while order["module"] in modules:
                _import(modules.pop(0), channel, running)
            pid = os.fork()
            if not pid:
                for status in running.values():
                    os.close(status)
                _become(order, *descriptors)
                return order
            stdin, output, status = descriptors
            os.close(stdin)
            os.close(output)
            running[pid] = status
            _report(status, pid)
        elif modules:
            _import(modules.pop(0), channel, running)
        _report_ended(running)


def _import(name: str, channel: socket.socket, running: dict[int, int]) -> None:
    """Import a module, and do meanwhile what cannot wait; leaves no thread behind."""
    imported = threading.Event()

    def watch() -> None:
        poll = select.poll()
        poll.register(channel, 0)  # a hang-up is reported whatever is asked for
        while not imported.wait(_POLL_SECONDS):
            if poll.poll(0):  # the caller is gone
                kill_children()
                os._exit(0)
            _report_ended(running)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        with suppress(Exception):  # the child that needs it says so
            import_module(name)
    finally:
        imported.set()
        thread.join()
    gc.freeze()  # so that collections in forks do not copy the pages that they share


def _report_ended(running: dict[int, int]) -> None:
    for pid, status in list(running.items()):
        ended, result = os.waitpid(pid, os.WNOHANG)
        if ended:
            _report(status, os.waitstatus_to_exitcode(result))
            os.close(running.pop(pid))


def _become(order: Mapping[str, Any], stdin: int, output: int, status: int) -> None:
    """Make a fork what a process that was started for the order would be."""
    os.setsid()
    os.close(status)
    for descriptor, numbers in ((stdin, (0,)), (output, (1, 2))):
        for number in numbers:
            os.dup2(descriptor, number)
        os.close(descriptor)
    for name, value in order["environment"].items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def _surroundings() -> tuple[str, dict[str, str]]:
    """What a process has of its parent."""
    return str(Path.cwd()), dict(os.environ)


def _end_of_fork(run: Callable[[], int]) -> NoReturn:
    """Leave with the exit code of a function as an interpreter would, without freeing its objects one by one: that takes seconds."""
    code = 1
    try:
        code = run()
    except SystemExit as leaving:
        code = _exit_code(leaving.code)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as an interpreter does before that
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _exit_code(code: object) -> int:
    """The exit code of a process that leaves by `sys.exit` with this value."""
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


def _report(status: int, number: int) -> None:
    with suppress(BrokenPipeError):  # the caller does not wait any more
        os.write(status, f"{number}\n".encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
