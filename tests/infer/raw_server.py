"""A server that writes given bytes, for responses that no well-behaved server sends."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class RawServer:
    """A server on loopback, and what it was sent."""

    port: int = 0
    heads: list[str] = field(default_factory=list)
    """Request line and headers of each request."""
    connections: int = 0
    """Connections that were opened."""

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}/v1"


def response(
    body: bytes, *, status: str = "200 OK", headers: str = "", length: bool = True
) -> bytes:
    """A response; with `length` its body's length is declared, else the connection's end ends it."""
    declared = f"Content-Length: {len(body)}\r\n" if length else "Connection: close\r\n"
    return f"HTTP/1.1 {status}\r\n{declared}{headers}\r\n".encode() + body


@contextlib.asynccontextmanager
async def raw_server(
    answer: Callable[[str], bytes | None],
    *,
    closes: bool = False,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[RawServer]:
    """Serve in this event loop.

    Parameters
    ----------
    answer:
        Returns all bytes of a response for a request's head; None sends one byte now and then, for ever.
    closes:
        Whether it closes each connection after a response, without saying so.
    """
    server = RawServer()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                server.heads.append(head)
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
                await reader.readexactly(int(fields.get("content-length", 0)))
                content = answer(head)
                if content is None:
                    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    while True:
                        writer.write(b"1\r\n \r\n")
                        await asyncio.sleep(0.02)
                writer.write(content)
                await writer.drain()
                if closes or b"Connection: close" in content:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    listener = await asyncio.start_server(serve, host, 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
