"""The benchmarks' data on this machine: where it is, whether it is whole, and its rows.

    open_data("ifeval").jsonl("input_data.jsonl")     541 rows
    open_data("ifeval", "../data").digest             16 hex digits over the set's files

The folder is the one given (`--data`), else the environment's `SPAR_DATA`, else the cache, to which
`spar data fetch` downloads. Below it each set has a folder of its own; the set's own folder may be given
too. Every known file is checked when a set is opened: a file that lacks rows, or whose last row is cut,
is refused; one that is whole but not the public original to the byte is used, and named in `altered`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from spar.errors import UsageError
from spar.eval.datasets.readers import Damaged, count_rows, read_csv, read_json, read_jsonl
from spar.eval.datasets.registry import DataSet, KnownFile, data_set, data_sets

VARIABLE = "SPAR_DATA"
"""Environment variable that names the data's folder."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DataFolder:
    """One data set on this machine, all of its known files there and whole."""

    name: str
    """The set's name."""
    root: Path
    """The set's own folder."""
    sums: Mapping[str, str]
    """Known file to the SHA-256 of what is there."""

    @property
    def digest(self) -> str:
        """16 hex digits over the set's files: names and contents."""
        listing = "".join(f"{self.sums[path]}  {path}\n" for path in sorted(self.sums))
        return hashlib.sha256(listing.encode()).hexdigest()[:16]

    @property
    def altered(self) -> tuple[str, ...]:
        """Files that are whole, but not the public original to the byte."""
        known = data_set(self.name).files
        return tuple(path for path, found in self.sums.items() if found != known[path].sha256)

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for a person where a file is altered."""
        if not self.altered:
            return ()
        return (f"{self.name}: not the public originals to the byte: {', '.join(self.altered)}",)

    def path(self, relative: str) -> Path:
        """Where a file is.

        Raises
        ------
        UsageError
            It is not there.
        """
        path = self.root / relative
        if not path.is_file():
            raise _mistake(self.name, path, "there is no such file")
        return path

    def jsonl(self, relative: str) -> list[dict[str, Any]]:
        """Rows of a file with one JSON object a line, gzipped where it ends in .gz."""
        return self._rows(relative, read_jsonl)

    def json(self, relative: str) -> Any:
        """Content of a JSON file; where it is a list, its rows have the set's fields."""
        return self._rows(relative, read_json)

    def csv(self, relative: str) -> list[dict[str, str]]:
        """Rows of a comma-separated file with a header; fields may contain line breaks."""
        return self._rows(relative, read_csv)

    def _rows(self, relative: str, read: Callable[[str, bytes, Mapping[str, str]], T]) -> T:
        path = self.path(relative)
        try:
            return read(path.name, _content(self.name, path), data_set(self.name).fields)
        except Damaged as error:
            raise _mistake(self.name, path, str(error)) from error


def open_data(name: str, given: str = "") -> DataFolder:
    """A data set, after a check of each of its known files.

    Parameters
    ----------
    name:
        Name of the set.
    given:
        The data's folder, or the set's own; "" for `SPAR_DATA`, else the cache.

    Raises
    ------
    UsageError
        An unknown set, no such folder, a missing file, a cut file.
    """
    known = data_set(name)
    root = _set_folder(known, given)
    return DataFolder(name, root, {path: _check(root, known, path) for path in known.files})


def data_root(given: str = "") -> Path:
    """The data's folder, whether or not it exists: the one given, else `SPAR_DATA`, else the cache."""
    chosen = given or os.environ.get(VARIABLE, "")
    return Path(chosen).expanduser() if chosen else cache_root()


def cache_root() -> Path:
    """Where `spar data fetch` downloads to unless told otherwise: `~/.cache/spar/data`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The convention is to ignore a relative path there.
    parent = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return parent / "spar" / "data"


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _set_folder(known: DataSet, given: str) -> Path:
    root = data_root(given)
    if (root / known.name).is_dir():
        return root / known.name
    if any((root / path).is_file() for path in known.files):
        return root  # the set's own folder was given
    beside = root.parent / known.name
    if beside.is_dir() and any(root.name == one.name for one in data_sets()):
        return beside  # another set's own folder was given
    origin = _origin(given)
    raise _mistake(known.name, root / known.name, f"there is no such folder ({origin})")


def _origin(given: str) -> str:
    if given:
        return "looked there for --data"
    return f"looked there for {VARIABLE}" if os.environ.get(VARIABLE) else "looked in the cache"


def _check(root: Path, known: DataSet, relative: str) -> str:
    """SHA-256 of a known file that is there and whole."""
    path, expected = root / relative, known.files[relative]
    content = _content(known.name, path)
    found = hashlib.sha256(content).hexdigest()
    if found != expected.sha256:
        _check_whole(known, path, content, expected)
    return found


def _check_whole(known: DataSet, path: Path, content: bytes, expected: KnownFile) -> None:
    wanted = f"; expected {expected.rows:,} rows"
    try:
        rows = count_rows(path.name, content, known.fields)
    except Damaged as error:
        raise _mistake(known.name, path, f"{error}{wanted}") from error
    if rows < expected.rows:
        raise _mistake(known.name, path, f"cut: {rows:,} rows{wanted}")


def _content(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _mistake(name, path, "there is no such file") from error
    except OSError as error:
        raise _mistake(name, path, f"cannot be read: {error.strerror}") from error


def _mistake(name: str, path: Path, found: str) -> UsageError:
    return UsageError(
        f"data set {name}: {path}: {found}; get it with `spar data fetch {name}`, "
        f"or name a folder that has {name}/ with --data DIR or {VARIABLE}"
    )
