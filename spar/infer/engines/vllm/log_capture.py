"""Captures vLLM's log output: it stays off the terminal, and the reason of a failure is read from it.

vLLM runs the model in child processes that inherit standard output and standard error. While they start,
both are redirected to a temporary file: permanently in the children, and for that moment in this process.
`restore_stdio` undoes this at once; it is registered to run before the program reports an error. Nothing
is captured if `VLLM_LOGGING_LEVEL` is set to anything but ERROR.
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

from spar.shutdown import on_shutdown

_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    # A fork of this process would have its locks and a part of its threads.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_EXCEPTION = re.compile(r"^(?:\([^)]*\) )?(?:[\w.]*\.)?\w*(?:Error|Exception): (.+)$", re.MULTILINE)
_WORKER_FAILURE = re.compile(r"^Worker failed with error '(.*)', please check .*$")
_TAIL_BYTES = 64 * 1024
_SPLIT = (
    "split the model over several GPUs with --engine-arg tensor_parallel_size=2, or choose a smaller or "
    "a quantized one"
)
_NEXT_STEPS = {
    "Free memory on device": (
        "another process holds memory of this GPU (nvidia-smi lists them): end it, choose another GPU with "
        "CUDA_VISIBLE_DEVICES, or take a smaller share with --engine-arg gpu_memory_utilization=0.5"
    ),
    "Error in memory profiling": (
        "another process on this GPU took or freed memory while this one started: start it again, or fix its "
        "share with --engine-arg kv_cache_memory_bytes=8000000000, which needs no measuring"
    ),
    "max seq len": (
        "shorten the context with --engine-arg max_model_len=8192, or split the model over several "
        "GPUs with --engine-arg tensor_parallel_size=2"
    ),
    "out of memory": _SPLIT,
    "No available memory for the cache": _SPLIT,
}
"""Words of vLLM's or torch's message to what helps."""


@dataclass(slots=True)
class _Redirection:
    """State of standard output and standard error of this process."""

    depth: int = 0
    """`captured` blocks that are active; the last to end restores the streams."""
    saved: dict[int, int] = field(default_factory=dict)
    """File descriptor to a duplicate of it; empty while nothing is redirected."""


_redirection = _Redirection()
_lock = threading.RLock()


def open_log() -> IO[bytes] | None:
    """Open a temporary file for vLLM's output; None if the user wants to see that output.

    Sets those of vLLM's environment variables that are unset, so call it before vLLM is imported.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    quiet = os.environ["VLLM_LOGGING_LEVEL"] == _ENVIRONMENT["VLLM_LOGGING_LEVEL"]
    return tempfile.TemporaryFile() if quiet else None


@contextlib.contextmanager
def captured(log: IO[bytes] | None) -> Iterator[None]:
    """Redirect standard output and standard error to the log, also for child processes started meanwhile.

    Warnings are ignored too: those of vLLM's own imports are not the user's to fix.
    """
    if log is None:
        yield
        return
    _flush()
    with _lock:
        _redirection.depth += 1
        if not _redirection.saved:
            _redirection.saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
        for descriptor in _redirection.saved:
            os.dup2(log.fileno(), descriptor)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        _flush()
        with _lock:
            _redirection.depth -= 1
            if not _redirection.depth:
                restore_stdio()


@on_shutdown
def restore_stdio() -> None:
    """Restore standard output and standard error, even while a model is still loading."""
    with _lock:
        for descriptor, copy in _redirection.saved.items():
            os.dup2(copy, descriptor)
            os.close(copy)
        _redirection.saved = {}


def failure_reason(log: IO[bytes] | None) -> str:
    """The message of the last exception in the log, on one line; "" if there is none."""
    if log is None:
        return ""
    size = os.fstat(log.fileno()).st_size
    tail = os.pread(log.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode(
        "utf-8", "replace"
    )
    messages = _EXCEPTION.findall(tail)
    if not messages:
        return ""
    relayed = _WORKER_FAILURE.match(messages[-1])
    return relayed[1] if relayed else messages[-1]


def is_memory_held(reason: str) -> bool:
    """Whether vLLM failed to load because of other processes that use the memory, which may end."""
    return any(sign in reason for sign in ("Free memory on device", "Error in memory profiling"))


def next_step(reason: str) -> str:
    """What to do about a failure to load, for the end of its message."""
    for sign, step in _NEXT_STEPS.items():
        if sign in reason:
            return step
    return "change how it is loaded with --engine-arg NAME=VALUE, or use --engine hf"


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
