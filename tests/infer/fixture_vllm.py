"""Engines and servers on vLLM that tests share, since opening one takes half a minute.

The root `conftest.py` provides them to every test.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from spar.config import load_decode
from spar.embedded import CHECKPOINT
from spar.errors import EngineError
from spar.infer.engine import Completion, Continuation, Deployment, Engine, Likelihood, Request
from spar.infer.engine_wrappers import EngineWrapper
from tests.tiny import build_tiny
from tests.vllm_fork import fork_processes

_START_SECONDS = 240
_ONE_LINE = {"backend": "xgrammar", "disable_any_whitespace": True}
EAGER = {"enforce_eager": True, "kv_cache_memory_bytes": 1 << 28, "max_num_seqs": 16}
"""No compilation, little memory."""


def require_vllm() -> None:
    """Skip the test if vLLM is not installed; imports nothing, since vLLM's imports warn."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")


@dataclass(slots=True)
class SharedEngine(EngineWrapper):
    """A shared engine for one test: closing it refuses further requests and leaves the engine open."""

    closed: bool = False

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Pass on until closed."""
        self._check_open()
        return await self.engine.generate(requests)

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """Pass on until closed."""
        self._check_open()
        return await EngineWrapper.score(self, continuations)

    async def aclose(self) -> None:
        """Refuse further requests."""
        self.closed = True

    def _check_open(self) -> None:
        if self.closed:
            raise EngineError("the engine is closed")


@pytest.fixture(scope="session")
def forked_vllm() -> Iterator[None]:
    """Import vLLM once: the processes it starts are forks of this one."""
    require_vllm()
    with pytest.MonkeyPatch.context() as patch:
        fork_processes(patch.setattr)
        yield


@pytest.fixture(scope="session")
def tiny_vllm_model(forked_vllm: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with heads of size 32, the smallest that vLLM's CPU kernels support."""
    return build_tiny(tmp_path_factory.mktemp("tiny_vllm"), hidden=64)


@pytest.fixture(scope="session")
def vllm_session_engine(
    tiny_vllm_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """The vllm engine on the tiny model with two LoRA adapters; see `lora.py` for them."""
    from spar.infer.engines.vllm.engine import VllmEngine
    from tests.infer.lora import ADAPTERS, write_adapter

    folder = tmp_path_factory.mktemp("adapters")
    adapters = [write_adapter(folder / name, tiny_vllm_model, name) for name in ADAPTERS]
    deployment = Deployment(str(tiny_vllm_model), adapters=tuple(map(str, adapters)))
    arguments = EAGER | {"scheduling_policy": "priority"}
    engine = VllmEngine(deployment, load_decode("nano", {"engine_args": arguments}))
    yield engine
    asyncio.run(engine.aclose())


@pytest.fixture
def vllm_engine(vllm_session_engine: Engine) -> SharedEngine:
    """The shared vllm engine, for one test."""
    return SharedEngine(vllm_session_engine)


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL, ending in /v1, of a `vllm serve` of the embedded model, which it calls `nano`."""
    require_vllm()
    with serve(CHECKPOINT, "nano", tmp_path_factory.mktemp("vllm_server") / "log.txt") as url:
        yield url


@contextlib.contextmanager
def serve(model: Path, name: str, log: Path, *options: str) -> Iterator[str]:
    """Run `vllm serve` on a model in fp32; gives its base URL, ending in /v1.

    Parameters
    ----------
    name:
        What the server calls the model.
    log:
        Where its output goes.
    options:
        Further ones of its command line.
    """
    port = _free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            # What `vllm serve` runs; that command requires a package named vllm, which the CPU build
            # is not.
            [
                *(sys.executable, "-m", "tests.vllm_fork"),
                *("--model", str(model), "--served-model-name", name),
                *("--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"),
                *("--block-size", "32", "--enforce-eager", "--generation-config", "vllm"),
                *("--enable-prompt-tokens-details", "--max-num-seqs", "16"),
                # A small model may write white space without end.
                *("--structured-outputs-config", json.dumps(_ONE_LINE)),
                *("--kv-cache-memory-bytes", str(1 << 28), *options),
            ],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await_health(port, process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        stop_group(process)


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all its children, which share its session."""
    for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_health(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5),
        ):
            return
        time.sleep(0.5)
    pytest.fail(f"vllm serve did not start: {log.read_text(errors='replace')[-2000:]}")
