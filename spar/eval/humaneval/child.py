"""Runs one program in a process of its own, after giving up all that the program has no need of.

`spar.eval.humaneval.sandbox` starts it in an empty folder that holds `order.json`: the program's
readings, of which the first that compiles is run, the test that comes after it, the limits and a token.
It answers with one JSON line on what was standard output: how the program ended, and the token, which
stands for having come to the test's last line. Whatever ends the process before then, `os._exit(0)`
included, leaves no token.

It imports the standard library only, and as little of it as it can.
"""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Sequence
from typing import Any

from spar.eval.humaneval.kernel import confine

ORDER = "order.json"
PROGRAM, TEST = "<program>", "<test>"
"""Names of the sources in tracebacks."""
MAX_TEXT = 200
"""Most characters of an error's text."""

SYSTEM = ("/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/localtime")
DEVICES = ("/dev/null", "/dev/urandom", "/dev/zero")
REFUSED = (
    *("socket.", "subprocess.", "ctypes.", "os.exec", "os.posix_spawn", "os.spawn", "os.system"),
    *("os.fork", "os.kill", "pty.", "signal.pthread_kill", "os.unshare", "os.setns", "syslog."),
    *("resource.setrlimit", "resource.prlimit", "gc.get_", "sys._current_frames"),
)
"""Beginnings of the names of audit events that end in a refusal."""
CHANGES = (
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.utime", "os.chflags", "os.setxattr", "os.removexattr", "shutil."),
)
"""Beginnings of the names of audit events that change files."""
READS = ("os.listdir", "os.scandir", "os.chdir")


class Blocked(PermissionError):
    """The program asked for something that it may not do."""


def main() -> None:
    """Read the order, confine this process, run the program, report."""
    with open(ORDER, encoding="utf-8") as handle:  # noqa: PTH123  pathlib is a slow import
        order = json.load(handle)
    os.remove(ORDER)  # noqa: PTH107
    report = _silence()
    folder = os.path.realpath(".")
    _limit(order["limits"])
    readable = _readable()
    layers = confine(readable, folder)
    _watch(readable, folder)
    # Made ready beforehand: the program may spoil what making it needs.
    passed = _line({"kind": "passed", "token": order["token"], "layers": layers})
    write, leave = os.write, os._exit
    ended = _run(order["readings"], order["test"])
    write(report, _line({**ended, "token": order["token"], "layers": layers}) if ended else passed)
    leave(0)  # threads of the program must not hold us up


def _run(readings: Sequence[str], test: str) -> dict[str, str]:
    """Run the program and its test to the end; {} where they get there, else how they ended before."""
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    sources = {PROGRAM: readings[0], TEST: test}
    try:
        sources[PROGRAM], code = _compiled(readings)
        # Apart from each other, so that an open string of the program's cannot swallow the test.
        for part in (code, compile(test, TEST, "exec")):
            exec(part, module.__dict__)  # what this process is for
    except BaseException as error:  # whatever it raises is a result
        return _explain(error, sources)
    return {}


def _compiled(readings: Sequence[str]) -> tuple[str, types.CodeType]:
    *early, last = readings
    for source in early:
        try:
            return source, compile(source, PROGRAM, "exec")
        except SyntaxError:
            continue
    return last, compile(last, PROGRAM, "exec")


def _explain(error: BaseException, sources: dict[str, str]) -> dict[str, str]:
    if isinstance(error, MemoryError):
        return {"kind": "memory", "why": ""}
    refused = isinstance(error, PermissionError) or getattr(error, "errno", None) == 27  # EFBIG
    name, text = type(error).__name__, _text_of(error)
    why = f"{name}: {text or _last_line(error, sources)}"
    return {"kind": "blocked" if refused else "raised", "why": why[:MAX_TEXT]}


def _text_of(error: BaseException) -> str:
    try:
        return str(error)[:MAX_TEXT]
    except BaseException:  # the program's own __str__
        return ""


def _last_line(error: BaseException, sources: dict[str, str]) -> str:
    """The line that raised, where the error says no more than its name."""
    found, step = "", error.__traceback__
    while step is not None:
        lines = sources.get(step.tb_frame.f_code.co_filename, "").split("\n")
        if 0 < step.tb_lineno <= len(lines):
            found = lines[step.tb_lineno - 1].strip() or found
        step = step.tb_next
    return found


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"


def _silence() -> int:
    """Send the standard streams nowhere; returns a descriptor of what was standard output."""
    report = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    return report


def _limit(limits: dict[str, int]) -> None:
    import resource  # not on Windows, where the parent imports this module all the same

    seconds = limits["cpu_seconds"]
    wanted = {
        "RLIMIT_CPU": (seconds, seconds + 1),
        "RLIMIT_AS": (limits["memory_bytes"],) * 2,
        "RLIMIT_FSIZE": (limits["file_bytes"],) * 2,
        "RLIMIT_NOFILE": (64, 64),
        "RLIMIT_CORE": (0, 0),
    }
    for name, pair in wanted.items():
        try:
            resource.setrlimit(getattr(resource, name), pair)
        except (ValueError, OSError, AttributeError):
            continue  # a platform without it, or one whose own limit is lower


def _readable() -> list[str]:
    """What an interpreter reads while it runs: itself, its libraries, and the system's."""
    own = [sys.base_prefix, sys.base_exec_prefix, *sys.path]
    found = {os.path.realpath(path) for path in (*own, *SYSTEM, *DEVICES) if path}
    return sorted(found - {"/"})


def _watch(readable: Sequence[str], folder: str) -> None:
    """Have Python refuse what the kernel may not: processes, sockets, files that are not ours."""
    inside = (*readable, folder)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            _check(path, (folder, *DEVICES) if _writes(mode, flags) else inside)
        elif event.startswith(REFUSED):
            raise Blocked(event)
        elif event in READS:
            _check(arguments[0] if arguments[0] is not None else ".", inside)
        elif event.startswith(CHANGES):
            for argument in arguments:
                if isinstance(argument, str | bytes | os.PathLike):
                    _check(argument, (folder,))

    sys.addaudithook(hook)


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str) and set(mode) & set("wax+"):
        return True
    changing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    return isinstance(flags, int) and bool(flags & changing)


def _check(path: object, allowed: Sequence[str]) -> None:
    if isinstance(path, int):
        return  # a descriptor that is open already
    real = os.path.realpath(os.fsdecode(path))  # type: ignore[arg-type]  # what open() took
    if not any(real == one or real.startswith(f"{one}{os.sep}") for one in allowed):
        raise Blocked(f"open {real}")
