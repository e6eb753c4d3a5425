"""The network settings of the environment: proxies and certificates.

`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` (or in lower case, or as set in the system) name the
proxy of a server, `SSL_CERT_FILE` and `SSL_CERT_DIR` the certificates of trusted authorities. Without these
the system's and those of Mozilla (certifi) are trusted, so that both a company's own server and a container
without certificates work. A proxy's URL may hold a password, so no message repeats it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from spar.errors import UsageError

if TYPE_CHECKING:
    import ssl

    from yarl import URL


def proxy_for(url: str) -> URL | None:
    """The proxy that requests to a URL go through, None for none.

    Raises
    ------
    UsageError
        The environment names one of a kind that is not supported, or not a URL.
    """
    from yarl import URL

    target = urlsplit(url)
    if proxy_bypass(target.netloc):
        return None
    proxies = getproxies()
    kind = next((kind for kind in (target.scheme, "all") if proxies.get(kind)), None)
    if kind is None:
        return None
    text = proxies[kind].strip()
    text = text if "://" in text else f"http://{text}"
    next_step = f"set it to an http:// or https:// proxy, or add {target.hostname} to NO_PROXY"
    try:
        proxy = URL(text)
    except ValueError:
        proxy = URL()
    if not proxy.host or (proxy.port is None and proxy.scheme in ("http", "https")):
        raise UsageError(f"{kind.upper()}_PROXY: not the URL of a proxy; {next_step}")
    if proxy.scheme not in ("http", "https"):
        raise UsageError(
            f"{kind.upper()}_PROXY: proxies of the kind {proxy.scheme}:// are not supported; {next_step}"
        )
    return proxy


def tls_for(url: str) -> ssl.SSLContext | None:
    """Settings of TLS for requests to a URL; None where neither its server nor the proxy speaks TLS.

    Raises
    ------
    UsageError
        As `proxy_for` and `tls_context`.
    """
    proxy = proxy_for(url)
    schemes = (urlsplit(url).scheme, proxy.scheme if proxy else "")
    return tls_context() if "https" in schemes else None


def tls_context() -> ssl.SSLContext:
    """Settings of TLS that verify servers by trusted certificates.

    Raises
    ------
    UsageError
        The environment names a file or folder without certificates.
    """
    import ssl

    import certifi

    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if folder and not file and not Path(folder).is_dir():
        raise UsageError(f"SSL_CERT_DIR {folder!r}: not a folder; correct or unset it")
    try:
        if file or folder:
            return ssl.create_default_context(cafile=file or None, capath=folder or None)
        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
        return context
    except ssl.SSLError:
        reason = "holds no certificate in PEM format"
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    name, path = ("SSL_CERT_FILE", file) if file else ("certificates of", certifi.where())
    raise UsageError(f"{name} {path!r}: {reason}; correct or unset it")
