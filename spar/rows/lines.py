"""Lines of a file or a stream, and the rows in them: JSON, a JSON list, or text."""

from __future__ import annotations

import gzip
import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, cast

from spar.errors import UsageError
from spar.rows.json_text import parse_json
from spar.rows.row import Row, error_line, reject, shown

MAX_LINE = 16 << 20
"""Bytes of a line."""
MAX_LIST = 256 << 20
"""Bytes of a JSON list, or of one object over several lines, which is parsed as a whole."""
MAX_STREAM = 1 << 30
"""Bytes of standard input, a pipe or a device, whose rows the caller has to hold in memory."""
GZIP_SUFFIX = ".gz"
BYTE_ORDER_MARK = "\ufeff"
_LIST_OF_OBJECTS = re.compile(r"\s*\[\s*(\{|\"|$)")


def text_rows(path: Path | None, source: str, text_field: str, limit: int | None) -> Iterator[Row]:
    """One row a line that is not blank, with the line under `text_field`."""
    with reading(path, source) as stream:
        for number, data in lines_of(stream, source, limit):
            where = f"{source}:{number}"
            line = _content(data, where, number)
            if line.strip():
                yield Row(where, number, {text_field: line})


def json_rows(
    path: Path | None,
    source: str,
    text_field: str,
    limit: int | None,
    *,
    text_lines: bool = False,
) -> Iterator[Row]:
    """Objects one a line, in one list, or a single one over several lines; with `text_lines`, any other line is a text."""
    with reading(path, source) as stream:
        started = False
        lines = lines_of(stream, source, limit)
        for number, data in lines:
            where = f"{source}:{number}"
            if not started and _starts_list(data[:1024], text_lines=text_lines):
                yield from _listed_rows(
                    _whole(data, lines, source=source, kind="a list"), source, text_field
                )
                return
            line = _content(data, where, number)
            if not line.strip():
                continue
            if not started and _starts_object(line):
                accepted = "one JSON object, one a line, or one list of them"
                text = _whole(data, lines, source=source, kind="an object")
                yield Row(f"{source}, row 1", 1, parse_json(text, source, accepted))
                return
            started = True
            if text_lines and not line.lstrip().startswith("{"):
                yield Row(where, number, {text_field: line})
                continue
            accepted = "one JSON object per line"
            value = parse_json(line, where, accepted)
            yield Row(where, number, _fields(value, where, text_field, accepted))


@contextmanager
def reading(path: Path | None, source: str) -> Iterator[BinaryIO]:
    """A file, decompressed if it ends in `.gz`, or standard input; an error of reading it is one line."""
    try:
        with _opened(path) as stream:
            yield stream
    except (OSError, EOFError, zlib.error) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error_line(error)
        raise UsageError(f"cannot read {source}: {reason}") from error


def _opened(path: Path | None) -> AbstractContextManager[BinaryIO]:
    if path is None:
        return nullcontext(sys.stdin.buffer)
    if path.name.lower().endswith(GZIP_SUFFIX):
        return cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb")


def lines_of(
    stream: BinaryIO, source: str, limit: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line, with its end; one that is longer than `MAX_LINE` comes first in part.

    Without any line feed, carriage returns end the lines: programs write "Text (Macintosh)" and "CSV (Macintosh)" so.
    """
    size, number = 0, 0
    while data := stream.readline(MAX_LINE + 1):
        if not number and b"\r" in data and b"\n" not in data and len(data) <= MAX_LINE:
            texts = data.removesuffix(b"\r").split(b"\r")
            yield from enumerate((text + b"\n" for text in texts), start=1)
            return
        number, size = number + 1, size + len(data)
        if limit is not None and size > limit:
            raise UsageError(
                f"{source} holds more than {limit >> 20:,} MiB; pass a file, which is read row by row"
            )
        yield number, data


def line_text(data: bytes, where: str) -> str:
    """A line as text, with its end."""
    if len(data) > MAX_LINE:
        reject(
            where,
            f"a line of more than {MAX_LINE >> 20} MiB",
            "shorter lines, each with a line feed at its end",
        )
    return _decoded(data, where, "the line")


def _content(data: bytes, where: str, number: int) -> str:
    """A line as text, without its end and the file's mark."""
    text = line_text(data, where)
    text = text.removeprefix(BYTE_ORDER_MARK) if number == 1 else text
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def _starts_list(start: bytes, *, text_lines: bool) -> bool:
    text = start.decode("utf-8", "replace").removeprefix(BYTE_ORDER_MARK)
    if text_lines:  # a line of text may start with a bracket, too
        return bool(_LIST_OF_OBJECTS.match(text))
    return text.lstrip().startswith("[")


def _starts_object(line: str) -> bool:
    """Whether a line is the beginning of an object that ends on another one, as pretty printers write it."""
    if not line.lstrip().startswith("{"):
        return False
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(line.rstrip())
    except (ValueError, RecursionError):
        return False
    return False


def _whole(start: bytes, lines: Iterable[tuple[int, bytes]], *, source: str, kind: str) -> str:
    """The text of a source that is a single JSON value, a list or an object, from this line on."""
    parts, size = [start], len(start)
    for _, data in lines:
        if size > MAX_LIST:
            break
        parts.append(data)
        size += len(data)
    if size > MAX_LIST:
        raise UsageError(
            f"{source} is {kind} of more than {MAX_LIST >> 20} MiB; write one JSON object per line, which is read row by row"
        )
    return _decoded(b"".join(parts), source, "the file").removeprefix(BYTE_ORDER_MARK)


def _listed_rows(text: str, source: str, text_field: str) -> Iterator[Row]:
    values = parse_json(text, source, "one JSON object per line, or one list of them")
    for number, value in enumerate(values, start=1):
        where = f"{source}, row {number}"
        yield Row(where, number, _fields(value, where, text_field, "a JSON object"))


def _fields(value: Any, where: str, text_field: str, accepted: str) -> dict[str, Any]:
    if isinstance(value, str) and text_field:
        return {text_field: value}
    if not isinstance(value, dict):
        reject(where, shown(value), accepted)
    return value


def _decoded(data: bytes, where: str, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"0x{data[error.start]:02x} at byte {error.start + 1} of {what}"
        reject(where, byte, "UTF-8 text")
