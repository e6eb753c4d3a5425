"""Downloads data sets from their public origins, each file checked before it takes its name.

The origins are commits on GitHub that cannot change (`spar.eval.datasets.registry`). A file that is there and
right is left alone, so a download that was cut off goes on where it stopped, file by file. What does
not have the SHA-256 that the table says is thrown away, whatever the server claims.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from spar.errors import RunStopped, UsageError
from spar.eval.datasets.convert import convert
from spar.eval.datasets.local import data_root, file_digest
from spar.eval.datasets.registry import DataSet, KnownFile
from spar.files import replace_bytes

if TYPE_CHECKING:
    import httpx

BASE = "https://raw.githubusercontent.com/"
"""Where `owner/repository/commit/path` is served."""
ATTEMPTS = 3
"""Tries of a download that fails in a way that may pass."""
PAUSE_SECONDS = 1.0
"""Wait before the second try; it doubles with each further one."""
TIMEOUT_SECONDS = 30.0
"""Longest silence of the server."""
MAX_BYTES = 64 * 2**20
"""A longer answer is none of these files."""


def missing(known: DataSet, given: str = "") -> list[KnownFile]:
    """Files of a set that are not there as their public originals are."""
    folder = data_root(given) / known.name
    return [file for file in known.files.values() if not _is_right(folder / file.path, file)]


def fetch(known: DataSet, given: str = "", *, base: str = BASE) -> Iterator[KnownFile]:
    """Download what is missing of a set into the data's folder; gives each file once it is there.

    Parameters
    ----------
    given:
        The data's folder; "" for `SPAR_DATA`, else the cache.
    base:
        Where the origins are served.

    Raises
    ------
    UsageError
        The folder cannot be written.
    RunStopped
        The network fails, or what came is not the file; files that were given out are kept.
    """
    import httpx

    folder = data_root(given) / known.name
    with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True) as client:
        for origin, files in groupby(missing(known, given), key=lambda file: file.origin):
            _make_folder(folder)
            content = _download(client, base + origin, folder)
            for file in files:
                _place(folder / file.path, _made(file, content, base + origin))
                yield file


def _is_right(path: Path, file: KnownFile) -> bool:
    try:
        return file_digest(path) == file.sha256
    except OSError:
        return False


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make the folder {folder}: {error.strerror}; name another with --data DIR"
        ) from error


def _made(file: KnownFile, content: bytes, url: str) -> bytes:
    try:
        made = convert(file.make, content)
    except RunStopped as error:
        raise RunStopped(f"{url}: {error}; nothing of it was kept") from error
    found = hashlib.sha256(made).hexdigest()
    if found != file.sha256:
        raise RunStopped(
            f"{url}: what came is not {file.path} (SHA-256 {found[:12]}..., expected "
            f"{file.sha256[:12]}...); nothing of it was kept, try again later"
        )
    return made


def _download(client: httpx.Client, url: str, folder: Path) -> bytes:
    import httpx

    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            return _stream(client, url)
        except httpx.HTTPStatusError as error:
            reason = f"the server answered {error.response.status_code}"
            if error.response.status_code < 500 and error.response.status_code != 429:
                break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
    raise RunStopped(
        f"cannot download {url}: {reason}; try again, or copy the files from a machine with a "
        f"network into {folder}"
    )


def _stream(client: httpx.Client, url: str) -> bytes:
    content = bytearray()
    with client.stream("GET", url) as response:
        response.raise_for_status()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > MAX_BYTES:
                raise RunStopped(
                    f"{url}: more than {MAX_BYTES:,} bytes came, which is no such file"
                )
    return bytes(content)


def _place(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_bytes(path, content)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
