"""Finding and opening data sets, and the errors for missing, truncated and damaged files."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from spar.data_folder import cache_root, data_root
from spar.errors import UsageError
from spar.eval.datasets.local import open_data
from spar.eval.datasets.readers import DamagedFile, count_rows, read_csv
from spar.eval.datasets.registry import DataSet, data_set, data_sets

ABSENT = "nltk_words"
"""The data set that ../shared/data may lack."""


@pytest.fixture
def copy(data_root: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copies a data set into a folder that a test may damage; gives the set's folder."""

    def _copy(name: str) -> Path:
        shutil.copytree(data_root / name, tmp_path / name)
        for path in (tmp_path / name).rglob("*"):
            path.chmod(0o755)
        return tmp_path / name

    return _copy


@pytest.mark.data
@pytest.mark.parametrize("known", data_sets(), ids=lambda known: known.name)
def test_the_table_describes_the_originals(known: DataSet, data_root: Path) -> None:
    """Every known file is in the data, has the listed rows, and is the original to the byte."""
    if known.name == ABSENT and not (data_root / ABSENT).is_dir():
        pytest.skip(f"no {ABSENT} in ../shared/data")
    folder = open_data(known.name, str(data_root))
    assert folder.altered == () and folder.notes == ()
    for path, file in known.files.items():
        assert count_rows(path, folder.path(path).read_bytes(), known.fields) == file.rows, path


@pytest.mark.data
def test_the_table_agrees_with_the_manifest(data_root: Path) -> None:
    """The table has the sums of the manifest, which also lists files that no benchmark downloads."""
    lines = (data_root / "MANIFEST.sha256").read_text().splitlines()
    manifest = {line[66:].removeprefix("./"): line[:64] for line in lines}
    table = {f"{s.name}/{path}": file.sha256 for s in data_sets() for path, file in s.files.items()}
    listed = {path: sha for path, sha in table.items() if not path.startswith(f"{ABSENT}/")}
    assert listed.items() <= manifest.items()
    assert {path.split("/")[0] for path in manifest.keys() - table.keys()} == {
        "README.md",
        "seed_prompts",
    }


@pytest.mark.data
def test_rows_of_every_kind(data_root: Path) -> None:
    """JSON lines, gzipped ones, JSON and CSV with line breaks inside fields all give their rows."""
    root = str(data_root)
    assert open_data("ifeval", root).jsonl("input_data.jsonl")[0]["key"] == 1000
    humaneval = open_data("humaneval", root).jsonl("HumanEval.jsonl.gz")
    assert [humaneval[0]["task_id"], len(humaneval)] == ["HumanEval/0", 164]
    assert len(open_data("llmbar", root).json("Natural/dataset.json")) == 100
    mmlu = open_data("mmlu", root)
    rows = mmlu.csv("dev/abstract_algebra_dev.csv")
    assert len(rows) == 5 and rows[0]["answer"] in "0123"
    nutrition = mmlu.csv("test/nutrition_test.csv")
    assert sum("\n" in row["question"] for row in nutrition) == len(nutrition) == 306


@pytest.mark.data
def test_digest_changes_with_any_file(copy: Callable[[str], Path]) -> None:
    """Another byte in one file is another digest, and the file is noted as altered."""
    folder = copy("llmbar")
    before = open_data("llmbar", str(folder.parent))
    assert len(before.digest) == 16
    path = folder / "Natural/dataset.json"
    path.write_bytes(path.read_bytes() + b"\n")
    after = open_data("llmbar", str(folder.parent))
    assert after.altered == ("Natural/dataset.json",)
    assert after.notes == (
        "llmbar: these files differ from the public originals: Natural/dataset.json",
    )
    assert before.digest != after.digest


@pytest.mark.data
def test_the_set_s_own_folder_may_be_given(data_root: Path) -> None:
    """`--data DIR/ifeval` finds ifeval, and from there nltk_data beside it."""
    given = str(data_root / "ifeval")
    assert open_data("ifeval", given).root == data_root / "ifeval"
    assert open_data("nltk_data", given).root == data_root / "nltk_data"
    assert open_data("ifeval", given).digest == open_data("ifeval", str(data_root)).digest


def test_where_the_data_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The given folder wins over SPAR_DATA, which wins over the cache in XDG_CACHE_HOME or home."""
    monkeypatch.setenv("SPAR_DATA", str(tmp_path / "set"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root("~/x") == Path.home() / "x"
    assert data_root() == tmp_path / "set"
    monkeypatch.delenv("SPAR_DATA")
    assert data_root() == cache_root() == tmp_path / "cache/spar/data"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_root() == Path.home() / ".cache/spar/data"


@pytest.mark.parametrize(
    ("given", "variable", "origin"),
    [(True, "", "for --data"), (False, "there", "for SPAR_DATA"), (False, "", "in the cache")],
)
def test_a_missing_folder_says_how_to_get_it(
    given: bool, variable: str, origin: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The line names the folder, where the name came from, the command and both ways to point."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("SPAR_DATA", variable and str(tmp_path / variable))
    with pytest.raises(UsageError) as caught:
        open_data("gsm8k", str(tmp_path / "other") if given else "")
    line = str(caught.value)
    assert "\n" not in line and "gsm8k: there is no such folder" in line and origin in line
    for part in (str(tmp_path), "`spar data fetch gsm8k`", "--data DIR", "SPAR_DATA"):
        assert part in line


def test_an_unknown_set_names_the_closest() -> None:
    """A typing error is answered with the nearest name and all of them."""
    with pytest.raises(UsageError, match=r"did you mean 'ifeval'\? \(accepted: ifeval, ifbench"):
        open_data("ifevl")


def _cut_half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _last_row_gone(content: bytes) -> bytes:
    return b"".join(content.splitlines(keepends=True)[:-1])


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "path", "damage", "found"),
    [
        ("ifeval", "input_data.jsonl", _cut_half, "is not JSON; expected 541 rows"),
        ("ifeval", "input_data.jsonl", _last_row_gone, "truncated: 540 rows; expected 541 rows"),
        ("ifeval", "input_data.jsonl", lambda c: b"", "truncated: 0 rows; expected 541 rows"),
        ("ifeval", "input_data.jsonl", lambda c: c.replace(b'"key"', b'"Key"', 1), "line 1 lacks"),
        (
            "ifeval",
            "input_data.jsonl",
            lambda c: c.replace(b": 1000,", b': "a",', 1),
            "is not of type int",
        ),
        ("ifeval", "input_data.jsonl", lambda c: b"\xff" + c, "not UTF-8 at byte 1"),
        ("llmbar", "Natural/dataset.json", _cut_half, "the file is not JSON; expected 100 rows"),
        ("llmbar", "Natural/dataset.json", lambda c: b"{}", "truncated: 0 rows; expected 100 rows"),
        ("llmbar", "Natural/dataset.json", lambda c: b"[1]", "row 1 is not an object"),
        ("humaneval", "HumanEval.jsonl.gz", _cut_half, "truncated or not gzipped"),
        ("humaneval", "HumanEval.jsonl.gz", lambda c: b"<html>", "truncated or not gzipped"),
        ("mmlu", "dev/virology_dev.csv", lambda c: c[:-3], "as many fields as the header"),
        ("mmlu", "dev/virology_dev.csv", lambda c: c + b'"x', "truncated or not a table"),
        ("mmlu", "dev/virology_dev.csv", lambda c: c[c.index(b"\n") + 1 :], "lacks the field"),
        ("mmlu", "dev/virology_dev.csv", _last_row_gone, "truncated: 4 rows; expected 5 rows"),
        (
            "nltk_data",
            "tokenizers/punkt_tab/english/ortho_context.tab",
            _cut_half,
            "expected 20,366 rows",
        ),
    ],
)
def test_damaged_files_are_refused(
    name: str, path: str, damage: Callable[[bytes], bytes], found: str, copy: Callable[[str], Path]
) -> None:
    """The error for a truncated or damaged file has its name, the problem and how to get it again."""
    file = copy(name) / path
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UsageError) as caught:
        open_data(name, str(file.parents[path.count("/") + 1]))
    line = str(caught.value)
    assert str(file) in line and found in line and f"spar data fetch {name}" in line
    assert "\n" not in line


@pytest.mark.data
def test_a_missing_file_is_named(copy: Callable[[str], Path]) -> None:
    """A set without one of its files is refused when it is opened, not when the file is read."""
    folder = copy("gsm8k")
    (folder / "train_first200.jsonl").unlink()
    with pytest.raises(UsageError, match=r"train_first200\.jsonl: there is no such file; get it"):
        open_data("gsm8k", str(folder.parent))


@pytest.mark.data
def test_an_unknown_file_of_a_set_is_named(data_root: Path) -> None:
    """Asking for a file that the set does not have says so."""
    with pytest.raises(UsageError, match=r"nothing\.jsonl: there is no such file"):
        open_data("ifeval", str(data_root)).jsonl("nothing.jsonl")


@pytest.mark.data
def test_a_whole_file_with_more_rows_is_used(copy: Callable[[str], Path]) -> None:
    """Rows added to a file make it altered, not refused; they are read like the others."""
    path = copy("gsm8k") / "test.jsonl"
    path.write_bytes(path.read_bytes() + b'{"question": "1 + 1?", "answer": "#### 2"}\n')
    folder = open_data("gsm8k", str(path.parent))
    assert folder.altered == ("test.jsonl",)
    assert len(folder.jsonl("test.jsonl")) == 1320


def test_a_gzipped_name_is_unzipped_and_a_byte_order_mark_dropped() -> None:
    """Rows are counted behind gzip, and behind a mark that some editors put first."""
    content = gzip.compress(b'\xef\xbb\xbf{"a": 1}\n\n{"a": 2}\n')
    assert count_rows("x.jsonl.gz", content, {"a": "int"}) == 2
    with pytest.raises(DamagedFile, match="line 3: the field 'a' is not of type str"):
        count_rows("x.jsonl", b'{"a": "1"}\n\n{"a": true}\n', {"a": "str"})


def test_csv_fields_keep_quotes_and_line_breaks() -> None:
    """A quoted field may hold the separator, doubled quotes and line breaks of either kind."""
    rows = read_csv("x.csv", b'a,b\r\n"1,\n2","say ""so""\r\n"\r\n', {"a": "str"})
    assert rows == [{"a": "1,\n2", "b": 'say "so"\r\n'}]


@pytest.mark.data
def test_the_digest_is_of_names_and_contents(data_root: Path) -> None:
    """One file's digest is that of the line which sha256sum prints for it."""
    line = f"{data_set('ifeval').files['input_data.jsonl'].sha256}  input_data.jsonl\n"
    expected = hashlib.sha256(line.encode()).hexdigest()[:16]
    assert open_data("ifeval", str(data_root)).digest == expected
