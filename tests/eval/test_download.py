"""Downloads from a loopback server: every file is checked, truncated ones are discarded, conversions are exact."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from spar import ifbench_verifiers, ifeval_verifiers
from spar.cli import data as data_commands
from spar.cli.app import app
from spar.config import EvalConfig
from spar.errors import MissingExtra, RunStopped, UsageError
from spar.eval.datasets import download as fetching
from spar.eval.datasets import first_use
from spar.eval.datasets.convert import convert
from spar.eval.datasets.download import fetch, missing
from spar.eval.datasets.local import open_data
from spar.eval.datasets.registry import DataFile, DataSet, data_set, data_sets
from spar.eval.nano_if import NanoAnswers
from spar.eval.needed_data import fetch_data
from spar.listener import Activity, Listener
from spar.record.evaluation import read_results


@dataclass
class Origin:
    """A server on loopback that holds files, and counts what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    failures: int = 0
    """So many answers are 503 first."""
    base: str = ""


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    """An empty origin; the pause between tries is cut to nothing."""
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0.0)
    held = Origin()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            held.asked.append(self.path)
            body = held.files.get(self.path)
            if held.failures:
                held.failures -= 1
                self.send_error(503)
            elif body is None:
                self.send_error(404)
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        held.base = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield held
        server.shutdown()
        thread.join()


def known(**contents: bytes) -> DataSet:
    """A set whose files, named a, b and so on, have these contents at their origins."""
    files = {
        name: DataFile(name, hashlib.sha256(body).hexdigest(), 1, f"o/r/c/{name}", ("", ""))
        for name, body in contents.items()
    }
    return DataSet("toy", "toys", "MIT", {}, files)


def names(files: Iterator[DataFile]) -> list[str]:
    return [file.path for file in files]


def test_files_are_downloaded_once(origin: Origin, tmp_path: Path) -> None:
    """Each missing file is asked for once and appears whole; a second fetch asks for nothing."""
    origin.files = {"/o/r/c/a": b"one", "/o/r/c/b": b"two"}
    toys = known(a=b"one", b=b"two")
    assert names(fetch(toys, str(tmp_path), base=origin.base)) == ["a", "b"]
    assert (tmp_path / "toy/a").read_bytes() == b"one"
    assert missing(toys, str(tmp_path)) == []
    assert names(fetch(toys, str(tmp_path), base=origin.base)) == []
    assert origin.asked == ["/o/r/c/a", "/o/r/c/b"]
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == ["a", "b"]


def test_an_altered_file_is_replaced(origin: Origin, tmp_path: Path) -> None:
    """A file that is there but is not the original is downloaded again, the right one is not."""
    origin.files = {"/o/r/c/a": b"one", "/o/r/c/b": b"two"}
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/a").write_bytes(b"mine")
    (tmp_path / "toy/b").write_bytes(b"two")
    assert names(fetch(known(a=b"one", b=b"two"), str(tmp_path), base=origin.base)) == ["a"]
    assert (tmp_path / "toy/a").read_bytes() == b"one"


def test_what_is_not_the_file_is_thrown_away(origin: Origin, tmp_path: Path) -> None:
    """A wrong body leaves the files before it and nothing of itself, and a second fetch goes on there."""
    origin.files = {"/o/r/c/a": b"one", "/o/r/c/b": b"<html>"}
    toys = known(a=b"one", b=b"two")
    with pytest.raises(
        RunStopped, match=r"c/b: the download is not b \(SHA-256 .* nothing was written"
    ):
        names(fetch(toys, str(tmp_path), base=origin.base))
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["a"]
    origin.files["/o/r/c/b"] = b"two"
    assert names(fetch(toys, str(tmp_path), base=origin.base)) == ["b"]


def test_a_failing_server_is_tried_again(origin: Origin, tmp_path: Path) -> None:
    """Two answers of 503 are waited out; three are reported, with the status and the way around."""
    origin.files, origin.failures = {"/o/r/c/a": b"one"}, 2
    assert names(fetch(known(a=b"one"), str(tmp_path), base=origin.base)) == ["a"]
    (tmp_path / "toy/a").unlink()
    origin.failures = 3
    with pytest.raises(RunStopped, match=r"the server answered 503; try again, or copy the files"):
        names(fetch(known(a=b"one"), str(tmp_path), base=origin.base))


def test_a_missing_page_is_not_tried_again(origin: Origin, tmp_path: Path) -> None:
    """404 is final."""
    with pytest.raises(RunStopped, match="the server answered 404"):
        names(fetch(known(a=b"one"), str(tmp_path), base=origin.base))
    assert origin.asked == ["/o/r/c/a"]


def test_an_endless_answer_is_cut_off(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body beyond the limit is given up, and nothing is written."""
    monkeypatch.setattr(fetching, "MAX_BYTES", 1000)
    origin.files = {"/o/r/c/a": bytes(5000)}
    with pytest.raises(RunStopped, match="the server sent more than 1,000 bytes"):
        names(fetch(known(a=b"one"), str(tmp_path), base=origin.base))
    assert list((tmp_path / "toy").iterdir()) == []


def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot be reached is one line with the address and the folder to copy into."""
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0.0)
    with pytest.raises(RunStopped) as caught:
        names(fetch(known(a=b"one"), str(tmp_path), base="http://127.0.0.1:9/"))
    line = str(caught.value)
    assert line.startswith("cannot download http://127.0.0.1:9/o/r/c/a: ") and "\n" not in line
    assert str(tmp_path / "toy") in line


def test_all_data_sets_may_be_named_beside_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`all` among names stands for all of them, each once; a wrong name lists it with what is accepted."""
    fetched: list[str] = []

    def note(name: str, data: str) -> int:
        fetched.append(name)
        return 0

    monkeypatch.setattr(data_commands, "_download", note)
    monkeypatch.setattr("spar.eval.datasets.local.open_data", lambda *_: SimpleNamespace(root="x"))
    for arguments in (["ifeval", "all"], ["all"]):
        fetched.clear()
        assert CliRunner().invoke(app, ["data", "fetch", *arguments]).exit_code == 0
        assert fetched == [each.name for each in data_sets()]
    wrong = CliRunner().invoke(app, ["data", "fetch", "all", "ifevil"]).exception
    assert "unknown data set 'ifevil'; did you mean 'ifeval'? (accepted: " in str(wrong)
    assert str(wrong).endswith(", all)")


def test_a_folder_that_cannot_be_made_is_a_mistake(origin: Origin, tmp_path: Path) -> None:
    """A file where the folder should be is named, with the flag that changes the place."""
    origin.files = {"/o/r/c/a": b"one"}
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match=r"cannot make the folder .*file/toy: .*--data DIR"):
        names(fetch(known(a=b"one"), str(tmp_path / "file"), base=origin.base))


def test_files_of_one_origin_are_downloaded_together(origin: Origin, tmp_path: Path) -> None:
    """Two members of an archive cost one download."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x/a", b"one")
        archive.writestr("x/b", b"two")
    origin.files = {"/o/r/c/x.zip": packed.getvalue()}
    toys = known(a=b"one", b=b"two")
    files = {
        name: replace(file, origin="o/r/c/x.zip", conversion=("unzip", f"x/{name}"))
        for name, file in toys.files.items()
    }
    packed_toys = replace(toys, files=files)
    assert names(fetch(packed_toys, str(tmp_path), base=origin.base)) == ["a", "b"]
    assert (tmp_path / "toy/b").read_bytes() == b"two"
    assert origin.asked == ["/o/r/c/x.zip"]


def test_dpr_questions_become_json_lines() -> None:
    """Tabs separate, doubled quotes are one, the answers are a Python list; ids count the rows."""
    content = (
        'Who?\t[\'A\', "B\'s"]\n"""Say """"so"""" now?"""\t"[\'é\', ""C\'s""]"\nLast?\t[\'x\']\n'
    ).encode()
    expected = (
        '{"id": 0, "question": "Who?", "aliases": ["A", "B\'s"]}\n'
        '{"id": 1, "question": "\\"Say \\"\\"so\\"\\" now?\\"", "aliases": ["é", "C\'s"]}\n'
    ).encode()
    assert convert(("dpr", "2"), content) == expected
    assert convert(("dpr", ""), content).startswith(expected)
    assert convert(("dpr", ""), content).count(b"\n") == 3


@pytest.mark.parametrize(
    ("how", "content"),
    [
        (("dpr", ""), b"one field\n"),
        (("dpr", ""), b"q\t[not python\n"),
        (("dpr", ""), b"\xff\t[]\n"),
        (("unzip", "a"), b"no archive"),
    ],
)
def test_origins_of_another_form_are_refused(how: tuple[str, str], content: bytes) -> None:
    """A maker that does not find what it expects stops the download."""
    with pytest.raises(RunStopped, match="the content does not have the expected form"):
        convert(how, content)


def test_lines_are_counted_from_the_first() -> None:
    """The first lines stay as they are, line ends included."""
    assert convert(("lines", "2"), b"a\nb\nc\n") == b"a\nb\n"


@pytest.mark.data
def test_triviaqa_is_made_exactly(data_root: Path) -> None:
    """From questions in DPR's form, the maker gives the derived file to the byte."""
    import csv

    path = data_root / "triviaqa/validation_unfiltered.jsonl"
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    table = io.StringIO(newline="")
    writer = csv.writer(table, delimiter="\t", lineterminator="\n")
    writer.writerows((row["question"], repr(row["aliases"])) for row in rows)
    file = data_set("triviaqa").files["validation_unfiltered.jsonl"]
    made = convert(file.conversion, table.getvalue().encode())
    assert hashlib.sha256(made).hexdigest() == file.sha256


@pytest.mark.data
def test_a_whole_set_through_the_command(
    origin: Origin, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`spar data fetch` says the licence, downloads, and leaves a set that opens without an alteration."""
    for file in data_set("llmbar").files.values():
        origin.files[f"/{file.origin}"] = (data_root / "llmbar" / file.path).read_bytes()
    monkeypatch.setattr(fetching, "BASE", origin.base)
    monkeypatch.setenv("SPAR_DATA", str(tmp_path))
    run = CliRunner().invoke(app, ["data", "fetch", "llmbar"])
    assert run.exit_code == 0, run.output
    assert "licence MIT" in run.stdout and "5 of 5 files downloaded" in run.stdout
    assert open_data("llmbar").altered == ()
    again = CliRunner().invoke(app, ["data", "fetch", "llmbar"])
    assert "0 of 5 files downloaded" in again.stdout and len(origin.asked) == 5


def test_the_list_says_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set without files is not here; one with a broken file is damaged."""
    (tmp_path / "ifeval").mkdir()
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k/test.jsonl").write_text("{")
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, ["data", "list", "--data", str(tmp_path)]).stdout
    states = {line.split()[1]: line.split()[-2] for line in shown.splitlines() if "│" in line}
    assert (states["ifeval"], states["gsm8k"]) == ("no", "damaged")
    where = CliRunner().invoke(app, ["data", "where", "--data", str(tmp_path)]).stdout
    assert where.strip() == str(tmp_path)


def test_origins_are_pinned() -> None:
    """Every origin names owner, repository, a whole commit and a path."""
    from spar.eval.datasets.registry import data_sets

    for known_set in data_sets():
        for file in known_set.files.values():
            _, _, commit, *path = file.origin.split("/")
            assert len(commit) == 40 and int(commit, 16) and path, file


class Lines(Listener):
    """Keeps the notes, and how much of each download was done."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done: list[tuple[str, int, int | None]] = []

    def note(self, line: str) -> None:
        self.notes.append(line)

    def progress(self, activity: Activity) -> None:
        self.done.append((activity.name, activity.done, activity.total))


@pytest.fixture
def fresh_machine(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Origin:
    """No data in the cache, and an origin that is not the network's."""
    for name in ("SPAR_DATA", "NLTK_DATA", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "BASE", origin.base)
    return origin


@pytest.fixture
def toys(fresh_machine: Origin, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """A data set of two files at the origin."""
    fresh_machine.files = {"/o/r/c/a": b"one", "/o/r/c/b": b"two"}
    toys = known(a=b"one", b=b"two")
    monkeypatch.setattr(first_use, "data_set", lambda _: toys)
    return toys


def test_first_use_downloads_what_is_absent(
    fresh_machine: Origin, toys: DataSet, tmp_path: Path
) -> None:
    """With its licence and its origin in one line, and progress by file; a file of one's own stays as it is."""
    lines = Lines()
    folder = tmp_path / "cache/spar/data/toy"
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(b"mine")
    first_use.fetch_absent(["toy"], "", lines, offline=False)
    assert lines.notes == [f"toy: toys; licence MIT; downloading 1 file from o/r to {folder}"]
    assert lines.done == [("toy", 1, 1)]
    assert ((folder / "a").read_bytes(), (folder / "b").read_bytes()) == (b"mine", b"two")
    first_use.fetch_absent(["toy"], "", lines, offline=False)
    assert fresh_machine.asked == ["/o/r/c/b"] and len(lines.notes) == 1


@pytest.mark.parametrize("forbid", ["flag", "variable", "folder"])
def test_nothing_is_downloaded_where_it_is_not_wanted(
    forbid: str,
    fresh_machine: Origin,
    toys: DataSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not with --offline, not with the hub's variable, and never into a folder that --data names."""
    if forbid == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    data = str(tmp_path / "mine") if forbid == "folder" else ""
    first_use.fetch_absent(["toy"], data, Lines(), offline=forbid == "flag")
    assert fresh_machine.asked == [] and not (tmp_path / "mine").exists()


@pytest.mark.parametrize("body", [None, b"<html>"])
def test_a_failed_first_use_says_what_else_helps(
    body: bytes | None, fresh_machine: Origin, toys: DataSet, tmp_path: Path
) -> None:
    """A file that cannot be had, or is another, ends the command in one line, which does not name the download again."""
    fresh_machine.files = {"/o/r/c/a": body} if body else {}
    lines = Lines()
    with pytest.raises(RunStopped) as caught:
        first_use.fetch_absent(["toy"], "", lines, offline=False)
    line = str(caught.value)
    assert len(lines.notes) == 1 and "\n" not in line
    assert line.startswith("data set toy: ") and ("is not a" if body else "404") in line
    assert line.endswith("; or name a folder that holds toy/ with --data DIR or SPAR_DATA")
    assert "spar data fetch" not in line
    assert not (tmp_path / "cache/spar/data/toy/a").exists()


def test_a_failed_download_of_what_is_optional_is_a_note(
    fresh_machine: Origin, toys: DataSet
) -> None:
    """The evaluation goes on, and its results say what is missing."""

    class Optional(NanoAnswers):
        optional_data = ("toy",)

    fresh_machine.files = {}
    lines = Lines()
    fetch_data([Optional()], EvalConfig(), lines, offline=False)
    assert len(lines.notes) == 2 and "404" in lines.notes[1]


def test_nothing_is_downloaded_where_the_variable_names_the_sets_own_folder(
    fresh_machine: Origin, toys: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data are there, and a folder of that name inside would hide them."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a").write_bytes(b"one")
    monkeypatch.setenv("SPAR_DATA", str(tmp_path / "mine"))
    first_use.fetch_absent(["toy"], "", Lines(), offline=False)
    assert fresh_machine.asked == []


@pytest.mark.parametrize(
    ("command", "missing", "words"),
    [
        ("eval ifeval --limit 2", "lm_eval", r"IFEval's instructions needs .*'lm_eval'.*\[eval\]"),
        ("eval ifeval --limit 2 --dry-run", "lm_eval", r"'lm_eval'.*\[eval\]"),
        ("eval ifeval", "langdetect", r"'langdetect'.*\[eval\]"),
        ("eval gsm8k", "lm_eval", r"a task of lm-eval needs .*\[eval\]"),
        ("eval nano-if ifbench", "if_verifiable", r"IFBench's instructions needs .*\[ifbench\]"),
        ("sweep ifeval", "lm_eval", r"'lm_eval'.*\[eval\]"),
        ("sweep nano-if", "matplotlib", r"the plot of a sweep needs .*\[eval\]"),
    ],
)
def test_missing_packages_come_before_any_download(
    command: str, missing: str, words: str, fresh_machine: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line names the extra, and nothing is asked of the network."""
    _without_packages(monkeypatch, missing)
    run = CliRunner().invoke(app, [*command.split(), "--engine", "fake"])
    assert isinstance(run.exception, MissingExtra), run.output
    assert re.search(words, str(run.exception))
    assert fresh_machine.asked == []


@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize(
    "command",
    [
        ("eval", "ifeval", "nano-i"),
        ("sweep", "nano-i"),
        ("sweep", "nano-if", "--strategies", "bsf"),
        ("sweep", "nano-if", "--judge", "voets"),
    ],
    ids=" ".join,
)
def test_names_come_before_packages(
    command: tuple[str, ...],
    options: tuple[str, ...],
    fresh_machine: Origin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A typing error is not answered with packages to install."""
    _without_packages(monkeypatch, "lm_eval", "if_verifiable", "matplotlib")
    run = CliRunner().invoke(app, [*command, *options, "--engine", "fake"])
    assert isinstance(run.exception, UsageError), run.output
    assert str(run.exception).startswith("unknown ") and "did you mean" in str(run.exception)
    assert fresh_machine.asked == []


def _without_packages(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """As if these were not installed, nor upstream's verifiers of IFBench."""
    for package in (*packages, "ifbench"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(ifeval_verifiers, "_LOADED", {})
    monkeypatch.setattr(ifbench_verifiers, "_LOADED", [])


@pytest.mark.data
@pytest.mark.evalharness
def test_ifeval_works_as_typed_on_a_fresh_machine(
    fresh_machine: Origin, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`spar eval ifeval` gets its prompts and NLTK's data, and scores; offline it is today's line."""
    pytest.importorskip("lm_eval")
    monkeypatch.setattr(ifeval_verifiers, "_LOADED", {})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for file in data_set("nltk_data").files.values():
            packed.writestr(file.conversion[1], (data_root / "nltk_data" / file.path).read_bytes())
            fresh_machine.files[f"/{file.origin}"] = b""
    fresh_machine.files = dict.fromkeys(fresh_machine.files, archive.getvalue())
    (prompts,) = data_set("ifeval").files.values()
    content = (data_root / "ifeval" / prompts.path).read_bytes()
    fresh_machine.files[f"/{prompts.origin}"] = content
    answers = tmp_path / "answers.csv"
    answers.write_text("key,response\n1000,no mark\n1001,an answer\n")
    command = [
        "eval",
        "ifeval",
        "--limit",
        "2",
        "--responses",
        str(answers),
        "--out",
        str(tmp_path),
    ]
    refused = CliRunner().invoke(app, [*command, "--offline"])
    assert isinstance(refused.exception, UsageError)
    assert "get it with `spar data fetch ifeval`" in str(refused.exception)
    assert fresh_machine.asked == []
    done = CliRunner().invoke(app, [*command, "--display", "plain"])
    assert done.exit_code == 0, done.output
    assert "licence CC BY 4.0" in done.stderr and "licence MIT" in done.stderr
    verifiers = read_results(tmp_path / "ifeval").run["verifiers"]
    assert verifiers.keys() == {"data/ifeval", "data/nltk_data", "lm_eval", "langdetect", "nltk"}
    assert verifiers["data/ifeval"] == open_data("ifeval").digest
