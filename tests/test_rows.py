"""Rows of files: every format, odd bytes, and what has no end."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spar.errors import MissingExtra, UsageError
from spar.rows import lines
from spar.rows.read import is_repeatable, read_rows, read_texts

ROWS = [
    {"id": "1", "prompt": 'a, "b"\u2028c\r\nd'},
    {"id": "2", "prompt": "e\tf"},
]


def values(path: Path | str, **options: str) -> list[dict[str, Any]]:
    """The fields of every row."""
    return [row.values for row in read_rows(path, **options)]


def mistake(path: Path | str, **options: str) -> str:
    """The one line of the error that reading `path` raises."""
    with pytest.raises(UsageError) as caught:
        values(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_parquet(path: Path) -> None:
    """The rows as a table."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS), path)


def write_csv(path: Path, delimiter: str) -> None:
    """The rows as a spreadsheet writes them: a mark first, carriage returns, quotation marks."""
    cells = [["id", "prompt"], *([row["id"], row["prompt"]] for row in ROWS)]
    quoted = (
        delimiter.join('"' + cell.replace('"', '""') + '"' for cell in line) for line in cells
    )
    path.write_bytes(("\ufeff" + "".join(f"{line}\r\n" for line in quoted)).encode())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("marked.jsonl", "\ufeff" + "".join(json.dumps(row) + "\r\n\r\n" for row in ROWS)),
        ("raw.ndjson", "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)),
        ("list.json", json.dumps(ROWS)),
        ("indented.json", "\ufeff\n" + json.dumps(ROWS, indent=2)),
        ("list.jsonl.gz", json.dumps(ROWS)),
        ("comma.csv", ","),
        ("semicolon.csv", ";"),
        ("tab.tsv", "\t"),
        ("table.parquet", None),
    ],
)
def test_every_format_has_the_same_rows(tmp_path: Path, name: str, content: str | None) -> None:
    """Line separators inside strings, marks and carriage returns change nothing."""
    path = tmp_path / name
    if content is None:
        write_parquet(path)
    elif len(content) == 1:
        write_csv(path, content)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(content.encode()))
    else:
        path.write_bytes(content.encode())
    assert values(path) == ROWS
    assert is_repeatable(path)
    places = [row.where for row in read_rows(path)]
    assert len({*places}) == 2
    assert all(place.startswith(str(path)) for place in places)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"a": NaN}', "a.jsonl:1: the number NaN, which JSON does not have"),
        ("a.jsonl", b'{"b": 1}\n{"a": [-Infinity]}', "a.jsonl:2: the number -Infinity"),
        ("a.jsonl", b'{"a": 1e999}', "the number 1e999, which is too large"),
        ("a.jsonl", b'{"a": 1, "b": {"c": 1, "c": 2}}', 'the key "c" twice in one object'),
        ("a.json", b'[{"a": 1}, 3]', "a.json, row 2: 3; accepted: a JSON object"),
        ("a.json", b'[{"a": 1}', "not JSON at column"),
        ("a.json", b'[{"a": 1},\n{"a" 1}]', "a.json: not JSON at line 2, column 6"),
        ("a.json", b'{\n"a": 1\n', "not JSON at line 3, column 1: {"),
        ("a.json", b'{\n"a": 1}\n{"a": 2}', "at line 3, column 1: {"),
        ("a.jsonl", b'{"a": 1', "accepted: one JSON object, one a line, or one list of them"),
        ("a.jsonl", b'{"a": 1}\n{"a": 1', "a.jsonl:2: not JSON at column 8"),
        ("a.json", b'[{"a": "\xff"}]', "0xff at byte 9 of the file; accepted: UTF-8"),
        ("a.jsonl", b"[" * 5000, "not JSON"),
        ("a.jsonl.gz", b"no gzip", "cannot read"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9], "cannot read"),
        ("a.csv", b"a,a\n1,2\n", 'a.csv:1: the header ["a", "a"]'),
        ("a.csv", b"sep=;\na;\n1;2\n", 'a.csv:2: the header ["a", ""]'),
        ("a.csv", b"sep=;\na;b\n1;2\n3\n", "a.csv:4: 1 cells; accepted: 2, as the header has"),
        ("a.csv", b",,a\n0,1,2\n", 'a.csv:1: the header ["", "", "a"]'),
        ("a.csv", b'a,b\n"1\n2",3\n4\n', "a.csv:4: 1 cells; accepted: 2, as the header has"),
        ("a.csv", b'a\n"1', "a.csv:2: not a record"),
        ("a.parquet", b"PAR1", "cannot read"),
        ("a.txt", b"text", "'.txt'; accepted: .jsonl"),
        ("a.dat", b"text", "'.dat'; accepted: .jsonl"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    """The message has the place and what is accepted."""
    if name == "a.parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    assert words in mistake(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        ',prompt,n\n0,Hi,5\n1,"a;b;c",\n',  # pandas, with its index
        "sep=,\r\nprompt,n\r\nHi,5\r\na;b;c,\r\n",  # Excel
        '\ufeff"sep=|"\nprompt|n\nHi|5\na;b;c|\n',
        "sep=\t\nprompt\tn\nHi\t5\na;b;c\t\n",
    ],
    ids=["pandas", "Excel", "bar", "tab"],
)
def test_tables_as_programs_write_them(tmp_path: Path, content: str) -> None:
    """An index without a name is no field, and a line that names the delimiter is no row."""
    (tmp_path / "a.csv").write_bytes(content.encode())
    assert values(tmp_path / "a.csv") == [{"prompt": "Hi", "n": "5"}, {"prompt": "a;b;c"}]


@pytest.mark.parametrize("mark", ["", "\ufeff", "\n\n"])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz", "-"])
def test_a_single_object_over_several_lines_is_one_row(
    tmp_path: Path, name: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pretty printers write it, with any line ends."""
    row = {"prompt": "a", "messages": [{"b": [], "c": None}], "n": 1.5}
    for end in ("\n", "\r\n", "\r"):
        data = (mark + json.dumps(row, indent=2)).replace("\n", end).encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        (read,) = read_rows("-" if name == "-" else path)
        assert (read.values, read.number) == (row, 1)
        assert read.where.endswith(", row 1")


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.txt", "one\n\ntwo words\n", [{"prompt": "one"}, {"prompt": "two words"}]),
        ("a.txt.gz", "\ufeffone\ntwo", [{"prompt": "one"}, {"prompt": "two"}]),
        ("a.csv", "id,prompt\n1,a\n\n2,b\n", [{"id": "1", "prompt": "a"}, {"id": "2", "prompt": "b"}]),
        ("a.csv", "sep=;\nid;prompt\n1;a\n", [{"id": "1", "prompt": "a"}]),
        ("a.tsv", "id\tprompt\n1\ta\n", [{"id": "1", "prompt": "a"}]),
        ("a.jsonl", '{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ("a.json", '[{"a": 1},\n{"a": 2}]\n', [{"a": 1}, {"a": 2}]),
        ("-", '{"prompt": "a"}\nb\n', [{"prompt": "a"}, {"prompt": "b"}]),
    ],
)  # fmt: skip
def test_lines_may_end_in_carriage_returns_alone(
    tmp_path: Path,
    name: str,
    content: str,
    rows: list[dict[str, Any]],
    end: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a file without any line feed, as "Text (Macintosh)" is; every format has the same rows with each line end."""
    data = content.replace("\n", end).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    source = "-" if name == "-" else tmp_path / name
    assert values(source, text_field="prompt") == rows


def test_a_carriage_return_among_line_feeds_is_text(tmp_path: Path) -> None:
    """It ends no line there; between the cells of a table it is refused in words for who wrote the table."""
    (tmp_path / "a.txt").write_bytes(b"one\rstill one\ntwo\n")
    assert values(tmp_path / "a.txt", text_field="a") == [{"a": "one\rstill one"}, {"a": "two"}]
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\r3,4\n")
    assert (
        "a.csv:2: not a record: a carriage return without a line feed; accepted: lines that all"
        in (mistake(tmp_path / "a.csv"))
    )


def test_a_format_may_be_passed_for_other_suffixes(tmp_path: Path) -> None:
    """A file whose name says nothing is read as its caller says."""
    path = tmp_path / "answers.out"
    path.write_text('{"a": 1}\n')
    assert values(path, suffix=".jsonl") == [{"a": 1}]


def test_columns_become_json(tmp_path: Path) -> None:
    """Nulls are absent, numbers that JSON lacks are null, dates are text, bytes are refused."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from datetime import date, timedelta

    row: dict[str, Any] = {"a": None, "b": float("nan"), "c": date(2026, 1, 2), "d": [{"e": None}]}
    row["f"] = timedelta(seconds=90)
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    expected = {"b": None, "c": "2026-01-02", "d": [{"e": None}], "f": "0:01:30"}
    assert values(tmp_path / "a.parquet") == [expected]
    pq.write_table(pa.Table.from_pylist([{"image": b"GIF"}]), tmp_path / "b.parquet")
    assert "row 1: 'image' is a bytes" in mistake(tmp_path / "b.parquet")


def test_parquet_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow, the message has the command that installs it."""
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pyarrow.*\[export\]"):
        values(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.csv", "a"])
def test_a_device_without_end_is_refused(tmp_path: Path, name: str) -> None:
    """What never ends a line stops at the limit of a line."""
    (tmp_path / name).symlink_to("/dev/zero")
    assert "a line of more than 16 MiB" in mistake(tmp_path / name, text_field="prompt")


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    """Two gigabytes of nothing cost no more than one line's limit."""
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.truncate(2 << 30)
    assert ":1: a line of more than 16 MiB" in mistake(tmp_path / "a.jsonl")


def test_a_stream_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short lines without end stop at the limit of a stream; a list at its own."""
    monkeypatch.setattr("spar.rows.read.MAX_STREAM", 8192)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"line\n" * 9999)))
    assert "standard input holds more than" in mistake("-", text_field="prompt")
    monkeypatch.setattr(lines, "MAX_LIST", 4096)
    text = json.dumps([{"a": "b" * 5000}])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    assert "standard input is a list of more than" in mistake("-")
    text = json.dumps({"a": "b" * 5000}, indent=1)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    assert "standard input is an object of more than" in mistake("-")


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """A named pipe has objects, lines of text or a list, as standard input has."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=('{"prompt": "a"}\nplain\n',))
    writer.start()
    assert not is_repeatable(pipe)
    assert values(pipe, text_field="prompt") == [{"prompt": "a"}, {"prompt": "plain"}]
    writer.join()


class FakeDatasetsError(Exception):
    """What the package `datasets` raises for a data set that it cannot build."""


class FakeHub(SimpleNamespace):
    """The package `datasets` with one data set."""

    config = SimpleNamespace(HF_HUB_OFFLINE=True)
    exceptions = SimpleNamespace(DatasetsError=FakeDatasetsError)

    def load_dataset(self, name: str, config: str | None, split: str | None) -> Any:
        """Its splits, or one of them."""
        if name == "org/mixed":
            summary = FakeDatasetsError("An error occurred while generating the dataset")
            raise summary from ValueError("Couldn't cast\nx: int64")
        if name != "org/name" or config not in (None, "main"):
            raise ConnectionError(f"Couldn't reach '{name}' on the Hub\n(offline)")
        splits = {"train": [{"prompt": "a", "empty": None}], "test": [{"prompt": "b"}]}
        return splits[split] if split else splits


def test_data_sets_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, configuration and split; what cannot be reached is one line."""
    monkeypatch.setitem(sys.modules, "datasets", FakeHub())
    assert values("org/name") == [{"prompt": "a"}]
    assert values("hf://datasets/org/name/main:test") == [{"prompt": "b"}]
    assert "there is no file org/other, and the data set of that name" in mistake("org/other")
    assert "cannot be read" in mistake("hf://org/name/none")
    assert "is no data set" in mistake("hf://org")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match="datasets"):
        values("org/name")


def test_a_data_set_whose_files_differ_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its columns are others in each file, which the package says in the cause of its error."""
    monkeypatch.setitem(sys.modules, "datasets", FakeHub())
    assert "cannot be read from the Hugging Face hub: Couldn't cast x: int64" in mistake(
        "org/mixed"
    )


@pytest.mark.parametrize("name", ["none.jsonl", "a/none.csv", "no file", "\0", "x" * 5000])
def test_a_missing_file_is_no_data_set(name: str) -> None:
    """A path with a suffix, or a name that the hub cannot have, is a file that is not there."""
    with pytest.raises(UsageError, match="there is no file"):
        read_rows(name)


def test_texts_of_rows_and_lines(tmp_path: Path) -> None:
    """A field of every row, or a line each, without white space around it; a row without one is refused by its place."""
    (tmp_path / "a.jsonl").write_text('{"text": " one "}\n{"text": "two"}\n{"text": ""}\n')
    (tmp_path / "a.txt").write_text("one\n two \n")
    assert list(read_texts(tmp_path / "a.txt", "text")) == ["one", "two"]
    texts = read_texts(tmp_path / "a.jsonl", "text")
    assert [next(texts), next(texts)] == ["one", "two"]
    with pytest.raises(
        UsageError, match=r"a\.jsonl.*3: no text; accepted: rows with a field 'text'"
    ):
        next(texts)
