"""Proxies and certificates that the environment names."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from spar.errors import UsageError
from spar.infer.engines.openai.connection_pool import ConnectionPool, Response, Unreachable
from spar.infer.engines.openai.network import proxy_for, tls_context
from tests.infer.raw_server import raw_server, response

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no certificates are set."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def get(url: str) -> Response:
    """One GET request in a pool of its own."""
    pool = ConnectionPool(url)
    try:
        return await pool.send("/models", None, 20.0)
    finally:
        await pool.aclose()


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "http://host/v1", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://host/v1", "http://p:1"),
        ({"http_proxy": "p:1"}, "http://host/v1", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://host/v1", None),
        ({"HTTPS_PROXY": "https://u:w@p:1"}, "https://host/v1", "https://u:w@p:1"),
        ({"ALL_PROXY": "http://p:1"}, "https://host/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "HTTP_PROXY": "http://q:1"}, "http://host/v1", "http://q:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "host"}, "http://host:80/v1", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "host:90"}, "http://host:80/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": ".corp,x"}, "http://a.corp/v1", None),
        ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": "*"}, "http://host/v1", None),
        ({"HTTPS_PROXY": "socks5://p:1"}, "http://host/v1", None),
        ({"ALL_PROXY": ""}, "http://host/v1", None),
    ],
)
def test_the_proxy_of_a_server(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, proxy: str | None
) -> None:
    """By scheme, else for all; none for the hosts of NO_PROXY."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(url)
    assert (None if found is None else str(found)) == proxy


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("socks5://u:secret@p:1", "socks5:// are not supported"),
        ("socks5h://p:1", "socks5h:// are not supported"),
        ("ftp://p:1", "ftp:// are not supported"),
        ("http://u:secret@", "not the URL of a proxy"),
        ("http://p:port", "not the URL of a proxy"),
        ("://", "not the URL of a proxy"),
    ],
)
def test_an_odd_proxy_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    """It names the variable, and what to do; never the proxy's password."""
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(UsageError, match=f"ALL_PROXY: .*{words}.*NO_PROXY") as caught:
        ConnectionPool("http://host/v1")
    assert "secret" not in str(caught.value)


async def test_requests_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its password; for https they go through a tunnel, and nothing of them is readable."""
    async with raw_server(lambda _: response(b"{}")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pass@127.0.0.1:{proxy.port}")
        assert (await get("http://example.invalid/v1")).status == 200
    assert proxy.heads[0].startswith("GET http://example.invalid/v1/models HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic bWU6cGFzcw==\r\n" in proxy.heads[0]
    async with raw_server(lambda _: response(b"", status="502 No")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pass@127.0.0.1:{proxy.port}")
        with pytest.raises(Unreachable) as caught:
            await get("https://example.invalid/v1")
    assert proxy.heads[0].startswith("CONNECT example.invalid:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic bWU6cGFzcw==\r\n" in proxy.heads[0]
    assert "Authorization: Bearer" not in proxy.heads[0]
    assert "pass" not in str(caught.value)


def test_certificates_that_cannot_be_read_are_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For servers that need them only."""
    assert tls_context().verify_mode is ssl.CERT_REQUIRED
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    for path, words in [
        (junk, "holds no certificate"),
        (tmp_path / "missing.pem", "No such file"),
        (tmp_path, "SSL_CERT_FILE"),
    ]:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        with pytest.raises(UsageError, match=words):
            ConnectionPool("https://host/v1")
        ConnectionPool("http://host/v1")
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
    with pytest.raises(UsageError, match=r"SSL_CERT_DIR .*not a folder"):
        tls_context()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_servers_are_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A certificate is trusted if SSL_CERT_FILE has it, and refused otherwise."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj"
    )
    names = ["/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(
        subprocess.run, [*command.split(), *names, *files], check=True, capture_output=True
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with raw_server(lambda _: response(b"{}"), tls=context) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(Unreachable, match="certificate verify failed"):
            await get(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert (await get(url)).content == b"{}"
