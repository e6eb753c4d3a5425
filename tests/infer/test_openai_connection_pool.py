"""The connection pool: reuse of connections, limits on what is opened and read, and no key in what is said."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import socket
import subprocess
import sys
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from spar.errors import EngineError, PromptRefused
from spar.infer.engines.openai import model_lists
from spar.infer.engines.openai.addresses import Key
from spar.infer.engines.openai.connection_pool import (
    ConnectionLost,
    ConnectionPool,
    RequestTimeout,
    Response,
    ResponseTooLarge,
    Unreachable,
    is_out_of_files,
    max_connections,
)
from spar.infer.engines.openai.endpoints import max_response_bytes
from tests.answers import Script
from tests.infer.openai_helpers import SETTINGS, ask, connect, votes
from tests.infer.raw_server import raw_server, response
from tests.servers import ScriptedServer

RAISE = """
import resource
from spar.infer.engines.openai.connection_pool import raise_open_file_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 3000))
assert raise_open_file_limit() == 3000, raise_open_file_limit()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (3000, 3000)
assert raise_open_file_limit() == 3000
"""
KEY = Key("sk-proj-0123456789/abcdef", "NAME")
BODY = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}).encode()


async def send(url: str, *, key: Key = Key(), timeout: float = 20.0, **limits: Any) -> Response:
    """One GET request in a pool of its own."""
    pool = ConnectionPool(url, key)
    try:
        return await pool.send("/models", None, timeout, **limits)
    finally:
        await pool.aclose()


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


def shortage() -> aiohttp.ClientConnectorError:
    """The error as aiohttp raises it."""
    cause = OSError(errno.EMFILE, "Too many open files")
    error = aiohttp.ClientConnectorError(
        aiohttp.client_reqrep.ConnectionKey("h", 80, False, True, None, None, None), cause
    )
    error.__cause__ = ExceptionGroup("several addresses", [cause])
    return error


def test_is_out_of_files_looks_at_causes() -> None:
    """Other errors are not a shortage of files."""
    assert is_out_of_files(shortage())
    assert not is_out_of_files(OSError(errno.ECONNREFUSED, "refused"))


async def test_a_shortage_of_files_does_not_open_the_circuit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fewer requests are sent at once, and all succeed."""
    make, left = aiohttp.TCPConnector.connect, iter(range(12))

    async def connect_some(*arguments: Any, **keywords: Any) -> Any:
        if next(left, None) is None:
            return await make(*arguments, **keywords)
        raise shortage()

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect_some)
    notes: list[str] = []
    with ScriptedServer(Script()) as server:
        engine = connect(server, notes=notes)
        start = engine.capacity
        replies = await ask(engine, [vote for i in range(20) for vote in votes(1, f"q{i}", tree=i)])
    assert len(replies) == 20
    assert engine.capacity < start
    assert any("too many open files" in line for line in notes)
    assert not any("down" in line for line in notes)


async def test_only_connections_that_completed_a_request_are_reused() -> None:
    """A request that timed out is cancelled at the server, too; the next three share a connection."""
    with ScriptedServer(Script(fault_share=1.0, faults=("stall",))) as server:
        pool = ConnectionPool(server.url)
        with pytest.raises(RequestTimeout, match=r"no response in 0\.2 s"):
            await pool.send("/chat/completions", BODY, 0.2)
        for _ in range(3):
            assert (await pool.send("/models", None, 20.0)).status == 200
        assert len(server.connections) == 1
        assert server.seen[0].cancelled
        await pool.aclose()


async def test_more_than_a_hundred_requests_are_in_flight() -> None:
    """The default limit of aiohttp does not hold."""
    with ScriptedServer(Script(seconds=0.3)) as server:
        await ask(connect(server), [v for i in range(160) for v in votes(1, f"q{i}", tree=i)])
        assert server.peak > 120


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    """The next request opens another one."""
    async with raw_server(lambda _: response(b"{}"), closes=True) as server:
        pool = ConnectionPool(server.url)
        for _ in range(3):
            assert (await pool.send("/models", None, 20.0)).content == b"{}"
            await asyncio.sleep(0.02)
        await pool.aclose()
    assert server.connections == 3


async def test_large_requests_are_sent_whole() -> None:
    """Without aiohttp's warning about them, which would be an error here."""
    with ScriptedServer(Script()) as server:
        assert await ask(connect(server), votes(1, "word " * 300_000))
        assert len(server.seen[0].text) == 5 * 300_000


async def test_redirects_are_not_followed() -> None:
    """The key would be sent to another server."""
    moved = response(b"", status="302 Found", headers="Location: http://127.0.0.1:9/v1\r\n")
    async with raw_server(lambda _: moved) as server:
        assert (await send(server.url, key=KEY)).status == 302
    assert len(server.heads) == 1


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
async def test_servers_may_have_ipv6_addresses() -> None:
    """Written in brackets."""
    try:
        async with raw_server(lambda _: response(b"{}"), host="::1") as server:
            assert (await send(f"http://[::1]:{server.port}/v1")).status == 200
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


def packed(data: bytes, wbits: int) -> bytes:
    """Compressed by zlib."""
    compressor = zlib.compressobj(wbits=wbits)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b'{"a": 1}', mtime=0)),
        ("x-gzip", gzip.compress(b'{"a":', mtime=0) + gzip.compress(b" 1}", mtime=0)),
        ("deflate", packed(b'{"a": 1}', 15)),
        ("deflate", packed(b'{"a": 1}', -15)),
        ("identity", b'{"a": 1}'),
    ],
)
async def test_compressed_responses_are_unpacked(encoding: str, body: bytes) -> None:
    """By gzip in several parts, and by both formats that are called deflate."""
    content = response(body, headers=f"Content-Encoding: {encoding}\r\n")
    async with raw_server(lambda _: content) as server:
        assert (await send(server.url)).content == b'{"a": 1}'
    assert "accept-encoding: gzip\r" in server.heads[0].lower()


@pytest.mark.parametrize(
    "content",
    [
        response(gzip.compress(b" " * 50_000_000), headers="Content-Encoding: gzip\r\n"),
        response(b" " * 200_000),
        response(b" " * 200_000, length=False),
    ],
    ids=["gzip bomb", "declared", "not declared"],
)
async def test_a_response_is_read_and_unpacked_up_to_a_limit(content: bytes) -> None:
    """Neither the wire nor the compression fills the memory."""
    async with raw_server(lambda _: content) as server:
        tracemalloc.start()
        try:
            with pytest.raises(ResponseTooLarge, match="more than 100,000 bytes"):
                await send(server.url, max_bytes=100_000)
            assert tracemalloc.get_traced_memory()[1] < 8_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["gzip", ""])
async def test_of_an_error_only_the_start_is_read(encoding: str) -> None:
    """Its message is there, its status is not lost."""
    body = b'{"error": "overloaded"}' + b" " * 30_000_000
    body = gzip.compress(body) if encoding else body
    headers = f"Content-Encoding: {encoding}\r\n" if encoding else ""
    content = response(body, status="500 Oops", headers=headers)
    async with raw_server(lambda _: content) as server:
        answered = await send(server.url)
    assert (answered.status, answered.content[:23]) == (500, b'{"error": "overloaded"}')
    assert len(answered.content) <= 2**18


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (response(b"junk", headers="Content-Encoding: gzip\r\n"), "not compressed as it says"),
        (response(b"junk", headers="Content-Encoding: br\r\n"), "compressed by br"),
        (b"what is this\r\n\r\n", "connection was lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhalf", "lost"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "connection was lost"),
    ],
)
async def test_broken_responses_are_one_line(content: bytes, words: str) -> None:
    """Whatever is broken about them."""
    async with raw_server(lambda _: content) as server:
        with pytest.raises(ConnectionLost, match=words) as caught:
            await send(server.url)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        f"HTTP/1.1 {KEY.value} OK\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nContent-Length: {KEY.value}\r\n\r\n".encode(),
        f"{KEY.value}\r\n\r\n".encode(),
        response(f'{{"error": "{KEY.value}"}}'.encode(), status="401 No"),
        response(b'{"data": [{"id": "%s"}]}' % KEY.value.replace("/", "\\/").encode()),
        response(gzip.compress(KEY.value.encode(), mtime=0), headers="Content-Encoding: gzip\r\n"),
    ],
)
async def test_a_server_that_repeats_the_key_is_not_quoted(content: bytes) -> None:
    """In a status line, a header, an error, a model's name or a reply."""
    async with raw_server(lambda _: content) as server:
        try:
            said = str(await send(server.url, key=KEY))
        except ConnectionLost as error:
            said = str(error)
        assert f"Bearer {KEY.value}" in server.heads[0]
    assert KEY.value not in said.replace("\\", "")


def test_a_placeholder_for_a_key_is_no_secret() -> None:
    """vLLM's EMPTY is a word that replies may have; the start of a key is not removed from them either."""
    assert Key("EMPTY", "NAME").redact_content(b"an EMPTY line") == b"an EMPTY line"
    assert (
        KEY.redact_content(b"sk-proj-0123456789 sk-proj-other")
        == b"sk-proj-0123456789 sk-proj-other"
    )


def test_a_key_of_a_letter_is_hidden_in_no_word() -> None:
    """What a refusal says of a length is read from its words, so a placeholder must not cut them."""
    message = "maximum context length is 2048 tokens"
    assert Key("x", "NAME").redact(message) == message


def test_the_beginning_of_a_reply_hides_a_key_as_the_whole_does() -> None:
    """A placeholder stays, a key is hidden, and so is what may turn out to begin one."""
    assert Key("ollama", "NAME").redact_growing("I run on ollama.") == "I run on ollama."
    assert KEY.redact_growing(f"It is {KEY.value}, no more.") == "It is ***, no more."
    assert KEY.redact_growing(f"It is {KEY.value[:-1]}") == "It is "


async def test_no_server_is_unreachable() -> None:
    """The reason is the system's."""
    with pytest.raises(Unreachable, match=r"cannot connect \(Connection refused\)"):
        await send("http://127.0.0.1:9/v1")
    with pytest.raises(Unreachable, match="cannot connect"):
        await send("http://no-such-host.invalid/v1")


async def test_the_list_of_models_has_a_total_timeout_and_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that sends it byte by byte, or never ends it, is not waited for."""
    monkeypatch.setattr(model_lists, "_CHECK_TIMEOUT", 0.3)
    async with raw_server(lambda _: None) as server:
        with pytest.raises(EngineError, match=r"no response in 0\.3 s"):
            await model_lists.list_models(server.url, Key())
    monkeypatch.setattr(model_lists, "_CHECK_TIMEOUT", 20.0)
    bomb = response(gzip.compress(b" " * 20_000_000), headers="Content-Encoding: gzip\r\n")
    async with raw_server(lambda _: bomb) as server:
        with pytest.raises(EngineError, match="more than 16,777,216 bytes"):
            await model_lists.list_models(server.url, Key())


async def test_requests_in_flight_fail_when_the_pool_is_closed() -> None:
    """And so do later ones."""
    with ScriptedServer(Script(fault_share=1.0, faults=("stall",))) as server:
        pool = ConnectionPool(server.url)
        sending = asyncio.ensure_future(pool.send("/chat/completions", BODY, 20.0))
        while not server.num_requests:
            await asyncio.sleep(0.01)
        await pool.aclose()
        with pytest.raises(ConnectionLost, match="closed"):
            await sending
        with pytest.raises(ConnectionLost, match="closed"):
            await pool.send("/models", None, 20.0)


def test_the_limit_of_a_response_leaves_room_for_all_that_was_asked_for() -> None:
    """Several choices, log-probabilities, and a prompt that is returned."""
    limits = [
        max_response_bytes({"max_tokens": 2048, "n": 5}) - 5 * 2048 * 200,
        max_response_bytes({"max_completion_tokens": 2048, "top_logprobs": 20}) - 2048 * 20 * 200,
        max_response_bytes({"max_tokens": 1, "logprobs": 1, "echo": True, "prompt": "x" * 9999})
        - 9999 * 2 * 200,
    ]
    assert all(limit > 1_000_000 for limit in limits)


@pytest.mark.parametrize("size", [200_000, 3_000_000])
async def test_a_reply_longer_than_its_limit_allows_is_not_used(size: int) -> None:
    """It is an error of this prompt if others are served."""

    def answer(body: dict[str, Any]) -> tuple[int, Any] | None:
        if "big" not in body["messages"][-1]["content"]:
            return None
        return 200, {"choices": [{"index": 0, "message": {"content": "x" * size}}]}

    settings = replace(SETTINGS, retry_for=0.1, initial_backoff=0.01)
    with ScriptedServer(Script(answer=answer)) as server:
        engine = connect(server, settings=settings)
        with pytest.raises(PromptRefused, match=r"longer than its token limit|more than \d"):
            await engine.generate(votes(1, "big"))
        assert await ask(engine, votes(1))
