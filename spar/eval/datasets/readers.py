"""Parses the bytes of a data file into rows, and checks that each row is complete.

`.jsonl` holds one JSON object a line, `.json` one list of objects, `.csv` a header and quoted fields. Any
other file is text, whose rows are its lines. A file whose name ends in `.gz` is decompressed first.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

TYPES: Mapping[str, type] = {"str": str, "int": int, "list": list}
"""Names of field types in `sources.json`."""


class DamagedFile(Exception):
    """A file is not in the format of its name; the message says where and how."""


Fields = Mapping[str, str]
"""Field of every row to the name of its type."""


def read_jsonl(name: str, content: bytes, fields: Fields) -> list[dict[str, Any]]:
    """The objects of a `.jsonl` file."""
    rows = []
    for number, line in enumerate(_text(name, content).split("\n"), start=1):
        if line.strip():
            rows.append(_check_row(_parse(line, f"line {number}"), fields, f"line {number}"))
    return rows


def read_json(name: str, content: bytes, fields: Fields) -> Any:
    """The content of a `.json` file; where the data set has fields, the rows of a list have them."""
    value = _parse(_text(name, content), "the file")
    if fields and isinstance(value, list):
        for number, row in enumerate(value, start=1):
            _check_row(row, fields, f"row {number}")
    return value


def read_csv(name: str, content: bytes, fields: Fields) -> list[dict[str, str]]:
    """The rows of a `.csv` file."""
    reader = csv.DictReader(io.StringIO(_text(name, content), newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise DamagedFile(f"truncated or not a table: line {reader.line_num} ({error})") from error
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise DamagedFile(f"row {number} has not as many fields as the header")
        _check_row(row, fields, f"row {number}")
    return rows


def count_rows(name: str, content: bytes, fields: Fields) -> int:
    """The number of rows of a file; raises `DamagedFile` if one is incomplete."""
    match PurePath(name.removesuffix(".gz")).suffix:
        case ".jsonl":
            return len(read_jsonl(name, content, fields))
        case ".json":
            value = read_json(name, content, fields)
            return len(value) if isinstance(value, list) else 0
        case ".csv":
            return len(read_csv(name, content, fields))
        case _:
            return len(_text(name, content).removesuffix("\n").split("\n"))


def _text(name: str, content: bytes) -> str:
    try:
        plain = gzip.decompress(content) if name.endswith(".gz") else content
        return plain.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedFile(f"truncated or not gzipped ({error})") from error
    except UnicodeDecodeError as error:
        raise DamagedFile(f"truncated or not UTF-8 at byte {error.start + 1}") from error


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"truncated or damaged: {where} is not JSON") from error


def _check_row(row: Any, fields: Fields, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DamagedFile(f"{where} is not an object with named fields")
    for field, kind in fields.items():
        if field not in row:
            raise DamagedFile(f"{where} lacks the field {field!r}")
        if not isinstance(row[field], TYPES[kind]) or isinstance(row[field], bool):
            raise DamagedFile(f"{where}: the field {field!r} is not of type {kind}")
    return row
