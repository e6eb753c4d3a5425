"""A scripted server that speaks OpenAI's protocol on loopback, for tests and benchmarks.

    python -m tests.servers --port 0        prints its URL and serves without latency until it is killed

A function from `Request` to text gives each choice of a reply; `Script` says what the server lacks, how
it fails and how often. It runs on an event loop in its own thread, can be killed and started again on the
same port, and stores its requests. Words count as tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from spar.infer.engines.openai.retry import MIN_ATTEMPTS
from tests.answers import (
    WITHOUT_TEXT,
    Fault,
    Script,
    answer,
    error_body,
    events_of,
    model_list,
    spoil,
)

_NO_RESPONSES: dict[Fault, bytes] = {
    "noise": b"\x00\xff not a response\r\n\r\n",
    "status line": b"HTTP/1.1 twenty OK\r\n\r\n",
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{}",
    "encoding": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
}
"""What a broken proxy may send."""
START_SECONDS = 25
"""How long a server waits for its port."""
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


@dataclass(slots=True)
class Seen:
    """One request for a reply that reached the server."""

    body: dict[str, Any]
    headers: dict[str, str]
    fault: Fault | None = None
    cancelled: bool = False
    """Whether the client disconnected before the answer."""

    @property
    def text(self) -> str:
        """The conversation or the prompt as one string."""
        if "prompt" in self.body:
            return str(self.body["prompt"])
        return "|".join(message["content"] for message in self.body["messages"])


@dataclass(slots=True)
class ScriptedServer:
    """A server in a thread; a context manager that starts and kills it."""

    script: Script = Script()
    port: int = 0
    """Assigned by the system at the first start, and reused afterwards."""
    seen: list[Seen] = field(default_factory=list)
    keep: bool = True
    """Whether `seen` grows."""
    on_request: Callable[[int], None] = lambda _: None
    """Called with the number of requests, in the server's thread, before each is answered."""
    num_requests: int = 0
    active: int = 0
    peak: int = 0
    """Maximum number of concurrent requests so far."""
    connections: set[_Connection] = field(default_factory=set)
    _dice: random.Random = field(default_factory=random.Random)
    _without_text: Counter[str] = field(default_factory=Counter)
    """A request to the replies without a text that it got in a row."""
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ScriptedServer:
        self._dice.seed(self.script.seed)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def killed(self) -> bool:
        """Whether it has stopped listening or is about to."""
        return self._loop is None

    def start(self) -> None:
        """Start listening; returns once connections are accepted."""
        self._join()  # one that was killed out of its own thread may not have ended yet
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(START_SECONDS + 5), "the scripted server did not start"

    def kill(self) -> None:
        """Stop listening and drop every connection, as a killed process does."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
        if self._thread is not threading.current_thread():
            self._join()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join(30)
            self._thread = None

    def draw_fault(self, body: dict[str, Any]) -> Fault | None:
        """The fault of the next request, None for a proper answer.

        A request gets no more replies without a text in a row than pass for a fault: one more, and its prompt would
        be given up as one that a content filter stops.
        """
        fails = self._dice.random() < self.script.fault_share
        fault = self._dice.choice(self.script.faults) if fails else None
        request = json.dumps(body, sort_keys=True)
        if fault not in WITHOUT_TEXT:
            self._without_text.pop(request, None)
            return fault
        self._without_text[request] += 1
        if self._without_text[request] < MIN_ATTEMPTS:
            return fault
        del self._without_text[request]
        return None

    def _run(self, ready: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        listener = loop.run_until_complete(self._listen(loop))
        self.port = listener.sockets[0].getsockname()[1]
        self._loop = loop
        ready.set()
        loop.run_forever()
        listener.close()
        for connection in tuple(self.connections):
            connection.cut()
        loop.run_until_complete(_end_tasks())
        loop.close()

    async def _listen(self, loop: asyncio.AbstractEventLoop) -> asyncio.Server:
        """A listener, once its port is free: while it was down, a connection of another process may have been given it."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return await loop.create_server(
                    lambda: _Connection(self, loop), "127.0.0.1", self.port, backlog=2048
                )
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                    raise
                await asyncio.sleep(0.1)


async def _end_tasks() -> None:
    await _turns()  # a connection that was just taken is made, and cut
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await _turns()  # transports close their sockets


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    """One client's connection: reads and answers requests in turn."""

    def __init__(self, server: ScriptedServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server, self._loop = server, loop
        self._buffer = b""
        self._transport: Any = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._server.connections.add(self)
        if self._server.killed:  # it was accepted at the last moment
            self.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._task is not None:
            self._task.cancel()

    def cut(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, mark, rest = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, path, _ = first.split(" ")
        self._respond(method, path, headers, rest[:length])

    def _respond(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        script = self._server.script
        if script.key and headers.get("authorization") != f"Bearer {script.key}":
            # An echo of what was sent, as careless servers do.
            self.send(
                401, error_body(f"bad key in {headers.get('authorization')}", "invalid_api_key")
            )
        elif method == "GET" and path.endswith("/v1/models") and script.models:
            self.send(200, model_list(script))
        elif method == "POST" and path.endswith(_paths(script)):
            self._complete(Seen(json.loads(body), headers))
        else:
            self.send(404, {"detail": "Not Found"})

    def _complete(self, seen: Seen) -> None:
        server = self._server
        server.num_requests += 1
        if server.keep:
            server.seen.append(seen)
        server.on_request(server.num_requests)
        seen.fault = server.draw_fault(seen.body)
        full = server.script.slots and server.active >= server.script.slots
        if seen.fault is None and full:
            seen.fault = "429"
        if not server.script.seconds and seen.fault != "stall":
            self._finish(seen)
            return
        server.active += 1
        server.peak = max(server.peak, server.active)
        self._task = self._loop.create_task(self._later(seen))

    async def _later(self, seen: Seen) -> None:
        try:
            # What fails by itself fails at once; a stall lasts until the client goes.
            refused = seen.fault not in (None, "stall")
            stalls = seen.fault == "stall"
            await asyncio.sleep(0 if refused else 3600 if stalls else self._server.script.seconds)
        except asyncio.CancelledError:
            seen.cancelled = True
            return
        finally:
            self._server.active -= 1
        self._finish(seen)

    def _finish(self, seen: Seen) -> None:
        script = self._server.script
        if seen.fault == "cut":
            self.cut()
        elif seen.fault is not None and seen.fault.isdigit():
            self.send(int(seen.fault), error_body("try later"), script.retry_after)
        elif seen.fault in _NO_RESPONSES:
            self._transport.write(_NO_RESPONSES[seen.fault])
            self._transport.close()
        else:
            status, content = answer(script, seen.body)
            if status == 200 and seen.fault:
                content = spoil(content, seen.fault)
            half = seen.fault == "half" and status == 200
            if status == 200 and seen.body.get("stream") and seen.fault in (None, "half"):
                events = events_of(content)
                events = events[: len(events) // 2] if half else events
                self._task = self._loop.create_task(self._stream(events))
                return
            self.send(status, content, script.retry_after, half=half)

    async def _stream(self, events: list[bytes]) -> None:
        """Write events one after the other; the connection closes after the last."""
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        self._transport.write(head.encode())
        for event in events:
            self._transport.write(event)
            await asyncio.sleep(0.001)
        self._transport.close()

    def send(self, status: int, content: Any, retry_after: str = "", half: bool = False) -> None:
        """Write a response; with `half`, the body ends before its declared length."""
        body = json.dumps(content).encode()
        body = body[: len(body) // 2] if half else body
        head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\ncontent-type: application/json\r\n"
        if retry_after and status in (429, 503):
            head += f"retry-after: {retry_after}\r\n"
        self._transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)


def _paths(script: Script) -> tuple[str, ...]:
    chat = "/v1/chat/completions"
    return (chat, "/v1/completions") if script.completions else (chat,)


def main() -> None:
    """Serve until killed, without latency."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    args = parser.parse_args()
    server = ScriptedServer(Script(seconds=args.seconds), args.port, keep=False)
    with contextlib.suppress(KeyboardInterrupt), server:
        print(server.url, flush=True)
        time.sleep(1e9)


if __name__ == "__main__":
    main()
