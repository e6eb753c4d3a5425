"""Downloads data sets from their public origins, and checks each file before it gets its name.

The origins are pinned commits on GitHub (`spar.eval.datasets.registry`). A file whose SHA-256 is that of the
registry is not downloaded again, so an interrupted download resumes with the first missing file. A download
with another SHA-256 is discarded.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from spar.data_folder import data_root
from spar.errors import RunStopped, UsageError
from spar.eval.datasets.convert import convert
from spar.eval.datasets.registry import DataFile, DataSet
from spar.files import file_digest, replace_bytes

if TYPE_CHECKING:
    import httpx

BASE = "https://raw.githubusercontent.com/"
"""URL below which `owner/repository/commit/path` is served."""
ATTEMPTS = 3
"""Attempts of a download that fails with a transient error."""
PAUSE_SECONDS = 1.0
"""Pause before the second attempt, doubled before each further one."""
TIMEOUT_SECONDS = 30.0
"""Timeout of each read."""
MAX_BYTES = 64 * 2**20
"""Largest accepted response; no file of a data set is larger."""


def missing(dataset: DataSet, data: str = "") -> list[DataFile]:
    """Files of a data set that are absent, or differ from their public originals."""
    folder = data_root(data) / dataset.name
    return [file for file in dataset.files.values() if not _is_original(folder / file.path, file)]


def fetch(
    dataset: DataSet, data: str = "", *, base: str = "", files: Sequence[DataFile] | None = None
) -> Iterator[DataFile]:
    """Download files of a data set into the data folder; yields each file once it is written.

    Parameters
    ----------
    data:
        The data folder; "" for `SPAR_DATA`, else the cache.
    base:
        URL below which the origins are served; "" for `BASE`.
    files:
        The files to download, None for those that are missing.

    Raises
    ------
    UsageError
        The folder cannot be written.
    RunStopped
        The network fails, or a download is not the file. Files yielded before stay.
    """
    import httpx

    folder = data_root(data) / dataset.name
    with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True) as client:
        chosen = missing(dataset, data) if files is None else files
        for origin, of_origin in groupby(chosen, key=lambda file: file.origin):
            _make_folder(folder)
            url = (base or BASE) + origin
            content = _download(client, url, folder)
            for file in of_origin:
                _write(folder / file.path, _converted(file, content, url))
                yield file


def _is_original(path: Path, file: DataFile) -> bool:
    try:
        return file_digest(path) == file.sha256
    except OSError:
        return False


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make the folder {folder}: {error.strerror}; name another folder with --data DIR"
        ) from error


def _converted(file: DataFile, content: bytes, url: str) -> bytes:
    try:
        converted = convert(file.conversion, content)
    except RunStopped as error:
        raise RunStopped(f"{url}: {error}; nothing was written") from error
    digest = hashlib.sha256(converted).hexdigest()
    if digest != file.sha256:
        raise RunStopped(
            f"{url}: the download is not {file.path} (SHA-256 {digest[:12]}..., expected "
            f"{file.sha256[:12]}...); nothing was written, try again later"
        )
    return converted


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
                    f"{url}: the server sent more than {MAX_BYTES:,} bytes, so it is not the file"
                )
    return bytes(content)


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_bytes(path, content)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
