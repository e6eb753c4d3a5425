"""Data sets on this machine: where they are, whether they are complete, and their rows.

    open_data("ifeval").jsonl("input_data.jsonl")     541 rows
    open_data("ifeval", "../data").digest             16 hex digits over the data set's files

The data folder is that of `--data`, else of the environment variable `SPAR_DATA`, else the cache, to which
`spar data fetch` downloads. It holds one folder for each data set; `--data` may also name a data set's own
folder. Opening a data set checks each of its files: one that lacks rows, or is truncated, is an error; one that
is complete but differs from the public original is used and listed in `altered`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from spar.data_folder import VARIABLE, data_root
from spar.errors import UsageError
from spar.eval.datasets.readers import DamagedFile, count_rows, read_csv, read_json, read_jsonl
from spar.eval.datasets.registry import DataFile, DataSet, data_set, data_sets

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DataFolder:
    """One data set on this machine; all of its files are present and complete."""

    name: str
    """The data set's name."""
    root: Path
    """The data set's own folder."""
    checksums: Mapping[str, str]
    """File to its SHA-256."""

    @property
    def digest(self) -> str:
        """16 hex digits over the data set's files: names and contents."""
        listing = "".join(f"{self.checksums[path]}  {path}\n" for path in sorted(self.checksums))
        return hashlib.sha256(listing.encode()).hexdigest()[:16]

    @property
    def altered(self) -> tuple[str, ...]:
        """Files that are complete, but differ from the public original."""
        files = data_set(self.name).files
        return tuple(path for path, sha in self.checksums.items() if sha != files[path].sha256)

    @property
    def notes(self) -> tuple[str, ...]:
        """A human-readable line if a file is altered."""
        if not self.altered:
            return ()
        return (
            f"{self.name}: these files differ from the public originals: {', '.join(self.altered)}",
        )

    def path(self, relative: str) -> Path:
        """The path of a file.

        Raises
        ------
        UsageError
            There is no such file.
        """
        path = self.root / relative
        if not path.is_file():
            raise _error(self.name, path, "there is no such file")
        return path

    def jsonl(self, relative: str) -> list[dict[str, Any]]:
        """Rows of a file with one JSON object a line, gzipped if its name ends in .gz."""
        return self._rows(relative, read_jsonl)

    def json(self, relative: str) -> Any:
        """Content of a JSON file; if it is a list, its rows have the data set's fields."""
        return self._rows(relative, read_json)

    def csv(self, relative: str) -> list[dict[str, str]]:
        """Rows of a comma-separated file with a header; fields may contain line breaks."""
        return self._rows(relative, read_csv)

    def _rows(self, relative: str, read: Callable[[str, bytes, Mapping[str, str]], T]) -> T:
        path = self.path(relative)
        try:
            return read(path.name, _content(self.name, path), data_set(self.name).fields)
        except DamagedFile as error:
            raise _error(self.name, path, str(error)) from error


def open_data(name: str, data: str = "") -> DataFolder:
    """Open a data set, after a check of each of its files.

    Parameters
    ----------
    name:
        Name of the data set.
    data:
        The data folder, or the data set's own; "" for `SPAR_DATA`, else the cache.

    Raises
    ------
    UsageError
        There is no such data set or folder; a file is missing or truncated.
    """
    dataset = data_set(name)
    root = find_folder(dataset, data) or _no_folder(dataset, data)
    checksums = {path: _check(root, dataset, file) for path, file in dataset.files.items()}
    return DataFolder(name, root, checksums)


def find_folder(dataset: DataSet, data: str = "") -> Path | None:
    """The folder of a data set, complete or not; None where there is none. Parameters as of `open_data`."""
    root = data_root(data)
    if (root / dataset.name).is_dir():
        return root / dataset.name
    if any((root / path).is_file() for path in dataset.files):
        return root  # `data` is the data set's own folder
    sibling = root.parent / dataset.name
    if sibling.is_dir() and any(root.name == other.name for other in data_sets()):
        return sibling  # `data` is the folder of another data set
    return None


def _no_folder(dataset: DataSet, data: str) -> NoReturn:
    from_variable = f"looked there for {VARIABLE}" if os.environ.get(VARIABLE) else ""
    source = "looked there for --data" if data else from_variable or "looked in the cache"
    folder = data_root(data) / dataset.name
    raise _error(dataset.name, folder, f"there is no such folder ({source})")


def _check(root: Path, dataset: DataSet, file: DataFile) -> str:
    """SHA-256 of a file; raises `UsageError` if it is absent or incomplete."""
    path = root / file.path
    content = _content(dataset.name, path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        expected = f"; expected {file.rows:,} rows"
        try:
            num_rows = count_rows(path.name, content, dataset.fields)
        except DamagedFile as error:
            raise _error(dataset.name, path, f"{error}{expected}") from error
        if num_rows < file.rows:
            raise _error(dataset.name, path, f"truncated: {num_rows:,} rows{expected}")
    return digest


def _content(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _error(name, path, "there is no such file") from error
    except OSError as error:
        raise _error(name, path, f"cannot be read: {error.strerror}") from error


def _error(name: str, path: Path, problem: str) -> UsageError:
    return UsageError(
        f"data set {name}: {path}: {problem}; get it with `spar data fetch {name}`, "
        f"or name a folder that holds {name}/ with --data DIR or {VARIABLE}"
    )
