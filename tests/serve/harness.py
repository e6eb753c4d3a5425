"""A server of spar's in a thread, on loopback, over an engine of the test's own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from spar.infer.engine import Engine
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.listener import Listener
from spar.serve.app import create_app
from spar.serve.searching import SearchService
from spar.serve.settings import server_settings
from spar.store import read_trees
from spar.types import SearchTree


@dataclass(frozen=True, slots=True)
class Served:
    """A server that listens."""

    url: str
    service: SearchService
    out: Path | None
    client: httpx.Client

    def post(self, body: Any, **options: Any) -> httpx.Response:
        """Ask for a completion."""
        return self.client.post(f"{self.url}/chat/completions", json=body, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Get a path below the server's root."""
        return self.client.get(f"{self.url.removesuffix('/v1')}{path}", **options)

    def tree(self, address: str) -> SearchTree:
        """The stored tree of an address `RUN/ID`."""
        assert self.out is not None
        run, _, tree_id = address.rpartition("/")
        trees = read_trees(self.out / Path(run).name)
        (found,) = (tree for tree in trees if tree.prompt.id == tree_id)
        return found


@contextmanager
def serving(
    engine: Engine | str | None = None,
    *,
    out: Path | None = None,
    listener: Listener = Listener(),
    serve: Mapping[str, Any] = {},
    **settings: Any,
) -> Iterator[Served]:
    """A server over an engine; by default one with scripted replies. `settings` are those of the searches."""
    engine = engine or FakeEngine(scripted_reply)
    own = {"served_name": "tiny", "record": out is not None, **serve}
    service = SearchService.open(
        server_settings("nano", {"engine": engine, **settings, **own}, out), listener
    )
    try:
        with running(create_app(service)) as url, httpx.Client(timeout=30) as client:
            yield Served(f"{url}/v1", service, out, client)
    finally:
        service.close()


@contextmanager
def running(app: Any) -> Iterator[str]:
    """An ASGI application on loopback, in a thread with a loop of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False))
    server.capture_signals = _no_signals  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


@contextmanager
def _no_signals() -> Iterator[None]:
    yield


def asking(text: str = "Say hello.", **fields: Any) -> dict[str, Any]:
    """A body with one user's turn."""
    return {"model": "bfs-7/tiny", "messages": [{"role": "user", "content": text}], **fields}


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)
