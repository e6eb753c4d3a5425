"""A server of runs as pages, for this machine alone.

    GET /                              the list of runs; the run itself if it is the only one
    GET /run/NAME/                     its page
    GET /run/NAME/rows?from=&generation=    `LiveRun.rows`
    GET /run/NAME/tree/3               `LiveRun.tree`
    GET /run/NAME/search?text=&from=   `LiveRun.search`

It listens on the loopback interface, answers GET and HEAD, and writes nothing. A request whose Host header is not a
loopback name is refused: a site could let its own name point at 127.0.0.1 (DNS rebinding), and would then be of one
origin with this server. A request that a page of another site makes is refused too. The page's policy allows
requests to this server and no other.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from spar.errors import UsageError
from spar.export.page.document import document, json_text, policy
from spar.view.text import one_line
from tui.web.catalogue import Catalogue, run_path
from tui.web.live_run import page_data

HOST = "127.0.0.1"
PORTS = range(8770, 8790)
"""Tried in order unless a port is chosen."""
_NAMES = ("127.0.0.1", "localhost", "[::1]")
_SELF = "'self'"
_REASON = 300
_LARGE = 2_000
"""Bytes from which an answer is compressed."""


class PageServer(ThreadingHTTPServer):
    """Serves the runs of a catalogue. `serve_forever` serves, `close` ends it."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, catalogue: Catalogue, port: int | None = None) -> None:
        """Listen; raises `UsageError` if the port, or each of `PORTS`, is taken."""
        self.catalogue = catalogue
        ports: Sequence[int] = PORTS if port is None else (port,)
        for number in ports:
            try:
                super().__init__((HOST, number), _Handler)
                return
            except OSError as error:
                failure = error
        shown = (
            f"port {ports[0]}" if len(ports) == 1 else f"each port from {ports[0]} to {ports[-1]}"
        )
        raise UsageError(f"{shown} is taken ({failure.strerror}); pass another --port")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def close(self) -> None:
        """Stop listening and close the runs."""
        self.server_close()
        self.catalogue.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves in the middle of an answer is no error."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version = "spar"
    sys_version = ""
    timeout = 60
    wbufsize = 1 << 16
    """Headers and body leave together: a small body alone would wait for the headers to be acknowledged."""

    def do_GET(self) -> None:
        """Answer, or refuse in one line."""
        try:
            if (refusal := self._refusal()) is not None:
                self._send(HTTPStatus.FORBIDDEN, "text/plain", refusal.encode())
            else:
                self._answer()
        except UsageError as error:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", one_line(str(error)).encode())
        except (TimeoutError, ConnectionError):
            self.close_connection = True
        except (
            Exception
        ) as error:  # one request's failure; the reader sees it, and the others go on
            self.close_connection = True
            reason = one_line(f"unexpected error: {type(error).__name__}: {error}", _REASON)
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", reason.encode())

    do_HEAD = do_GET  # noqa: N815  # the name that the base class looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
        """Nothing is logged: a page asks every second."""

    def _refusal(self) -> str | None:
        """Why the request is refused; None if it is not."""
        port = self.server.server_address[1]
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0].lower() not in {f"{name}:{port}" for name in _NAMES}:
            return f"refused: this server answers to {HOST}:{port} alone"
        site = self.headers.get("Sec-Fetch-Site", "none")
        is_link = self.headers.get("Sec-Fetch-Mode") == "navigate"
        if site not in ("none", "same-origin") and not is_link:
            return "refused: a page of another site asked"
        return None

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        path, asked = unquote(parts.path, errors="surrogateescape"), parse_qs(parts.query)
        if path == "/":
            self._send_home()
        elif path.startswith("/run/"):
            name, slash, rest = path.removeprefix("/run/").rpartition("/")
            number = _whole_number(rest)
            if number is not None and name.endswith("/tree"):
                run = self.server.catalogue.open(name.removesuffix("/tree"))
                self._send_json(run.tree(number))
            elif slash and rest == "rows":
                generation = asked.get("generation", [""])[0]
                self._send_json(
                    self.server.catalogue.open(name).rows(_number(asked, "from"), generation)
                )
            elif slash and rest == "search":
                text = asked.get("text", [""])[0]
                self._send_json(
                    self.server.catalogue.open(name).search(text, _number(asked, "from"))
                )
            elif slash and not rest:
                self.server.catalogue.open(name)
                home = "/" if len(self.server.catalogue.names()) > 1 else ""
                live = run_path(name).removesuffix("/")
                self._send_page(page_data(one_line(name, 120), home, live))
            else:
                raise UsageError(f"there is no page {one_line(path, 200)} here")
        else:
            raise UsageError(f"there is no page {one_line(path, 200)} here")

    def _send_home(self) -> None:
        names = self.server.catalogue.names()
        if len(names) != 1:
            self._send_page({"name": "runs", "runs": self.server.catalogue.table()})
            return
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", run_path(names[0]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_page(self, run: dict[str, Any]) -> None:
        body = "".join(document(run, connect=_SELF)).encode()
        header = f"{policy(_SELF)}; frame-ancestors 'none'"
        self._send(HTTPStatus.OK, "text/html", body, {"Content-Security-Policy": header})

    def _send_json(self, value: Any) -> None:
        self._send(HTTPStatus.OK, "application/json", json_text(value).encode("ascii"))

    def _send(
        self, status: HTTPStatus, kind: str, body: bytes, more: dict[str, str] | None = None
    ) -> None:
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            **(more or {}),
        }
        if len(body) > _LARGE and "gzip" in self.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _number(asked: dict[str, list[str]], name: str) -> int:
    return _whole_number(asked.get(name, ["0"])[0]) or 0


def _whole_number(text: str) -> int | None:
    """The number that a request names; None for a text that is none, such as `²`, which is a digit too."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else None
