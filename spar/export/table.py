"""A whole run as a table: a row for each tree, node, fault or example.

CSV and Parquet are written with pandas; JSON lines need no package. Rows are written in chunks, so memory does
not grow with the run. Lone surrogates, which have no UTF-8 form, are written as `\\udc80`. All other text is written unchanged, also in CSV: a spreadsheet interprets a cell
that starts with `=`, `+`, `-` or `@` as a formula unless the column is imported as text. In CSV a missing
value and an empty text are the same empty cell; Parquet and JSON lines distinguish them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

from spar.errors import MissingExtra
from spar.export.columns import COLUMNS, EXAMPLE_COLUMNS, Row, RowKind, example_row, rows_of
from spar.record.evaluation import Example
from spar.types import SearchTree
from spar.view.node_detail import Annotations

if TYPE_CHECKING:
    import pandas as pd

TableFormat = Literal["parquet", "csv", "jsonl"]
TABLE_FORMATS: tuple[TableFormat, ...] = get_args(TableFormat)

CHUNK = 2_000
"""Rows in memory at a time."""


def write_table(
    trees: Iterable[SearchTree],
    handle: IO[bytes],
    file_format: TableFormat,
    *,
    rows: RowKind = "trees",
    annotations: Annotations = Annotations(),
) -> int:
    """Write the rows of all trees and return their number.

    Raises
    ------
    MissingExtra
        pandas is not installed, or pyarrow for Parquet.
    """
    all_rows = (row for tree in trees for row in rows_of(tree, rows, annotations))
    return _write(all_rows, COLUMNS[rows], handle, file_format)


def write_examples(examples: Iterable[Example], handle: IO[bytes], file_format: TableFormat) -> int:
    """Write the rows of an evaluation's examples and return their number.

    Raises
    ------
    MissingExtra
        As `write_table`.
    """
    return _write(map(example_row, examples), EXAMPLE_COLUMNS, handle, file_format)


def _write(
    rows: Iterator[Row], columns: Mapping[str, str], handle: IO[bytes], file_format: TableFormat
) -> int:
    if file_format == "jsonl":
        return _write_json_lines(rows, columns, handle)
    return _WRITERS[file_format](frames(rows, columns), handle)


def _write_json_lines(rows: Iterator[Row], columns: Mapping[str, str], handle: IO[bytes]) -> int:
    num_rows = 0
    for row in rows:
        cells = {name: _storable(row[name]) for name in columns}
        handle.write(json.dumps(cells, ensure_ascii=False).encode() + b"\n")
        num_rows += 1
    return num_rows


def frames(rows: Iterator[Row], columns: Mapping[str, str]) -> Iterator[pd.DataFrame]:
    """The rows as data frames of at most `CHUNK` rows; a single empty frame without any row."""
    pd = _pandas()
    first = True
    while (chunk := list(islice(rows, CHUNK))) or first:
        first = False
        cells = [[_storable(row[name]) for name in columns] for row in chunk]
        yield pd.DataFrame(cells, columns=list(columns), dtype=object).astype(dict(columns))


def _pandas() -> ModuleType:
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtra("pandas", "export", "a table of a run") from error
    return pd


def _write_csv(chunks: Iterable[pd.DataFrame], handle: IO[bytes]) -> int:
    num_rows = 0
    for number, frame in enumerate(chunks):
        # With this line terminator, pandas also quotes a cell with a lone carriage return.
        frame.to_csv(handle, index=False, header=number == 0, lineterminator="\r\n")
        num_rows += len(frame)
    return num_rows


def _write_parquet(chunks: Iterable[pd.DataFrame], handle: IO[bytes]) -> int:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("pyarrow", "export", "--format parquet") from error
    writer: Any = None
    num_rows = 0
    for frame in chunks:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        writer = writer or pq.ParquetWriter(handle, table.schema)
        writer.write_table(table)
        num_rows += len(frame)
    writer.close()
    return num_rows


def _storable(value: object) -> object:
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value


_WRITERS: Mapping[str, Callable[[Iterable[pd.DataFrame], IO[bytes]], int]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
}
