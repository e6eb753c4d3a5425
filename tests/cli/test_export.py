"""`spar export`: the right tree in the right form, whole or not at all, and one line where it cannot be."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from spar.cli.run_export import Export, find_tree, open_rendered, run, verdicts
from spar.errors import MissingExtra, RunStopped, UsageError
from spar.store import TREES
from spar.templates import load
from spar.types import Judgement, Message, Node, SearchTree, Usage
from tests.cli.test_decode import spar
from tests.hostile import EVERYTHING, hostile_tree
from tests.train.trees import make_tree, tree_of, write_run

NANO = {
    "instruction_id_list": ["punctuation:no_comma", "startend:end_checker"],
    "kwargs": [{}, {"end_phrase": "done"}],
}


def with_meta(tree: SearchTree, meta: dict[str, object]) -> SearchTree:
    """The tree of a prompt that carries `meta`."""
    return tree.model_copy(update={"prompt": tree.prompt.model_copy(update={"meta": meta})})


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A run of three trees: p1, p10 and a hostile one."""
    trees = (
        with_meta(make_tree((None, 2), (0, 5), prompt_id="p1"), NANO),
        make_tree((None, 1), prompt_id="p10"),
        hostile_tree(),
    )
    return write_run(tmp_path / "three", *trees)


def test_forms_on_standard_output(three: Path) -> None:
    """Each form of one tree comes alone on standard output."""
    starts = {
        "markdown": "# Search tree ` p1 `",
        "html": "<!DOCTYPE html>",
        "svg": "<?xml",
        "dot": "digraph tree {",
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


def test_finding_a_tree(three: Path) -> None:
    """By its id, by a beginning that is its alone, in a directory or in a file."""
    assert find_tree(three, "p1").prompt.id == "p1"
    assert find_tree(three, "p10").prompt.id == "p10"
    assert find_tree(three / TREES, "[").prompt.id == EVERYTHING
    with pytest.raises(UsageError, match=r"3 trees, 2 with an id that begins with 'p'.*p1, p10"):
        find_tree(three, "p")
    with pytest.raises(UsageError, match=r"3 trees, none with an id that begins with 'q'.*p1"):
        find_tree(three, "q")
    with pytest.raises(UsageError, match=r"holds 3 trees; give --id, one of p1, p10") as caught:
        find_tree(three)
    assert "\x1b" not in str(caught.value)


def test_the_only_tree_needs_no_id(tmp_path: Path) -> None:
    """A run of one tree; an empty run has none to give."""
    one = write_run(tmp_path / "one", make_tree((None, 3), prompt_id="only"))
    assert find_tree(one).prompt.id == "only"
    with pytest.raises(UsageError, match="holds no tree yet"):
        find_tree(write_run(tmp_path / "none"))


def test_more_ids_than_can_be_listed(tmp_path: Path) -> None:
    """The first few are listed, and dots for the rest."""
    many = write_run(tmp_path / "many", *(make_tree(prompt_id=f"p{n}") for n in range(9)))
    with pytest.raises(UsageError, match=r"9 trees; give --id, one of p0, p1, p2, p3, p4, \.\.\."):
        find_tree(many)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"form": "pdf"},
            "--format 'pdf': accepted are markdown, html, svg, dot, json, parquet, csv",
        ),
        ({"form": "html", "rows": "nodes"}, "--rows 'nodes' goes with --format parquet or csv"),
        ({"form": "csv", "prompt_id": "p1"}, "--id goes with --format markdown"),
        ({"form": "csv"}, "--format csv needs --out FILE"),
        ({"form": "csv", "rows": "votes"}, "--rows 'votes': accepted are trees, nodes, faults"),
        ({"form": "json", "run": Path("nowhere")}, "there is no file nowhere"),
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


def test_parquet_needs_pyarrow(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the message says what to install, and no file is begun."""
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


def test_verdicts() -> None:
    """Each constraint by name, nothing where no verifier knows it."""
    node = Node(id=0, parent=None, depth=0, response="a, done")
    expected = [("punctuation:no_comma", False), ("startend:end_checker done", True)]
    assert verdicts(with_meta(tree_of(node), NANO), node) == expected
    assert verdicts(tree_of(node), node) == ()
    assert verdicts(with_meta(tree_of(node), {"instruction_id_list": ["no:such"]}), node) == ()


def test_the_prompt_that_produced_a_node(tmp_path: Path) -> None:
    """A draft continued the prompt, a refinement the judge's conversation with the kept critique."""
    judgement = Judgement(verdicts=(False,), critique="too long")
    written = Usage(calls=1)
    draft = Node(id=0, parent=None, depth=0, response="r0", judgement=judgement, usage=written)
    child = Node(id=1, parent=0, depth=1, response="r1", usage=written)
    tree = tree_of(draft, child, Node(id=2, parent=1, depth=2, response="r2", usage=written))
    rendered = open_rendered(write_run(tmp_path / "run", tree))
    assert rendered is not None
    assert rendered(tree, draft) == tree.prompt.messages
    turns = rendered(tree, child)
    assert turns == load().refine_conversation(tree.prompt.messages, "r0", "too long")
    assert turns[1] == Message(role="assistant", content="too long")
    assert rendered(tree, tree.nodes[2]) == ()
    assert rendered(tree, draft.model_copy(update={"usage": Usage()})) == ()


def test_no_prompt_is_shown_that_may_not_be_the_one(tmp_path: Path) -> None:
    """Templates that were changed since, or are gone, and files that are no run: nothing is rendered."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "refine.txt").write_text("Do better.")
    directory = write_run(tmp_path / "run", make_tree((None, 1)), templates=folder)
    assert open_rendered(directory) is not None
    load.cache_clear()
    (folder / "refine.txt").write_text("Do worse.")
    assert open_rendered(directory) is None
    load.cache_clear()
    (folder / "refine.txt").unlink()
    assert open_rendered(directory) is None
    assert open_rendered(directory / TREES) is None
