"""The child process: restricts itself, then runs one program.

`spar.sandbox.sandbox` starts it in a folder with `order.json`: the program's candidate sources, of which
the first that compiles is run, the test that follows it, the limits and a token. It reports on the original
standard output with one JSON line: how the program ended, and the token. A process that ends earlier, by
`os._exit(0)` for instance, reports no token, and has not passed.

It imports only the standard library, and as little of it as possible.
"""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Sequence
from typing import Any

from spar.sandbox.kernel import confine

ORDER = "order.json"
PROGRAM, TEST = "<program>", "<test>"
"""File names of the sources in tracebacks."""
MAX_TEXT = 200
"""Length to which an error's text is cut."""
RESERVE = 1 << 23
"""Bytes that are free to report an error with, when the program has taken all others."""

SYSTEM = ("/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/localtime")
DEVICES = ("/dev/null", "/dev/urandom", "/dev/zero")
DENIED = (
    *("socket.", "subprocess.", "ctypes.", "os.exec", "os.posix_spawn", "os.spawn", "os.system"),
    *("os.fork", "os.kill", "pty.", "signal.pthread_kill", "os.unshare", "os.setns", "syslog."),
    *("resource.setrlimit", "resource.prlimit", "gc.get_", "sys._current_frames"),
    *("sys.settrace", "sys.setprofile"),
)
"""Prefixes of the audit events that are denied."""
CHANGES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((0, None), (1, 2)),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.chflags": ((0, None),),
    "os.setxattr": ((0, None),),
    "os.removexattr": ((0, None),),
}
"""Audit event that changes files to the positions of each path, and of the descriptor that it is relative to."""
READS = ("os.listdir", "os.scandir", "os.chdir")


class Blocked(PermissionError):
    """The program tried an operation that is not allowed."""


def main() -> None:
    """Read the order, restrict this process, run the program, report."""
    with open(ORDER, encoding="utf-8") as handle:  # noqa: PTH123  pathlib is a slow import
        order = json.load(handle)
    os.remove(ORDER)  # noqa: PTH107
    report = _redirect_streams()
    folder = os.path.realpath(".")
    _set_limits(order["limits"])
    readable = _readable()
    layers = confine(readable, folder)
    _add_audit_hook(readable, folder)
    # Prepared in advance: the program may break what is needed to make it.
    passed = _json_line({"kind": "passed", "token": order["token"], "layers": layers})
    write, exit_now, dumps = os.write, os._exit, json.dumps
    ended, module = _run(order["readings"], order["test"])
    if not ended and order["result"]:
        try:
            value = module.__dict__.get(order["result"])
            passed = dumps({**json.loads(passed), "value": value}).encode("ascii") + b"\n"
        except (TypeError, ValueError) as error:
            ended = {"kind": "raised", "why": f"{type(error).__name__}: the result is no JSON"}
    write(
        report,
        _json_line({**ended, "token": order["token"], "layers": layers}) if ended else passed,
    )
    exit_now(0)  # do not wait for threads of the program


def _run(readings: Sequence[str], test: str) -> tuple[dict[str, str], types.ModuleType]:
    """Run the program and its test: {} if they reach the last line, else how they ended; and their module."""
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    sources = {PROGRAM: readings[0], TEST: test}
    # Looked up in advance, so that a program that replaces builtins or globals does not pass by that.
    run, explain, reserve = exec, _explain, bytearray(RESERVE)
    try:
        sources[PROGRAM], code = _compile_first(readings)
        # Compiled apart, so that an unterminated string of the program cannot swallow the test.
        tests = _compile(test, TEST)
        run(code, module.__dict__)  # the purpose of this process
        run(tests, module.__dict__)
    except BaseException as error:  # anything that it raises is a result
        reserve.clear()
        return explain(error, sources), module
    return {}, module


def _compile(source: str, name: str) -> types.CodeType:
    # By default this file's `from __future__ import annotations` would hold there, too: a name in an annotation
    # that is not defined raises with the original harness.
    return compile(source, name, "exec", dont_inherit=True)


def _compile_first(readings: Sequence[str]) -> tuple[str, types.CodeType]:
    *earlier, last = readings
    for source in earlier:
        try:
            return source, _compile(source, PROGRAM)
        except SyntaxError:
            continue
    return last, _compile(last, PROGRAM)


def _explain(error: BaseException, sources: dict[str, str]) -> dict[str, str]:
    if isinstance(error, MemoryError):
        return {"kind": "memory", "why": ""}
    denied = isinstance(error, PermissionError) or getattr(error, "errno", None) == 27  # EFBIG
    name, text = type(error).__name__, _error_text(error)
    why = f"{name}: {text or _last_line(error, sources)}"
    return {"kind": "blocked" if denied else "raised", "why": why[:MAX_TEXT]}


def _error_text(error: BaseException) -> str:
    try:
        return str(error)[:MAX_TEXT]
    except BaseException:  # the program's own __str__
        return ""


def _last_line(error: BaseException, sources: dict[str, str]) -> str:
    """The line that raised, for an error without a text."""
    line, step = "", error.__traceback__
    while step is not None:
        lines = sources.get(step.tb_frame.f_code.co_filename, "").split("\n")
        if 0 < step.tb_lineno <= len(lines):
            line = lines[step.tb_lineno - 1].strip() or line
        step = step.tb_next
    return line


def _json_line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"


def _redirect_streams() -> int:
    """Redirect the standard streams to the null device; returns a descriptor of the old standard output."""
    report = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
    return report


def _set_limits(limits: dict[str, int]) -> None:
    import resource  # absent on Windows, where the parent imports this module too

    seconds = limits["cpu_seconds"]
    values = {
        "RLIMIT_CPU": (seconds, seconds + 1),
        "RLIMIT_AS": (limits["memory_bytes"],) * 2,
        "RLIMIT_FSIZE": (limits["file_bytes"],) * 2,
        "RLIMIT_NOFILE": (64, 64),
        "RLIMIT_CORE": (0, 0),
    }
    for name, pair in values.items():
        try:
            resource.setrlimit(getattr(resource, name), pair)
        except (ValueError, OSError, AttributeError):
            continue  # the platform has no such limit, or a lower one


def _readable() -> list[str]:
    """Folders that an interpreter reads: its own, its libraries, and the system's."""
    own = [sys.base_prefix, sys.base_exec_prefix, *sys.path]
    paths = {os.path.realpath(path) for path in (*own, *SYSTEM, *DEVICES) if path}
    return sorted(paths - {"/"})


def _add_audit_hook(readable: Sequence[str], folder: str) -> None:
    """Let Python deny new processes, sockets and foreign files, as the kernel may not."""
    inside = (*readable, folder)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            _check(path, (folder, *DEVICES) if _writes(mode, flags) else inside)
        elif event.startswith(DENIED):
            raise Blocked(event)
        elif event in READS:
            _check(arguments[0] if arguments[0] is not None else ".", inside)
        elif event in CHANGES:
            for position, relative_to in CHANGES[event]:
                base = None if relative_to is None else arguments[relative_to]
                _check(_named(arguments[position], base), (folder,))
        elif event.startswith("shutil."):
            for argument in arguments:
                if isinstance(argument, str | bytes | os.PathLike):
                    _check(argument, (folder,))

    sys.addaudithook(hook)


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str) and set(mode) & set("wax+"):
        return True
    changing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    return isinstance(flags, int) and bool(flags & changing)


def _named(path: object, directory: object) -> str:
    """A path that may be a descriptor, or be relative to one, as text; the root where that is not known."""
    if isinstance(path, int):
        return _opened(path)
    text = os.fsdecode(path)  # type: ignore[arg-type]  # a valid argument of the call
    is_relative = isinstance(directory, int) and directory >= 0 and not os.path.isabs(text)  # noqa: PTH117  pathlib is a slow import
    return os.path.join(_opened(directory), text) if is_relative else text  # type: ignore[arg-type]  # noqa: PTH118


def _opened(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    except OSError:
        return os.sep


def _check(path: object, allowed: Sequence[str]) -> None:
    if isinstance(path, int):
        return  # a descriptor that is already open
    real = os.path.realpath(os.fsdecode(path))  # type: ignore[arg-type]  # a valid argument of open()
    if not any(real == root or real.startswith(f"{root}{os.sep}") for root in allowed):
        raise Blocked(f"open {real}")
