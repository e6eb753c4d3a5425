"""The data sets that the benchmarks read: their files, licences and public origins.

They are listed in `sources.json` beside this file, as measured on the public originals: the SHA-256 and the
number of rows of each file, the fields of its rows, and the pinned commit that it comes from. spar ships no
row of any data set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from spar.plugins import check_name

TABLE = Path(__file__).with_name("sources.json")


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a data set, as in its public original."""

    path: str
    """Relative to the data set's folder."""
    sha256: str
    rows: int
    """Number of rows, or of lines in a text file."""
    origin: str
    """`owner/repository/commit/path` on GitHub."""
    conversion: tuple[str, str]
    """Name and argument of the conversion that makes it from the origin (`spar.eval.datasets.convert`);
    ("", "") if it is the origin's content."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set."""

    name: str
    """Also the name of its folder in the data folder."""
    description: str
    """A human-readable phrase."""
    licence: str
    fields: Mapping[str, str]
    """Field of every row to its Python type, {} if rows have no fields."""
    files: Mapping[str, DataFile]


def data_set(name: str) -> DataSet:
    """The data set with a name.

    Raises
    ------
    UsageError
        There is none; the message has the closest name and all that are accepted.
    """
    check_name(_table(), "data set", name)
    return _table()[name]


def data_sets() -> tuple[DataSet, ...]:
    """All data sets, in order."""
    return tuple(_table().values())


@cache
def _table() -> Mapping[str, DataSet]:
    content = json.loads(TABLE.read_text(encoding="utf-8"))
    return {name: _data_set(name, entry) for name, entry in content.items()}


def _data_set(name: str, entry: Mapping[str, Any]) -> DataSet:
    files = {
        path: DataFile(
            path=path,
            sha256=facts["sha256"],
            rows=facts["rows"],
            origin=entry["base"] + facts.get("origin", path),
            conversion=tuple(facts.get("make", ("", ""))),
        )
        for path, facts in entry["files"].items()
    }
    return DataSet(name, entry["description"], entry["licence"], entry["fields"], files)
