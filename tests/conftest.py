"""What every test shares: a closed network, one thread a process, and models that are built once.

Tests that share an expensive fixture carry the mark `xdist_group`, so that a parallel run (`make test`)
builds it in one process only. Those marked `vllm`, `ray`, `deepspeed`, `evalharness` or
`smollm2` are grouped here.
"""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is first imported
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # read once, when torch is; child processes inherit it
# Ray's workers yield to everything else by default: beside a busy test they do not get on.
os.environ.setdefault("RAY_worker_niceness", "0")

import faulthandler
import socket
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from hypothesis import settings

from tests.fixture_data import (
    data_root,
    ifbench,
    no_verifiers_of_others,
    verifiers,
)
from tests.fixture_smollm2 import smollm2
from tests.infer.fixture_vllm import (
    forked_vllm,
    tiny_vllm_model,
    vllm_engine,
    vllm_server,
    vllm_session_engine,
)
from tests.tiny import build_tiny

__all__ = [
    "data_root",
    "forked_vllm",
    "ifbench",
    "no_verifiers_of_others",
    "smollm2",
    "tiny_vllm_model",
    "verifiers",
    "vllm_engine",
    "vllm_server",
    "vllm_session_engine",
]

settings.register_profile("spar", deadline=None, max_examples=60)
settings.load_profile("spar")

_LOOPBACK = ("127.", "::1", "localhost")
_FIXTURE_MARKS = {
    "tiny_model": ("model",),
    "finished_loop": ("model", "slow"),
    "smollm2": ("smollm2", "slow"),
}
"""Fixture to the marks of the tests that use it."""
_FIXTURE_GROUPS = {"finished_loop": "loop"}
_CLEANUP_SECONDS = 120.0
"""What a test may take beyond its timeout before its process is ended."""
_MARK_GROUPS = ("vllm", "ray", "deepspeed", "evalharness", "smollm2")
"""Marks whose tests share an expensive fixture or import."""


@pytest.hookimpl(tryfirst=True)  # before tests are selected by their marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests for what they use; in a parallel run group them, the groups and slow tests first."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            for mark in _FIXTURE_MARKS.get(fixture, ()):
                item.add_marker(mark)
    if hasattr(config, "workerinput"):
        for item in items:
            if (group := _group(item)) and not item.get_closest_marker("xdist_group"):
                item.add_marker(pytest.mark.xdist_group(group))
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End a process whose test hangs where its timeout cannot reach it, in C code or while it cleans up.

    The stacks of its threads are printed. A parallel run fails and ends with it (`--max-worker-restart 0`): xdist would
    give the same test to another process, again and again.
    """
    mark = item.get_closest_marker("timeout")
    seconds = mark.args[0] if mark else float(item.config.getini("timeout"))
    stream = item.config.stash[fault_handler_stderr_fd_key]
    faulthandler.dump_traceback_later(seconds + _CLEANUP_SECONDS, exit=True, file=stream)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _group(item: pytest.Item) -> str | None:
    fixtures = [name for name in getattr(item, "fixturenames", ()) if name in _FIXTURE_GROUPS]
    if fixtures:
        return _FIXTURE_GROUPS[fixtures[0]]
    return next(filter(item.get_closest_marker, _MARK_GROUPS), None)


@pytest.fixture(autouse=True)
def closed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine."""
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of one layer, a context of 256 tokens and nano-if's tokenizer.

    It heeds its context, its distributions are peaked as a trained model's are, and one token in
    twenty ends a reply.
    """
    return build_tiny(tmp_path_factory.mktemp("tiny"))


def _guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        remote = isinstance(address, tuple) and not str(address[0]).startswith(_LOOPBACK)
        if remote:
            raise AssertionError(f"a test reached for the network: {address!r}")
        return connect(self, address)

    return guarded
