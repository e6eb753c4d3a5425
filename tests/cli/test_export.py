"""`spar export`: every format, files written whole or not at all, and one-line errors."""

from __future__ import annotations

import csv
import json
import re
from functools import partial
from pathlib import Path

import pytest

from spar.cli.run_export import Export, run
from spar.cli.show.counting import counting
from spar.errors import MissingExtra, RunStopped, UsageError
from spar.export.columns import EXAMPLE_COLUMNS
from spar.export.page.document import style
from spar.export.page.run_page import run_pages
from spar.export.run import find_tree
from spar.nano.tasks import prompts
from spar.record.evaluation import EXAMPLES, Example, write_examples
from spar.store import TREES
from spar.types import SearchTree
from spar.view.node_detail import Annotations
from tests.cli.test_decode import spar
from tests.export.pages import read_page
from tests.export.samples import NANO, write_three
from tests.hostile import hostile_tree
from tests.tui.samples import write_run
from tests.tui.test_compare import answered


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A run of three trees: p1, p10 and a hostile one."""
    return write_three(tmp_path)


def test_forms_on_standard_output(three: Path) -> None:
    """Each form of one tree comes alone on standard output."""
    starts = {
        "markdown": "# Search tree ` p1 `",
        "html": "<!DOCTYPE html>",
        "svg": "<?xml",
        "dot": "digraph tree {",
        "mermaid": "flowchart LR",
        "json": '{"schema_version"',
    }
    for form, start in starts.items():
        made = spar("export", three, "--format", form, "--id", "p1", check=0)
        assert made.stdout.startswith(start)
        assert made.stderr == ""
    assert SearchTree.from_json(made.stdout) == find_tree(three, "p1")


def test_a_file_is_the_same_text(three: Path, tmp_path: Path) -> None:
    """--out writes what standard output would show, over what was there, and leaves nothing else."""
    out = tmp_path / "tree.md"
    out.write_text("old")
    shown = spar("export", three, "--format", "markdown", "--id", "p10", check=0).stdout
    assert spar("export", three, "--format", "markdown", "--id", "p10", "--out", out).stdout == ""
    assert out.read_text("utf-8") == shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["three", "tree.md"]


def test_hostile_text_on_standard_output(three: Path) -> None:
    """No form sends an escape sequence, and none of them stops at a lone surrogate."""
    for form in ("markdown", "html", "svg", "dot", "json"):
        made = spar("export", three, "--format", form, "--id", "[bold", check=0)
        assert "\x1b" not in made.stdout and "\x9b" not in made.stdout
    assert SearchTree.from_json(made.stdout) == hostile_tree()


def test_a_whole_run_as_a_page(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without --id, html is of all trees: on standard output, in a file, or in several beside each other."""
    run(Export(three, "html"))
    whole = capfd.readouterr().out
    assert len(read_page(whole).trees) == 3
    run(Export(three, "html", out=tmp_path / "run.html"))
    assert (tmp_path / "run.html").read_text("utf-8") == whole
    monkeypatch.setattr("spar.cli.run_export.run_pages", partial(run_pages, page_size=2))
    with pytest.raises(UsageError, match="3 trees, more than fit into one file; pass --out FILE"):
        run(Export(three, "html"))
    capfd.readouterr()
    run(Export(three, "html", out=tmp_path / "run.html"))
    assert capfd.readouterr().err == f"3 trees in {tmp_path / 'run.html'} to run-2.html\n"
    assert len(read_page((tmp_path / "run-2.html").read_text("utf-8")).trees) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"file_format": "pdf"},
            "--format 'pdf' is not accepted; choose from markdown, html, svg, dot, mermaid, json, parquet, csv, jsonl, otlp",
        ),
        (
            {"file_format": "html", "rows": "nodes"},
            "--rows 'nodes' needs --format parquet or csv or jsonl",
        ),
        ({"file_format": "csv", "prompt_id": "p1"}, "--id needs --format markdown"),
        ({"file_format": "csv"}, "--format csv needs --out FILE"),
        (
            {"file_format": "csv", "rows": "votes"},
            "--rows 'votes' is not accepted; choose from trees, nodes, faults, examples",
        ),
        ({"file_format": "json", "run": Path("nowhere")}, "there is no file nowhere"),
    ],
)
def test_mistakes(three: Path, options: dict[str, object], message: str) -> None:
    """Each names the flag, the value and what is accepted."""
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        run(Export(**{"run": three, **options}))  # type: ignore[arg-type]  # a table of keywords


def test_a_damaged_run_is_one_line(three: Path) -> None:
    """A torn last line is no matter; a corrupt one in the middle is named; a tree of no schema too."""
    path = three / TREES
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"prompt": {"id": "torn"')
    assert find_tree(three, "p1").prompt.id == "p1"
    path.write_bytes(b"{\n" + whole)
    failed = spar("export", three, "--format", "json", "--id", "p1", check=2)
    assert failed.stderr.count("\n") == 1 and "trees.jsonl:1 is corrupt" in failed.stderr
    path.write_bytes(b'{"prompt": {"id": "odd"}}\n')
    with pytest.raises(UsageError, match="the tree at byte 0 is damaged"):
        find_tree(three, "odd")


def test_a_damaged_line_of_an_evaluation_stops_only_what_has_its_verdict(
    three: Path, tmp_path: Path
) -> None:
    """Neither the record of a tree nor the table of faults does."""
    (three / EXAMPLES).write_text("{\n")
    run(Export(three, "json", "p1", out=tmp_path / "tree.json"))
    run(Export(three, "csv", rows="faults", out=tmp_path / "faults.csv"))
    for options in ({"file_format": "markdown", "prompt_id": "p1"}, {"file_format": "csv"}):
        with pytest.raises(UsageError, match=r"examples\.jsonl:1"):
            run(Export(three, out=tmp_path / "other", **options))  # type: ignore[arg-type]  # a table of keywords


def test_a_file_that_cannot_be_written(three: Path, tmp_path: Path) -> None:
    """The old file stays as it is, and nothing half-written is left."""
    with pytest.raises(RunStopped, match=r"cannot write .*No such file.*rerun the command"):
        run(Export(three, "html", "p1", out=tmp_path / "no" / "x.html"))
    out = tmp_path / "trees.csv"
    out.write_text("old")
    with (three / TREES).open("ab") as handle:
        handle.write(b"nonsense\n{}\n")
    with pytest.raises(UsageError, match="is corrupt"):
        run(Export(three, "csv", out=out))
    assert out.read_text() == "old"
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize("name", ["trees.jsonl", "run.json", "examples.jsonl", "marks.json"])
def test_a_file_of_the_run_is_not_replaced(name: str, three: Path) -> None:
    """The table's own name is that of an evaluation's examples; a file of trees is no place for its table."""
    before = {path.name: path.read_bytes() for path in three.iterdir()}
    for source in (three, three / TREES):
        if source == three or name == TREES:
            with pytest.raises(
                UsageError, match="is a file of the run itself; choose another name"
            ):
                run(Export(source, "jsonl", out=three / name))
    assert {path.name: path.read_bytes() for path in three.iterdir()} == before


def test_no_file_of_any_run_is_replaced(three: Path, tmp_path: Path) -> None:
    """Behind a link, of another run, beside the trees that are named, or of an evaluation; other names are free."""
    other = write_run(tmp_path / "other", [answered(0, "x", 5)])
    for name in ("run.lock", "log.txt", EXAMPLES, "likelihoods.jsonl"):
        (other / name).write_text("own")
    (tmp_path / "link.jsonl").symlink_to(three / TREES)
    (tmp_path / "linked").symlink_to(other)
    before = {path: path.read_bytes() for run in (three, other) for path in run.iterdir()}
    owned = [path for path in before if path.parent == other]
    for out in (tmp_path / "link.jsonl", tmp_path / "linked" / "summary.json", *owned):
        for source in (three, three / TREES):
            with pytest.raises(UsageError, match=r"is a file of .*; choose another name"):
                run(Export(source, "jsonl", out=out))
    with pytest.raises(UsageError, match="is a file of the run itself"):
        run(Export(three / TREES, "jsonl", out=three / "run.json"))
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((other / TREES).read_bytes())
    with pytest.raises(UsageError, match="is the file that is read"):
        run(Export(copy, "jsonl", out=copy))
    assert {path: path.read_bytes() for path in before} == before
    run(Export(three, "jsonl", out=other / "answers.jsonl"))
    for _ in range(2):  # a table under such a name, where there is no run
        run(Export(three, "jsonl", out=tmp_path / TREES))


def test_the_folder_of_one_run_is_that_run(tmp_path: Path) -> None:
    """As `--out` of an evaluation is; of several, the message lists them."""
    run_directory = write_run(tmp_path / "out" / "ifeval", [answered(0, "x", 5)])
    (tmp_path / "out" / "notes").mkdir()
    run(Export(tmp_path / "out", "jsonl", out=tmp_path / "trees.jsonl"))
    assert json.loads((tmp_path / "trees.jsonl").read_text())["answer"] == "x"
    write_run(tmp_path / "out" / "llmbar", [answered(0, "x", 5)])
    with pytest.raises(UsageError, match=rf"it holds 2; give one of them: {run_directory}, .*llmb"):
        run(Export(tmp_path / "out", "jsonl", out=tmp_path / "trees.jsonl"))


def test_the_file_of_trees_is_the_run(tmp_path: Path) -> None:
    """What lies beside it is read: the examples of an evaluation, for one."""
    directory = write_run(tmp_path / "run", [answered(0, "x", 5)])
    write_examples(directory, [Example(id="p0", response="x", passed=True)])
    run(Export(directory / TREES, "jsonl", rows="examples", out=tmp_path / "examples.jsonl"))
    assert json.loads((tmp_path / "examples.jsonl").read_text())["passed"] is True


def test_rows_are_in_the_order_of_the_prompts(tmp_path: Path) -> None:
    """That of the file of prompts where it is there, of an evaluation's examples, and else of the trees."""
    prompts_file = tmp_path / "prompts.jsonl"
    prompts_file.write_text("".join(f'{{"id": "prompt-{n}", "prompt": "x"}}\n' for n in (1, 0, 2)))
    trees = [answered(n, "x", 5) for n in (3, 2, 0, 1)]
    directory = write_run(tmp_path / "run", trees, prompts=str(prompts_file))
    out = tmp_path / "trees.jsonl"

    def ids() -> list[str]:
        run(Export(directory, "jsonl", out=out))
        return [json.loads(line)["prompt_id"] for line in out.read_text().splitlines()]

    assert ids() == ["prompt-1", "prompt-0", "prompt-2", "prompt-3"]
    prompts_file.write_text("{}\n")
    assert ids() == [tree.prompt.id for tree in trees]
    examples = [Example(id=f"prompt-{n}", response="x", passed=True) for n in (0, 2, 1, 3)]
    for text in ("--prompt " + "x" * 9_999, "", "-"):
        other = write_run(tmp_path / f"{len(text)}", trees, prompts=text)
        run(Export(other, "jsonl", out=out))
    write_examples(directory, examples)
    assert ids() == ["prompt-0", "prompt-2", "prompt-1", "prompt-3"]


def test_trees_beyond_the_totals_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A smaller --limit leaves them in the file."""
    directory = write_run(tmp_path / "run", [answered(n, "x", 5) for n in range(3)])
    summary = directory / "summary.json"
    summary.write_text(summary.read_text().replace('"trees": 3', '"trees": 1'))
    for file_format in ("jsonl", "html"):
        run(Export(directory, file_format, out=tmp_path / "out"))
        assert capsys.readouterr().err.endswith(", 2 more than its totals count\n")
    run(Export(directory, "jsonl", rows="nodes", out=tmp_path / "out"))
    assert "more than" not in capsys.readouterr().err


def test_a_table_of_the_whole_run(three: Path, tmp_path: Path) -> None:
    """A row a tree, with ground truth where the prompt can be verified; a row a node and a fault."""
    out = tmp_path / "trees.csv"
    made = spar("export", three, "--format", "csv", "--out", out, check=0)
    assert made.stdout == "" and made.stderr == f"3 trees in {out}\n"
    with out.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["truth"] for row in rows] == ["False", "", ""]
    assert [row["solved"] for row in rows] == ["True", "False", "False"]
    assert json.loads(rows[0]["meta"]) == NANO
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    for name, number in (("nodes", 6), ("faults", 2)):
        run(Export(three, "parquet", rows=name, out=tmp_path / f"{name}.parquet"))
        frame = pandas.read_parquet(tmp_path / f"{name}.parquet")
        assert len(frame) == number
        assert str(frame["parent"].dtype) == "Int64"


def test_an_evaluation_of_answers_from_a_file_exports_them(tmp_path: Path) -> None:
    """It has no trees: its examples are the rows, and a tree is refused."""
    answers = tmp_path / "answers.jsonl"
    rows = [{"id": prompt.id, "response": "That cat."} for prompt in prompts("test", limit=3)]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = tmp_path / "made"
    spar("eval", "nano-if", "--limit", "3", "--responses", answers, "--out", made, check=0)
    directory = made / "nano-if"
    for options in ([], ["--rows", "examples"]):
        out = tmp_path / "examples.csv"
        written = spar("export", directory, "--format", "csv", *options, "--out", out, check=0)
        assert written.stderr == f"3 examples in {out}\n"
        with out.open(encoding="utf-8", newline="") as handle:
            read = list(csv.DictReader(handle))
        assert list(read[0]) == list(EXAMPLE_COLUMNS)
        assert [row["response"] for row in read] == ["That cat."] * 3
        assert all(json.loads(row["verdicts"]) and json.loads(row["scores"]) for row in read)
    with pytest.raises(UsageError, match="has no trees"):
        run(Export(directory, "html"))


def test_a_run_without_trees_is_no_empty_table(tmp_path: Path, three: Path) -> None:
    """A table without rows would look like a finished export."""
    (three / TREES).write_bytes(b"")
    with pytest.raises(UsageError, match="has no trees yet"):
        run(Export(three, "csv", out=tmp_path / "x.csv"))
    with pytest.raises(UsageError, match=r"no file .*examples.jsonl"):
        run(Export(three, "csv", rows="examples", out=tmp_path / "x.csv"))
    assert not (tmp_path / "x.csv").exists()


def test_parquet_needs_pyarrow(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the message says what to install, and no file is started."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match="--format parquet needs the package 'pyarrow'"):
        run(Export(three, "parquet", out=tmp_path / "x.parquet"))
    assert not list(tmp_path.glob("x.parquet*"))


def test_a_table_needs_pandas(three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pandas the error names the extra, and no file is written."""
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"needs the package 'pandas'.*export"):
        run(Export(three, "csv", out=tmp_path / "x.csv"))
    assert not list(tmp_path.glob("x.csv*"))


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_long_export_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_terminal: bool
) -> None:
    """One line that is overwritten and goes in the end; without a terminal, a line every five seconds."""
    clock = iter(range(0, 1_000, 10))
    monkeypatch.setattr("spar.cli.show.counting.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal, raising=False)
    with counting("tree") as counted:
        for done in range(3):
            counted(done, 3)
    shown = capsys.readouterr().err
    lines = ["0 of 3 trees", "1 of 3 trees, 0:20 left", "2 of 3 trees, 0:10 left"]
    if is_terminal:
        assert [line.strip() for line in shown.split("\r")] == ["", *lines, "", ""]
    else:
        assert shown.splitlines() == lines


def test_a_page_reports_its_progress(three: Path) -> None:
    """For each tree, with the number of all."""
    calls: list[tuple[int, int]] = []
    run_pages(three, Annotations(), progress=lambda done, of: calls.append((done, of)))
    assert calls == [(0, 3), (1, 3), (2, 3)]


def test_the_dark_palette_is_written_once() -> None:
    """In the style sheet it stands where the system is dark and where the reader chose it, the same both times."""
    light, *dark = re.findall(r"--paper: (#\w+);", style())[:3]
    assert dark[0] == dark[1] != light
    assert "dark.css */" not in style()


def test_runs_are_compared_on_a_page(tmp_path: Path) -> None:
    """The table of prompts and runs, how each stands against the first, and no script; hostile titles stay text."""
    yes = ([5, 0, 0, 5], [5, 0, 5, 5], [5, 0, 0, 0])
    runs = []
    for name, votes in zip("abc", yes, strict=True):
        trees = [answered(n, "x", each) for n, each in enumerate(votes)]
        odd = trees[0].prompt.messages[0].model_copy(update={"content": "<b>bold</b> & <script>"})
        prompt = trees[0].prompt.model_copy(update={"messages": (odd,)})
        trees[0] = trees[0].model_copy(update={"prompt": prompt})
        runs.append(write_run(tmp_path / name, trees))
    out = tmp_path / "compared.html"
    run(Export(runs[0], "html", others=tuple(runs[1:]), out=out))
    text = out.read_text()
    assert "<script" not in text and "&lt;b&gt;bold&lt;/b&gt;" in text
    for part in (
        "flips 2 ",
        "all pass 1 ",
        "none passes 1 ",
        "only one passes 1 ",
        "+25.0",
        "1 gained, 0 lost",
    ):
        assert part in text
    rows = re.findall(r'<tr class="([^"]*)">', text)
    assert rows == ["flip one", "flip", "every", "none"]
    with pytest.raises(UsageError, match="use --format html"):
        run(Export(runs[0], "csv", others=(runs[1],)))


def test_a_run_without_trees_is_not_compared(tmp_path: Path) -> None:
    """An evaluation of answers from a file has the same prompts, but no trees: the error says so, not that they differ."""
    tree = answered(0, "x", 5)
    searched = write_run(tmp_path / "searched", [tree])
    stored = write_run(tmp_path / "stored", [])
    with pytest.raises(UsageError, match="stored has no trees yet"):
        run(Export(searched, "html", others=(stored,)))
    (stored / EXAMPLES).write_text("")
    for first, other in ((searched, stored), (stored, searched)):
        with pytest.raises(UsageError, match=r"stored has no trees .*; use spar eval compare"):
            run(Export(first, "html", others=(other,)))


def test_compared_runs_are_told_apart_on_a_page(tmp_path: Path) -> None:
    """By the last parts of their paths in which they differ."""
    runs = [write_run(tmp_path / name / "mine" / "nano-if", [answered(0, "x", 5)]) for name in "ab"]
    out = tmp_path / "compared.html"
    run(Export(runs[0], "html", others=(runs[1],), out=out))
    assert all(f"<td>{name}/mine/nano-if</td>" in out.read_text() for name in "ab")


def test_runs_without_a_prompt_that_was_judged_in_all(tmp_path: Path) -> None:
    """There is no share and no interval of no prompts; the page says why."""
    runs = [
        write_run(tmp_path / name, [answered(n, "x", yes) for n in range(3)])
        for name, yes in (("judged", 5), ("greedy", None))
    ]
    out = tmp_path / "compared.html"
    run(Export(runs[0], "html", others=(runs[1],), out=out))
    text = out.read_text()
    assert "3 prompts are in all runs; no prompt was judged in all runs" in text
    table = text.split("<tbody>", 1)[1].split("</tbody>", 1)[0]
    cells = re.findall("<td>(.*?)</td>", table)
    assert cells[2:9] == cells[11:] == ["0 of 0", "-", "-", "", "", "", ""]
