"""vLLM's own talk, kept away from the person's terminal but kept: a failure's reason is in it.

vLLM runs the model in child processes that inherit standard output and error. While they start, both
lead to a nameless file, for good in the children, for that moment in this process; `restore` gives
them back at once to a program that ends in between. Whoever sets `VLLM_LOGGING_LEVEL` to anything but
ERROR wants to read it all: then nothing is diverted.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_RAISED = re.compile(r"^(?:\([^)]*\) )?(?:[\w.]*\.)?\w*(?:Error|Exception): (.+)$", re.MULTILINE)
_RELAYED = re.compile(r"^Worker failed with error '(.*)', please check .*$")
_TAIL = 64 * 1024


@dataclass(slots=True)
class _Outlets:
    """Where standard output and error led before they were diverted."""

    users: int = 0
    """Diversions under way; the last to end gives back what the first took."""
    saved: dict[int, int] = field(default_factory=dict)
    """Descriptor to a copy of it; empty where nothing is diverted."""


_outlets = _Outlets()
_lock = threading.RLock()


def open_log() -> IO[bytes] | None:
    """A file for vLLM's talk; None where the person asked to read it. Sets what is unset of vLLM's
    variables, so it comes before vLLM is imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    quiet = os.environ["VLLM_LOGGING_LEVEL"] == _ENVIRONMENT["VLLM_LOGGING_LEVEL"]
    return tempfile.TemporaryFile() if quiet else None


@contextlib.contextmanager
def diverted(log: IO[bytes] | None) -> Iterator[None]:
    """Standard output and error lead to the log, for child processes too that start meanwhile; what
    vLLM's own imports warn of is nothing that the person could mend."""
    if log is None:
        yield
        return
    _divert(log)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        _end_diversion()


def restore() -> None:
    """Standard output and error lead to where they led at first, whatever is still being loaded."""
    with _lock:
        for descriptor, copy in _outlets.saved.items():
            os.dup2(copy, descriptor)
            os.close(copy)
        _outlets.saved = {}


def _divert(log: IO[bytes]) -> None:
    _flush()
    with _lock:
        _outlets.users += 1
        if not _outlets.saved:
            _outlets.saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
        for descriptor in _outlets.saved:
            os.dup2(log.fileno(), descriptor)


def _end_diversion() -> None:
    _flush()
    with _lock:
        _outlets.users -= 1
        if not _outlets.users:
            restore()


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def reason(log: IO[bytes] | None) -> str:
    """The last error that a child process wrote down, in one line; "" where there is none."""
    if log is None:
        return ""
    size = os.fstat(log.fileno()).st_size
    tail = os.pread(log.fileno(), _TAIL, max(0, size - _TAIL)).decode("utf-8", "replace")
    raised = _RAISED.findall(tail)
    if not raised:
        return ""
    relayed = _RELAYED.match(raised[-1])
    return relayed[1] if relayed else raised[-1]
