"""A whole run as a table, through pandas: a row a tree, a node or a fault.

Rows are made and written in pieces, so memory does not grow with the run. Lone surrogates, which no UTF-8
file can hold, are written as `\\udc80`; all other text is written as it is, in CSV too: a spreadsheet takes a
cell that begins with `=`, `+`, `-` or `@` for a formula unless it is told to import the column as text.
In CSV nothing and an empty text are the same empty cell; Parquet keeps them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

from spar.errors import MissingExtra
from spar.export.columns import COLUMNS, Row, Rows, rows_of
from spar.types import SearchTree
from spar.view.node_detail import Facts

if TYPE_CHECKING:
    import pandas as pd

TableForm = Literal["parquet", "csv"]
TABLE_FORMS: tuple[TableForm, ...] = get_args(TableForm)

CHUNK = 2_000
"""Rows that are in memory at a time."""


def write_table(
    trees: Iterable[SearchTree],
    handle: IO[bytes],
    form: TableForm,
    *,
    rows: Rows = "trees",
    facts: Facts = Facts(),
) -> int:
    """Write the rows of all trees; returns their number.

    Raises
    ------
    MissingExtra
        pandas is not installed, or pyarrow for Parquet.
    """
    made = (row for tree in trees for row in rows_of(tree, rows, facts))
    return _WRITERS[form](frames(made, COLUMNS[rows]), handle)


def frames(rows: Iterator[Row], columns: Mapping[str, str]) -> Iterator[pd.DataFrame]:
    """The rows as data frames of at most `CHUNK` rows; one without rows where there are none."""
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
        # With this line end the writer also quotes a cell that holds a lone carriage return.
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


_WRITERS: Mapping[TableForm, Callable[[Iterable[pd.DataFrame], IO[bytes]], int]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
}
