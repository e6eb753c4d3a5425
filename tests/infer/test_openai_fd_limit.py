"""File descriptors: the limit is raised, connections keep to it, and a shortage is not the server's fault."""

from __future__ import annotations

import errno
import subprocess
import sys

import httpx
import pytest

from spar.infer.engines.openai.connection_pool import Lanes
from spar.infer.engines.openai.fd_limit import is_shortage, most_connections
from tests.answers import Script
from tests.infer.asking import ask, connect, votes
from tests.servers import ScriptedServer

RAISE = """
import resource
from spar.infer.engines.openai.fd_limit import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 3000))
assert raise_limit() == 3000, raise_limit()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (3000, 3000)
assert raise_limit() == 3000
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_the_limit_is_raised_as_far_as_it_may() -> None:
    """In a process of its own, since it cannot be taken back."""
    subprocess.run([sys.executable, "-c", RAISE], check=True, timeout=60)


@pytest.mark.parametrize(
    ("limit", "num_servers", "most"),
    [(0, 1, 1024), (65_536, 4, 1024), (1064, 1, 500), (1064, 2, 250), (10, 3, 1)],
)
def test_connections_keep_to_the_limit(limit: int, num_servers: int, most: int) -> None:
    """Half of the files are for them, divided among the servers; one connection is always allowed."""
    assert most_connections(1024, limit, num_servers) == most


def shortage() -> httpx.ConnectError:
    """As it comes out of httpx."""
    error = httpx.ConnectError("All connection attempts failed")
    cause = ExceptionGroup("several addresses", [OSError(errno.EMFILE, "Too many open files")])
    error.__cause__ = OSError("All connection attempts failed")
    error.__cause__.__cause__ = cause
    return error


def test_a_shortage_is_found_under_other_errors() -> None:
    """And other errors are none."""
    assert is_shortage(shortage())
    assert not is_shortage(httpx.ConnectError("refused"))
    assert not is_shortage(OSError(errno.ECONNREFUSED, "refused"))


async def test_a_shortage_is_not_a_dead_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer requests are sent at once, and all are answered."""
    make, left = Lanes._make, iter(range(12))

    def short(_: httpx.Request) -> httpx.Response:
        raise shortage()

    def make_some(lanes: Lanes) -> httpx.AsyncClient:
        if next(left, None) is None:
            return make(lanes)
        return httpx.AsyncClient(transport=httpx.MockTransport(short))

    monkeypatch.setattr(Lanes, "_make", make_some)
    heard: list[str] = []
    with ScriptedServer(Script()) as server:
        engine = connect(server, heard=heard)
        replies = await ask(engine, [vote for i in range(20) for vote in votes(1, f"q{i}", tree=i)])
    assert len(replies) == 20
    assert engine.capacity < 16
    assert any("too many open files" in line for line in heard)
    assert not any("down" in line for line in heard)
