"""The data sets that the benchmarks read: their files, licences and public origins.

The facts are in `sources.json` beside this file, measured on the public originals: each file's SHA-256
and number of rows, the fields that each row has, and the pinned commit it comes from. No row of any data
set is part of spar.
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
class KnownFile:
    """One file of a data set, as its public original is."""

    path: str
    """Inside the set's folder."""
    sha256: str
    rows: int
    """Rows, or lines where it has no rows."""
    origin: str
    """`owner/repository/commit/path` on GitHub."""
    make: tuple[str, str]
    """How it is made of the origin (`spar.eval.datasets.convert`), and that one's argument; ("", "") as it is."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set."""

    name: str
    """Its folder below the data's."""
    what: str
    """A few words for a person."""
    licence: str
    fields: Mapping[str, str]
    """Field of every row to its Python type, {} where rows have none."""
    files: Mapping[str, KnownFile]


def data_set(name: str) -> DataSet:
    """The data set of a name.

    Raises
    ------
    UsageError
        There is none; the message says the closest name and all that are accepted.
    """
    check_name(_table(), "data set", name)
    return _table()[name]


def data_sets() -> tuple[DataSet, ...]:
    """All of them, in order."""
    return tuple(_table().values())


@cache
def _table() -> Mapping[str, DataSet]:
    content = json.loads(TABLE.read_text(encoding="utf-8"))
    return {name: _data_set(name, entry) for name, entry in content.items()}


def _data_set(name: str, entry: Mapping[str, Any]) -> DataSet:
    files = {
        path: KnownFile(
            path=path,
            sha256=facts["sha256"],
            rows=facts["rows"],
            origin=entry["base"] + facts.get("origin", path),
            make=tuple(facts.get("make", ("", ""))),
        )
        for path, facts in entry["files"].items()
    }
    return DataSet(name, entry["what"], entry["licence"], entry["fields"], files)
