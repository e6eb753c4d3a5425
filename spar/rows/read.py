"""The rows of a file, of standard input, or of a data set of the Hugging Face hub.

    for row in read_rows("answers.csv"):
        print(row.where, row.values)        # answers.csv:2 {"id": "a7", "response": "..."}

| source | rows |
|---|---|
| `.jsonl`, `.ndjson`, `.json` | one JSON object a line, one JSON list of objects, or a single object over several lines |
| `.csv`, `.tsv` | one a record, named by the header; an empty cell is absent |
| `.parquet` | one a row; a null is absent (pyarrow) |
| `.txt` | one a line, its text under `text_field` |
| `-`, a pipe, a device | objects and text lines, or one JSON list of objects; read once, as it comes |
| `hf://NAME/OF[/CONFIG][:SPLIT]`, `NAME/OF[:SPLIT]` | one a row of a data set of the hub (datasets) |

Each of the text formats may be compressed (`.gz`). Only a line feed ends a line, so any other character may stand
inside a string; in a file without any, carriage returns end the lines. What is read is plain JSON: keys that come twice and numbers that JSON lacks (NaN, Infinity) are
refused in JSON, and null elsewhere. Rows are read one at a time, a list as a whole; the limits below bound what a
device or a damaged file can take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from spar.errors import UsageError
from spar.rows.hub import HUB_SCHEME, hub_rows, is_hub_name
from spar.rows.lines import GZIP_SUFFIX, MAX_STREAM, json_rows, text_rows
from spar.rows.row import Row
from spar.rows.tables import parquet_rows, separated_rows

STANDARD_INPUT = "-"
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TEXT_SUFFIX = ".txt"
PARQUET_SUFFIX = ".parquet"
DELIMITERS: Mapping[str, str] = {".csv": ",;\t", ".tsv": "\t"}
"""Suffix to what may separate cells: the one that the header has most often."""
SUFFIXES = (*JSON_SUFFIXES, *DELIMITERS, PARQUET_SUFFIX, TEXT_SUFFIX)


def read_rows(source: str | Path, *, text_field: str = "", suffix: str = "") -> Iterator[Row]:
    """Stream the rows of a source. Nothing is read before the first row is requested, nothing past the last.

    Parameters
    ----------
    source:
        A path, `-`, or the name of a data set on the hub.
    text_field:
        Field for lines of text and for strings in a list; "" refuses these.
    suffix:
        The format to read a file in whose own suffix says nothing, such as `.jsonl`; "" refuses such a file.

    Raises
    ------
    UsageError
        Immediately: no such file, a directory, an unknown suffix. When the stream reaches it: a row that is not
        readable, text that is not UTF-8, or more than the limits allow.
    MissingExtra
        A package that the format needs is not installed.
    """
    if str(source) == STANDARD_INPUT:
        return json_rows(None, "standard input", text_field, MAX_STREAM, text_lines=True)
    if str(source).startswith(HUB_SCHEME):
        return hub_rows(str(source).removeprefix(HUB_SCHEME).removeprefix("datasets/"))
    path = Path(source)
    if not exists(path):
        return _absent(str(source))
    if path.is_dir():
        raise UsageError(f"{path} is a directory; pass a file ({', '.join(SUFFIXES)})")
    return _file_rows(path, text_field, _suffix(path) or suffix)


def read_texts(source: str | Path, field: str) -> Iterator[str]:
    """Stream one text field of every row, or the lines of a text file, without white space around them.

    Raises
    ------
    UsageError
        A row has no such text.
    """
    for row in read_rows(source, text_field=field):
        text = row.values.get(field)
        if not isinstance(text, str) or not text.strip():
            raise UsageError(
                f"{row.where}: no {field}; accepted: rows with a field {field!r}, or a .txt file with one a line"
            )
        yield text.strip()


def is_repeatable(source: str | Path) -> bool:
    """Whether a source can be read again: a file, and no pipe, device or data set of the hub."""
    return str(source) != STANDARD_INPUT and exists(Path(source)) and Path(source).is_file()


def is_stream(source: str | Path) -> bool:
    """Whether a source can be read only once: standard input, a pipe or a device."""
    return str(source) == STANDARD_INPUT or (
        exists(Path(source)) and not (Path(source).is_file() or Path(source).is_dir())
    )


def _file_rows(path: Path, text_field: str, suffix: str) -> Iterator[Row]:
    limit = None if path.is_file() else MAX_STREAM
    if suffix == PARQUET_SUFFIX:
        return parquet_rows(path)
    if suffix in DELIMITERS:
        return separated_rows(path, DELIMITERS[suffix], limit)
    if suffix in JSON_SUFFIXES:
        return json_rows(path, str(path), text_field, limit)
    if suffix == TEXT_SUFFIX and text_field:
        return text_rows(path, str(path), text_field, limit)
    if limit is not None:  # a pipe, as of a shell's <(command), or a device
        return json_rows(path, str(path), text_field, limit, text_lines=True)
    accepted = SUFFIXES if text_field else SUFFIXES[:-1]
    raise UsageError(
        f"{path} ends in {path.suffix!r}; accepted: {', '.join(accepted)}, with or without {GZIP_SUFFIX}, "
        f"or {STANDARD_INPUT} for standard input"
    )


def exists(path: Path) -> bool:
    """Whether there is such a file; there is none with a name that no file can have."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def _absent(source: str) -> Iterator[Row]:
    """The rows of a data set, where no file has the name; else an error."""
    if not is_hub_name(source) or _suffix(Path(source)):
        raise UsageError(
            f"there is no file {source}; pass a file ({', '.join(SUFFIXES)}), - for standard input, or "
            f"{HUB_SCHEME}NAME/OF for a data set of the Hugging Face hub"
        )
    return hub_rows(source)


def _suffix(path: Path) -> str:
    """The suffix that names a format, without that of a compressed file; "" for any other."""
    suffix = Path(path.name.lower().removesuffix(GZIP_SUFFIX)).suffix
    return suffix if suffix in SUFFIXES else ""
