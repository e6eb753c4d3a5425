"""The connection pool: reuse of clients, and the limit on open files."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections import Counter
from typing import Any

import httpx
import pytest

from spar.infer.engines.openai.connection_pool import (
    ConnectionPool,
    RequestTimeout,
    is_out_of_files,
    max_connections,
)
from tests.answers import Script
from tests.infer.openai_helpers import ask, connect, votes
from tests.servers import ScriptedServer

RAISE = """
import resource
from spar.infer.engines.openai.connection_pool import raise_open_file_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 3000))
assert raise_open_file_limit() == 3000, raise_open_file_limit()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (3000, 3000)
assert raise_open_file_limit() == 3000
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_the_open_file_limit_is_raised_to_the_hard_limit() -> None:
    """In a process of its own, since this cannot be undone."""
    subprocess.run([sys.executable, "-c", RAISE], check=True, timeout=60)


@pytest.mark.parametrize(
    ("limit", "num_servers", "most"),
    [(0, 1, 1024), (65_536, 4, 1024), (1064, 1, 500), (1064, 2, 250), (10, 3, 1)],
)
def test_connections_stay_within_the_open_file_limit(
    limit: int, num_servers: int, most: int
) -> None:
    """Half of the free files, divided among the servers; one connection is always allowed."""
    assert max_connections(1024, limit, num_servers) == most


def shortage() -> httpx.ConnectError:
    """The error as httpx raises it."""
    error = httpx.ConnectError("All connection attempts failed")
    cause = ExceptionGroup("several addresses", [OSError(errno.EMFILE, "Too many open files")])
    error.__cause__ = OSError("All connection attempts failed")
    error.__cause__.__cause__ = cause
    return error


def test_is_out_of_files_looks_at_causes() -> None:
    """Other errors are not a shortage of files."""
    assert is_out_of_files(shortage())
    assert not is_out_of_files(httpx.ConnectError("refused"))
    assert not is_out_of_files(OSError(errno.ECONNREFUSED, "refused"))


async def test_a_shortage_of_files_does_not_open_the_circuit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fewer requests are sent at once, and all succeed."""
    make, left = ConnectionPool._new_client, iter(range(12))

    def short(_: httpx.Request) -> httpx.Response:
        raise shortage()

    def make_some(pool: ConnectionPool) -> httpx.AsyncClient:
        if next(left, None) is None:
            return make(pool)
        return httpx.AsyncClient(transport=httpx.MockTransport(short))

    monkeypatch.setattr(ConnectionPool, "_new_client", make_some)
    notes: list[str] = []
    with ScriptedServer(Script()) as server:
        engine = connect(server, notes=notes)
        replies = await ask(engine, [vote for i in range(20) for vote in votes(1, f"q{i}", tree=i)])
    assert len(replies) == 20
    assert engine.capacity < 16
    assert any("too many open files" in line for line in notes)
    assert not any("down" in line for line in notes)


async def test_only_clients_that_completed_a_request_are_reused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection of a client that timed out may stay in use forever."""
    make, made = ConnectionPool._new_client, Counter[str]()

    def counted(pool: ConnectionPool) -> Any:
        made["clients"] += 1
        return make(pool)

    monkeypatch.setattr(ConnectionPool, "_new_client", counted)
    body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}).encode()
    with ScriptedServer(Script(fault_share=1.0, faults=("stall",)), keep=False) as server:
        pool = ConnectionPool(server.url, {})
        with pytest.raises(RequestTimeout):
            await pool.send("/chat/completions", body, 0.2)
        for _ in range(3):
            assert (await pool.send("/models", None, 20.0)).status == 200
        await pool.aclose()
    assert made["clients"] == 2
