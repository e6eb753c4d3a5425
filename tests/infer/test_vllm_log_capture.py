"""Capturing vLLM's output: it stays off the terminal, failures are read from it, and it can be undone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spar.infer.engines.vllm.log_capture import (
    captured,
    failure_reason,
    is_memory_held,
    next_step,
    open_log,
    restore_stdio,
)
from spar.shutdown import run_shutdown_callbacks


def test_failure_reason_is_the_last_exception_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of a worker that another process relays is unwrapped."""
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    log = open_log()
    assert log is not None
    with log:
        assert failure_reason(log) == ""
        log.write(b"(Worker pid=1) ERROR [a.py:1] KeyError: inner\n")
        log.write(b"Traceback (most recent call last):\nValueError: too small\n")
        log.flush()
        assert failure_reason(log) == "too small"
        log.write(b"RuntimeError: Worker failed with error 'no room', please check the stack\n")
        log.flush()
        assert failure_reason(log) == "no room"


def test_nothing_is_captured_with_another_log_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log level set by the user leaves the output on the terminal."""
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "INFO")
    assert open_log() is None


def test_output_of_children_is_captured_and_stdio_restored(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a child prints inside the block goes to the log, what is printed after it to the terminal."""
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    log = open_log()
    assert log is not None
    with log:
        with captured(log):
            subprocess.run([sys.executable, "-c", "print('hidden')"], check=True)
        os.write(1, b"shown")
        assert capfd.readouterr().out == "shown"
        assert os.pread(log.fileno(), 99, 0) == b"hidden\n"


def test_stdio_can_be_restored_inside_nested_blocks(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A program that exits while one of two models loads can still print; the blocks then end cleanly."""
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    first, second = open_log(), open_log()
    assert first is not None
    assert second is not None
    before = list(Path("/dev/fd").iterdir())
    with first, second:
        with captured(first), captured(second):
            os.write(2, b"hidden")
            run_shutdown_callbacks()
            os.write(2, b"shown")
            restore_stdio()
        os.write(2, b", still")
        with captured(first):
            os.write(1, b"hidden again")
        assert os.pread(first.fileno(), 99, 0) == b"hidden again"
        assert os.pread(second.fileno(), 99, 0) == b"hidden"
        assert len(list(Path("/dev/fd").iterdir())) == len(before)
    assert capfd.readouterr() == ("", "shown, still")


def test_the_last_of_two_overlapping_blocks_restores_stdio(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two threads load at once, and the one that started first finishes first."""
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    log = open_log()
    assert log is not None
    with log:
        first, second = captured(log), captured(log)
        for block in (first, second):
            block.__enter__()
        first.__exit__(None, None, None)
        os.write(1, b"hidden")
        second.__exit__(None, None, None)
        os.write(1, b"shown")
    assert capfd.readouterr().out == "shown"


HELD = (
    "Free memory on device cuda:0 (5.0/79.1 GiB) on startup is less than desired GPU memory utilization "
    "(0.9, 71.2 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
)


@pytest.mark.parametrize(
    ("reason", "step", "held"),
    [
        (HELD, "gpu_memory_utilization=", True),
        ("Error in memory profiling. Initial free memory 24.8 GiB", "kv_cache_memory_bytes=", True),
        (
            "To serve at least one request with the models's max seq len (131072)",
            "max_model_",
            False,
        ),
        ("CUDA out of memory. Tried to allocate 2.00 GiB.", "tensor_parallel_size=", False),
        ("No available memory for the cache blocks.", "tensor_parallel_size=", False),
        ("No common block size for 16", "--engine-arg NAME=VALUE", False),
    ],
)
def test_a_failure_names_the_next_step(reason: str, step: str, held: bool) -> None:
    """Of a lack of memory, by what takes it; what others hold may be free at the next attempt."""
    assert step in next_step(reason)
    assert is_memory_held(reason) == held
