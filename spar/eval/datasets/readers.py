"""Rows out of the bytes of a data file, and whether all of them are whole.

`.jsonl` has one JSON object a line, `.json` one list of objects, `.csv` a header and quoted fields;
any other file is text, its lines the rows. A name that ends in `.gz` is unzipped first.
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
"""Names of field types in the table of data sets."""


class Damaged(Exception):
    """A file is not what its name says; the message says where and how."""


Fields = Mapping[str, str]
"""Field of every row to the name of its type."""


def read_jsonl(name: str, content: bytes, fields: Fields) -> list[dict[str, Any]]:
    """The objects of a `.jsonl` file."""
    rows = []
    for number, line in enumerate(_text(name, content).split("\n"), start=1):
        if line.strip():
            rows.append(_row(_parsed(line, f"line {number}"), fields, f"line {number}"))
    return rows


def read_json(name: str, content: bytes, fields: Fields) -> Any:
    """The content of a `.json` file."""
    value = _parsed(_text(name, content), "it")
    if isinstance(value, list):
        for number, row in enumerate(value, start=1):
            _row(row, fields, f"row {number}")
    return value


def read_csv(name: str, content: bytes, fields: Fields) -> list[dict[str, str]]:
    """The rows of a `.csv` file."""
    reader = csv.DictReader(io.StringIO(_text(name, content), newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise Damaged(f"cut or not a table: line {reader.line_num} ({error})") from error
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise Damaged(f"row {number} has not as many fields as the header")
        _row(row, fields, f"row {number}")
    return rows


def count_rows(name: str, content: bytes, fields: Fields) -> int:
    """How many rows a file has; raises `Damaged` where one is not whole."""
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
        raise Damaged(f"cut or not gzipped ({error})") from error
    except UnicodeDecodeError as error:
        raise Damaged(f"cut or not UTF-8 at byte {error.start + 1}") from error


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"cut or damaged: {where} is not JSON") from error


def _row(row: Any, fields: Fields, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise Damaged(f"{where} is no object with named fields")
    for field, kind in fields.items():
        if field not in row:
            raise Damaged(f"{where} lacks the field {field!r}")
        if not isinstance(row[field], TYPES[kind]) or isinstance(row[field], bool):
            raise Damaged(f"{where}: the field {field!r} is no {kind}")
    return row
