"""vLLM's talk: kept away from the terminal, read for reasons, and no hindrance to a program's last word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spar.infer.engines.vllm import log_capture as quiet


def test_the_reason_is_the_last_error_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's error that another process relays is unwrapped."""
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    log = quiet.open_log()
    assert log is not None
    with log:
        assert quiet.reason(log) == ""
        log.write(b"(Worker pid=1) ERROR [a.py:1] KeyError: inner\n")
        log.write(b"Traceback (most recent call last):\nValueError: too small\n")
        log.flush()
        assert quiet.reason(log) == "too small"
        log.write(b"RuntimeError: Worker failed with error 'no room', please check the stack\n")
        log.flush()
        assert quiet.reason(log) == "no room"


def test_whoever_wants_to_read_vllm_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log level of the person's own leaves the output where it is."""
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "INFO")
    assert quiet.open_log() is None


def test_output_is_diverted_for_children_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a child prints in between lands in the log, what follows on the terminal."""
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    log = quiet.open_log()
    assert log is not None
    with log:
        with quiet.diverted(log):
            subprocess.run([sys.executable, "-c", "print('hidden')"], check=True)
        os.write(1, b"shown")
        assert capfd.readouterr().out == "shown"
        assert os.pread(log.fileno(), 99, 0) == b"hidden\n"


def test_output_can_be_given_back_in_the_middle(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A program that ends while one of two models loads can still speak, and the end of loading harms
    nothing."""
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    first, second = quiet.open_log(), quiet.open_log()
    assert first is not None
    assert second is not None
    before = list(Path("/dev/fd").iterdir())
    with first, second:
        with quiet.diverted(first), quiet.diverted(second):
            os.write(2, b"hidden")
            quiet.restore()
            os.write(2, b"shown")
            quiet.restore()
        os.write(2, b", still")
        with quiet.diverted(first):
            os.write(1, b"hidden again")
        assert os.pread(first.fileno(), 99, 0) == b"hidden again"
        assert os.pread(second.fileno(), 99, 0) == b"hidden"
        assert len(list(Path("/dev/fd").iterdir())) == len(before)
    assert capfd.readouterr() == ("", "shown, still")


def test_the_last_of_two_models_gives_the_output_back(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two threads load at once, and the one that began first ends first."""
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    log = quiet.open_log()
    assert log is not None
    with log:
        one, two = quiet.diverted(log), quiet.diverted(log)
        for entered in (one, two):
            entered.__enter__()
        one.__exit__(None, None, None)
        os.write(1, b"hidden")
        two.__exit__(None, None, None)
        os.write(1, b"shown")
    assert capfd.readouterr().out == "shown"
