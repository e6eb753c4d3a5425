"""Rows of CSV, TSV and Parquet files."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

from spar.errors import MissingExtra, UsageError
from spar.rows.lines import BYTE_ORDER_MARK, MAX_LINE, line_text, lines_of, reading
from spar.rows.row import Row, error_line, reject, shown

_EXCEL_DELIMITER = re.compile(r'"?sep=(?P<delimiter>[,;|\t])"?[\r\n]*', re.IGNORECASE)


def separated_rows(path: Path, delimiters: str, limit: int | None) -> Iterator[Row]:
    """The records of a CSV or TSV file, which may have line ends inside quotation marks.

    Excel's first line `sep=;` names the delimiter. A first column without a name is left out: pandas writes a table's index so.
    """
    source = str(path)
    csv.field_size_limit(MAX_LINE)
    with reading(path, source) as stream:
        numbered = lines_of(stream, source, limit)
        lines = (line_text(data, f"{source}:{number}") for number, data in numbered)
        header = next(lines, "").removeprefix(BYTE_ORDER_MARK)
        above = 0
        if told := _EXCEL_DELIMITER.fullmatch(header):
            header, delimiters, above = next(lines, ""), told["delimiter"], 1
        delimiter = max(delimiters, key=header.count)
        reader = csv.reader(chain([header], lines), delimiter=delimiter, strict=True)
        line = 1 + above
        try:
            names = [name.strip() for name in next(reader, [])]
            is_indexed = len(names) > 1 and not names[0]
            if "" in names[is_indexed:] or len({*names}) < len(names):
                reject(
                    f"{source}:{line}", f"the header {shown(names)}", "a name for each column, once"
                )
            line = reader.line_num + 1 + above
            for cells in reader:
                where, line = f"{source}:{line}", reader.line_num + 1 + above
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(names):
                    reject(where, f"{len(cells)} cells", f"{len(names)}, as the header has")
                pairs = list(zip(names, cells, strict=True))[is_indexed:]
                values = {name: cell for name, cell in pairs if cell}
                yield Row(where, int(where.rpartition(":")[2]), values)
        except csv.Error as error:
            why, accepted = str(error), "cells as a spreadsheet writes them"
            if why.startswith("new-line character"):  # advice to who opens the file
                why = "a carriage return without a line feed"
                accepted = "lines that all end alike, and quotation marks around cells with breaks"
            reject(f"{source}:{line}", f"not a record: {why}", accepted)


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows of a Parquet file, read a batch at a time."""
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("pyarrow", "export", f"{path}, a Parquet file,") from error
    try:
        with pq.ParquetFile(path) as file:
            rows = (row for batch in file.iter_batches(1024) for row in batch.to_pylist())
            yield from plain_rows(rows, str(path))
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"cannot read {path}: {error_line(error)}") from error


def plain_rows(rows: Iterable[Mapping[str, Any]], source: str) -> Iterator[Row]:
    """Rows of typed columns as JSON values, without those that are null."""
    for number, row in enumerate(rows, start=1):
        where = f"{source}, row {number}"
        values = {name: value for name, value in row.items() if value is not None}
        yield Row(where, number, {name: _plain(values[name], name, where) for name in values})


def _plain(value: Any, name: str, where: str) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, name, where) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, name, where) for inner in value]
    if isinstance(value, date | time | timedelta | Decimal):
        return str(value)
    if value is not None and not isinstance(value, bool | int | str):
        reject(where, f"{name!r} is a {type(value).__name__}", "text, numbers, lists and objects")
    return value
