"""Runs a program that a model wrote in a restricted child process with resource limits.

    run_program(Program(("n = 2",), "assert n == 2"))      Outcome(kind="passed", why="passed", ...)

Each program runs in a fresh interpreter with only the standard library (`python -I -S`), an empty environment,
its own session and temporary folder, no standard streams, and limits on CPU time, wall-clock time, memory, file
size and open files. It is restricted twice: on Linux by the kernel (`spar.sandbox.kernel`: no new
processes, no sockets, no files outside its folder), and on every platform by a Python audit hook that denies the
same operations. When the program ends or times out, its whole process group is killed.

Why it is our own: scoring HumanEval must work where spar works, on a laptop or a cluster node without root,
Docker or bubblewrap, and generated code is often wrong in ways that damage a machine by accident: endless loops,
unbounded memory, deleted files. The executors that evaluation harnesses ship either need a container runtime or
run the code with a timeout only.

What it is not: a security boundary. Program and test share a process, so a program written to cheat can report
its own success, however its channel is hidden: a score of code that means to cheat is worth nothing. The audit hook can be circumvented from inside the interpreter, and on platforms without the
kernel's restrictions (macOS; machines other than x86_64 and aarch64) it is the only layer. macOS does not limit
memory. For a model that you do not trust, run spar in a container or a virtual machine.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from spar.cores import usable_cores
from spar.errors import UsageError
from spar.sandbox import child

Kind = Literal["passed", "raised", "timed out", "memory", "blocked", "ended"]
"""How a program ended: it passed, raised, hit a limit, was denied an operation, or ended without a report."""

MAX_REPORT_BYTES = 16_384
"""Largest report; a longer one is ignored."""
GRACE_SECONDS = 1.0
"""How long to wait for a killed child."""
START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from spar.sandbox.child import main; "
    "del sys.path[0], sys.argv[1]; main()"
)
ROOT = Path(__file__).parents[2]
"""The folder of the package spar."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program and its test."""

    readings: tuple[str, ...]
    """Candidate sources; the first that compiles is run."""
    test: str = ""
    """Source that is run after it in the same module."""
    result: str = ""
    """A variable of the module to report once it has passed, as JSON; "" for none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of one program."""

    cpu_seconds: int = 3
    """CPU time, which does not depend on the load of the machine."""
    wall_seconds: float = 15.0
    """Wall-clock time."""
    memory_bytes: int = 1 << 29
    """Address space (Linux)."""
    file_bytes: int = 0
    """Largest file that it may write; with 0 it can create only empty files."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended."""

    kind: Kind
    why: str
    """A human-readable line."""
    layers: tuple[str, ...] = ()
    """The kernel's restrictions that applied; () if there were none, or no report."""
    value: Any = None
    """The variable that was to be reported; None where the program did not pass."""

    @property
    def passed(self) -> bool:
        """Whether it ran to its last line."""
        return self.kind == "passed"


def run_programs(programs: Sequence[Program], limits: Limits = Limits()) -> list[Outcome]:
    """Run programs, one per CPU at a time; returns their outcomes in order."""
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="sandbox") as pool:
        return list(pool.map(lambda program: run_program(program, limits), programs))


def run_program(program: Program, limits: Limits = Limits()) -> Outcome:
    """Run one program until it ends or exceeds a limit.

    Raises
    ------
    UsageError
        The platform has no process limits (Windows).
    """
    if os.name != "posix":
        raise UsageError(
            "running generated code needs Linux or macOS; score the answers there with --responses"
        )
    folder = Path(tempfile.mkdtemp(prefix="spar-program-"))
    try:
        return _run_in(folder, program, limits)
    finally:
        _remove(folder)


def _run_in(folder: Path, program: Program, limits: Limits) -> Outcome:
    token = secrets.token_hex(16)
    order = {**asdict(program), "token": token, "limits": asdict(limits)}
    (folder / child.ORDER).write_text(json.dumps(order), encoding="ascii")
    deadline = time.monotonic() + limits.wall_seconds
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", START, str(ROOT)],
        cwd=folder,
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    timed_out = False
    try:
        report = _read(process, deadline)
        timed_out = time.monotonic() >= deadline
    finally:
        _kill(process)
    parsed = _parse_report(report, token)
    if parsed:
        return _reported_outcome(parsed, limits)
    return _unreported_outcome(process.returncode, limits, timed_out=timed_out)


def _read(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """The report: up to a line break, the end of the pipe, the deadline, or the largest size."""
    assert process.stdout is not None
    pipe, report = process.stdout.fileno(), b""
    while len(report) <= MAX_REPORT_BYTES and not report.endswith(b"\n"):
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not select.select([pipe], [], [], remaining)[0]:
            break
        part = os.read(pipe, MAX_REPORT_BYTES + 1)
        if not part:
            break
        report += part
    return report


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and its process group; a child that has exited keeps its exit code."""
    assert process.stdout is not None
    # The child is not reaped yet, so the process id is still its own.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)


def _parse_report(report: bytes, token: str) -> dict[str, Any]:
    """The child's report; {} if there is none, or one with another token."""
    try:
        parsed = json.loads(report)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) and parsed.get("token") == token else {}


def _reported_outcome(report: dict[str, Any], limits: Limits) -> Outcome:
    layers, why = tuple(report["layers"]), _one_line(str(report.get("why", "")))
    match report["kind"]:
        case "passed":
            return Outcome("passed", "passed", layers, report.get("value"))
        case "memory":
            return Outcome(
                "memory", f"out of memory (limit {limits.memory_bytes >> 20} MiB)", layers
            )
        case "blocked":
            return Outcome("blocked", f"blocked: {why}", layers)
        case _:
            return Outcome("raised", why, layers)


def _unreported_outcome(code: int | None, limits: Limits, *, timed_out: bool) -> Outcome:
    if timed_out:
        return Outcome("timed out", f"timed out after {limits.wall_seconds:g} s")
    if code == -signal.SIGXCPU:
        return Outcome("timed out", f"timed out after {limits.cpu_seconds} s of CPU time")
    how = f"killed by signal {-code}" if code is not None and code < 0 else f"exited with {code}"
    return Outcome("ended", f"{how} before the tests ended")


def _one_line(text: str) -> str:
    """Generated text, made safe for a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)[: child.MAX_TEXT]


def _remove(folder: Path) -> None:
    """Delete a folder, whatever a program made of it; what cannot be deleted stays, and symbolic links are not followed.

    A folder in a folder is moved up before it is opened, so that neither depth nor the length of a path matters.
    """
    waiting, names = [folder], (f"{secrets.token_hex(8)}-{n}" for n in itertools.count())
    while waiting:
        directory = waiting.pop()
        with suppress(OSError):
            directory.chmod(0o700)
            for entry in list(os.scandir(directory)):
                with suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        Path(entry.path).unlink()
                        continue
                    Path(entry.path).chmod(0o700)
                    waiting.append(Path(entry.path).rename(folder / next(names)))
            if directory != folder:
                directory.rmdir()
    with suppress(OSError):
        folder.rmdir()
