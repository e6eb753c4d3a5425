"""Runs the server until SIGTERM or Ctrl-C: it takes no more requests then, finishes those in flight, and ends.

uvicorn listens and speaks HTTP. A second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from types import FrameType

import uvicorn

from spar.errors import RunStopped, UsageError
from spar.listener import Listener
from spar.serve.app import create_app
from spar.serve.http import read_key
from spar.serve.offers import UNKNOWN, open_offers
from spar.serve.searching import SearchService
from spar.serve.settings import ServerSettings

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(settings: ServerSettings, listener: Listener = Listener()) -> None:
    """Load the models, listen, and serve until a signal.

    Raises
    ------
    UsageError
        A model that cannot be loaded, a wrong setting, or an address that cannot be listened on.
    RunStopped
        Another server writes to the same folder.
    """
    read_key(settings.serve.client_key_env)  # an error before a model is loaded, as the next one
    check_address(settings.serve.host, settings.serve.port)
    service = SearchService.open(settings, listener)
    try:
        asyncio.run(_serve(service))
    finally:
        service.close()


def check_address(host: str, port: int) -> None:
    """Raise `UsageError` if `host` has no address with this port, or one that cannot be listened on."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                if os.name == "posix":  # as asyncio does
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port"
        ) from error


def dry_run_text(settings: ServerSettings) -> str:
    """What a server would offer; nothing is loaded.

    Raises
    ------
    UsageError
        A wrong setting.
    """
    serve = settings.serve
    read_key(serve.client_key_env)
    offers = open_offers(settings.config, serve)
    key = f"the key in {serve.client_key_env}" if serve.client_key_env else "no key"
    where = f"http://{serve.host}:{serve.port}/v1, with {key}"
    lines = [where, *(f"  {name}" for name in offers.ids)]
    if offers.model == UNKNOWN and not serve.served_name:
        lines.append(f"{UNKNOWN}: the server is asked for its model's name when spar serve starts")
    return "\n".join(lines)


async def _serve(service: SearchService) -> None:
    settings = service.serve
    app = create_app(service)
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
            timeout_keep_alive=75,
        )
    )
    server.on_started = lambda: _announce(service, server)
    try:
        await server.serve()
    except SystemExit as error:  # uvicorn's way to say that it cannot start, once it has logged why
        raise RunStopped("the server could not start") from error


class _Server(uvicorn.Server):
    """uvicorn's server, which ends quietly on a signal: the process exits with 0."""

    on_started = staticmethod(lambda: None)

    async def startup(self, sockets: list | None = None) -> None:  # type: ignore[type-arg]
        """Listen."""
        try:
            await super().startup(sockets)
        except SystemExit as error:
            raise UsageError(
                f"cannot listen on {self.config.host}:{self.config.port}; choose another --host or --port"
            ) from error
        if self.started:
            self.on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Finish; at once where a signal came before, which uvicorn does on SIGINT alone."""
        self.force_exit = self.force_exit or self.should_exit
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Finish on the first signal, end at once on the second."""
        loop = asyncio.get_running_loop()
        try:
            for number in SIGNALS:
                loop.add_signal_handler(number, self.handle_exit, number, None)
        except (NotImplementedError, RuntimeError):  # Windows, or a thread that is not the main one
            yield
            return
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)


def _announce(service: SearchService, server: uvicorn.Server) -> None:
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    service.listener.note(f"serving {', '.join(service.offers.ids)}")
    if service.recorder is not None:
        service.listener.note(f"trees: {service.recorder.folder}")
    if not service.serve.is_local and not service.serve.client_key_env:
        service.listener.note(
            "anyone who reaches this address can use the server: set a key with --client-key-env"
        )
    service.listener.note(f"listening on http://{host}:{port}/v1")
