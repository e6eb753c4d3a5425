"""Runs a program that a model wrote, in a child process that can do little and never for long.

    run_program(Program(("n = 2",), "assert n == 2"))      Outcome(kind="passed", why="passed", ...)

Each program gets a fresh interpreter with the standard library alone (`python -I -S`), an empty
environment, a session and a folder of its own, which is removed afterwards, no standard streams, and
limits on processor time, wall-clock time, memory, file size and open files. It is confined twice: by the
kernel where that is Linux (`spar.eval.humaneval.kernel`: no processes, sockets or foreign files), and
everywhere by an audit hook of Python's that refuses the same. When it ends, or its time does, its whole
process group is killed.

What it is not: a boundary against a determined attacker. Program and test share one process, so a program
made for it can report its own success; the audit hook can be got around from inside the interpreter, and
where the kernel does not confine (macOS, other machines than x86_64 and aarch64) nothing else stands
behind it. Memory is not limited on macOS. Run models that you do not trust in a container or a virtual
machine all the same.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
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

from spar.errors import UsageError
from spar.eval.humaneval import child

Kind = Literal["passed", "raised", "timed out", "memory", "blocked", "ended"]
"""How a program ended: to its last line, by an error, by a limit, by a refusal, or in silence."""

MAX_REPORT = 16_384
"""Bytes of a report that are read; a longer one is none."""
GRACE_SECONDS = 1.0
"""Wait between killing a child and giving up on it."""
START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from spar.eval.humaneval.child import main; "
    "del sys.path[0], sys.argv[1]; main()"
)
ROOT = Path(__file__).parents[3]
"""The folder that holds the package spar."""


@dataclass(frozen=True, slots=True)
class Program:
    """Something to run."""

    readings: tuple[str, ...]
    """Sources, of which the first is run that Python can compile."""
    test: str = ""
    """A source that is run after it, in the same module."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use."""

    cpu_seconds: int = 3
    """Processor time, which a busy machine does not shorten."""
    wall_seconds: float = 15.0
    """Time by the clock."""
    memory_bytes: int = 1 << 29
    """Address space (Linux)."""
    file_bytes: int = 0
    """Largest file that it may write; 0 lets it make files but put nothing into them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended."""

    kind: Kind
    why: str
    """One line for a person."""
    layers: tuple[str, ...] = ()
    """What of the kernel confined it; () where nothing did, or where it left no report."""

    @property
    def passed(self) -> bool:
        """Whether it ran to its last line."""
        return self.kind == "passed"


def run_programs(programs: Sequence[Program], limits: Limits = Limits()) -> list[Outcome]:
    """Run programs, as many at once as there are processors; their outcomes in order."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(workers, thread_name_prefix="sandbox") as pool:
        return list(pool.map(lambda program: run_program(program, limits), programs))


def run_program(program: Program, limits: Limits = Limits()) -> Outcome:
    """Run one program to its end, or to that of its limits.

    Raises
    ------
    UsageError
        The platform has no limits for processes (Windows).
    """
    if os.name != "posix":
        raise UsageError(
            "running a model's code needs Linux or macOS; score the answers there with --responses"
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
    late = False
    try:
        report = _read(process, deadline)
        late = time.monotonic() >= deadline
    finally:
        _kill(process)
    said = _parsed(report, token)
    if said:
        return _reported(said, limits)
    return _silent(process.returncode, limits, late=late)


def _read(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """The report: up to a line's end, the pipe's, the deadline or the limit of its length."""
    assert process.stdout is not None
    pipe, report = process.stdout.fileno(), b""
    while len(report) <= MAX_REPORT and not report.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            break
        part = os.read(pipe, MAX_REPORT + 1)
        if not part:
            break
        report += part
    return report


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the child and its whole group. One that has ended by itself keeps its exit code."""
    assert process.stdout is not None
    # Not reaped yet, so the number is still its own.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)


def _parsed(report: bytes, token: str) -> dict[str, Any]:
    """The child's report; {} where there is none, or one that does not know the token."""
    try:
        said = json.loads(report)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) and said.get("token") == token else {}


def _reported(said: dict[str, Any], limits: Limits) -> Outcome:
    layers, why = tuple(said["layers"]), _one_line(str(said.get("why", "")))
    match said["kind"]:
        case "passed":
            return Outcome("passed", "passed", layers)
        case "memory":
            return Outcome(
                "memory", f"out of memory (limit {limits.memory_bytes >> 20} MiB)", layers
            )
        case "blocked":
            return Outcome("blocked", f"blocked: {why}", layers)
        case _:
            return Outcome("raised", why, layers)


def _silent(code: int | None, limits: Limits, *, late: bool) -> Outcome:
    if late:
        return Outcome("timed out", f"timed out after {limits.wall_seconds:g} s")
    if code == -signal.SIGXCPU:
        return Outcome("timed out", f"timed out after {limits.cpu_seconds} s of processor time")
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"left with {code}"
    return Outcome("ended", f"{how} before the tests were over")


def _one_line(text: str) -> str:
    """Text of a model's making, fit for a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)[: child.MAX_TEXT]


def _remove(folder: Path) -> None:
    """Delete a folder, whatever rights a program left in it; a symbolic link is never followed."""
    for parent, names, _ in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
