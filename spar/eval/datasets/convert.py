"""Converts the content of public origins into data files.

    ("lines", "200")                the first 200 lines
    ("unzip", "folder/name.txt")    one member of a zip archive
    ("dpr", "200")                  DPR's questions as JSON lines, the first 200; "" for all

DPR's TriviaQA files are tab-separated with CSV quoting: a question, and its accepted answers as a
Python list. A row becomes `{"id": row number, "question": ..., "aliases": [...]}`; none is dropped.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from itertools import islice

from spar.errors import RunStopped

MAX_MEMBER_BYTES = 64 * 2**20
"""Largest size of an unpacked member of an archive."""


def convert(conversion: tuple[str, str], content: bytes) -> bytes:
    """Convert an origin's content into a data file.

    Parameters
    ----------
    conversion:
        Name and argument of the conversion; ("", "") returns the content as it is.

    Raises
    ------
    RunStopped
        The content is not in the form that the conversion expects.
    """
    name, argument = conversion
    if not name:
        return content
    try:
        return CONVERSIONS[name](content, argument)
    except (ValueError, SyntaxError, KeyError, csv.Error, zipfile.BadZipFile) as error:
        raise RunStopped(f"the content does not have the expected form ({error})") from error


def _lines(content: bytes, count: str) -> bytes:
    return b"".join(content.splitlines(keepends=True)[: int(count)])


def _unzip(content: bytes, member: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if archive.getinfo(member).file_size > MAX_MEMBER_BYTES:
            raise ValueError(f"{member} is larger than {MAX_MEMBER_BYTES:,} bytes")
        return archive.read(member)


def _dpr(content: bytes, count: str) -> bytes:
    text = io.StringIO(content.decode("utf-8"), newline="")
    rows = islice(csv.reader(text, delimiter="\t"), int(count) if count else None)
    return "".join(_dpr_line(number, row) for number, row in enumerate(rows)).encode()


def _dpr_line(number: int, row: list[str]) -> str:
    question, answers = row
    fields = {"id": number, "question": question, "aliases": ast.literal_eval(answers)}
    return json.dumps(fields, ensure_ascii=False) + "\n"


CONVERSIONS: Mapping[str, Callable[[bytes, str], bytes]] = {
    "lines": _lines,
    "unzip": _unzip,
    "dpr": _dpr,
}
"""Name of a conversion to a function of the origin's content and the conversion's argument."""
