"""Exports: each form says what the tree says, and hostile text does nothing in any of them."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

from spar.export import SUFFIXES, TREE_FORMATS, TreeFormat, export_tree
from spar.export import table as table_module
from spar.export.columns import COLUMNS, ROW_KINDS, RowKind, rows_of
from spar.export.content import visible
from spar.export.svg import place_boxes
from spar.export.table import write_table
from spar.types import Finding, Node, SearchTree
from spar.view.node_detail import Annotations
from tests.fakes import make_findings, make_prompt
from tests.hostile import EVERYTHING, hostile_tree
from tests.strategies import trees
from tests.train.trees import make_tree
from tests.view.test_present import worked
from tests.view.test_text import unseen

SVG = "{http://www.w3.org/2000/svg}"
DOCS = Path(__file__).parents[2] / "docs" / "export.md"


def paragraphs(markdown: str) -> Iterator[tuple[str, str]]:
    """CommonMark's fenced blocks as ("block", text), all other lines as ("line", text)."""
    fence = ""
    block: list[str] = []
    for line in markdown.split("\n"):
        run = re.match("`{3,}", line)
        if fence and line == fence:
            yield "block", "\n".join(block)
            fence, block = "", []
        elif fence:
            block.append(line)
        elif run:
            fence = run[0]
        elif line:
            yield "line", line
    assert fence == ""


@given(trees())
@example(hostile_tree())
@example(make_tree())
def test_any_tree_in_any_form(tree: SearchTree) -> None:
    """Every format ends with a line break, can be encoded as UTF-8 and has no control character."""
    for form in TREE_FORMATS:
        text = export_tree(tree, form)
        assert text.endswith("\n")
        assert "\x1b" not in text
        if form != "json":  # which escapes them, and is ASCII but for DEL
            assert unseen(text.replace("\t", "")) == set()
        text.encode("utf-8")
    assert export_tree(tree, "json") == tree.to_json() + "\n"


def test_every_form_has_a_suffix() -> None:
    """A file name can be made for each."""
    assert tuple(SUFFIXES) == TREE_FORMATS


def test_json_is_the_record() -> None:
    """One line of ASCII that reads back as the tree, lone surrogates and all."""
    text = export_tree(hostile_tree(), "json")
    assert text.isascii() and text.count("\n") == 1
    assert SearchTree.from_json(text) == hostile_tree()


def test_markdown_says_everything() -> None:
    """The prompt, the tree, each node under its own heading, and changes in brackets."""
    text = export_tree(worked(), "markdown")
    headings = [line for kind, line in paragraphs(text) if kind == "line"]
    assert headings[:4] == ["# Search tree ` p `", "### Prompt: user", "## Tree", "## Node 0"]
    nodes = [line for line in headings if line.startswith("## ")]
    expected = ["Tree", "Node 0", "Node 1", "Node 4", "Fault", "Node 2", "Node 3", "Fault"]
    assert nodes == [f"## {name}" for name in expected]
    blocks = [text for kind, text in paragraphs(text) if kind == "block"]
    assert "[-r0-]{+r2+}" in blocks
    assert any("└─ ★ #2    ✓✓✓✓✓       -r0 +r2" in block for block in blocks)


def test_markdown_holds_hostile_text() -> None:
    """No model text appears outside of fences and code spans, and the fences contain all of it."""
    pieces = list(paragraphs(export_tree(hostile_tree(), "markdown")))
    lines = [text for kind, text in pieces if kind == "line"]
    title, headings = lines[0], lines[1:]
    fence = re.fullmatch("# Search tree (`+) (.*) (`+)", title)
    assert fence is not None and fence[1] == fence[3] and fence[1] not in fence[2]
    assert all(re.fullmatch(r"#{2,3} [A-Za-z0-9 #:,()']+", line) for line in headings)
    blocks = [text for kind, text in pieces if kind == "block"]
    assert blocks.count(visible(EVERYTHING)) >= 6


def test_svg_draws_every_node_and_fault() -> None:
    """Every node and fault has a box and an edge, and no two boxes overlap."""
    root = ET.fromstring(export_tree(worked(), "svg"))
    assert len(root.findall(f"{SVG}g")) == 8
    assert len(root.findall(f"{SVG}path")) == 7
    heads = [g.findall(f"{SVG}text")[0].text for g in root.findall(f"{SVG}g")]
    assert heads[:3] == ["prompt", "#0 0.40  2/5 ✓✓✗✗✗", "#1 0.60  3/5 ✓✓✓✗✗"]
    assert "★ #2 1.00  5/5 ✓✓✓✓✓" in heads
    boxes = place_boxes(worked())
    assert [(box.column, box.row) for box in boxes] == [
        *((0, 2.625), (1, 1.25), (2, 0.5), (3, 0), (3, 1), (2, 2), (1, 3), (1, 4))
    ]
    assert [box.parent for box in boxes] == [None, 0, 1, 2, 2, 1, 0, 0]


def test_svg_holds_hostile_text() -> None:
    """A drawing of text and lines only, well-formed whatever the text."""
    root = ET.fromstring(export_tree(hostile_tree(), "svg"))
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "title", "style", "text", "path", "g", "rect"}
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert max(map(len, texts[1:])) <= 60


def test_svg_of_a_deep_and_a_wide_tree() -> None:
    """A chain is one row, and leaves never share one."""
    chain = place_boxes(make_tree((None, 1), *((index, 1) for index in range(1_999))))
    assert {box.row for box in chain} == {0.0}
    assert chain[-1].column == 2_000
    wide = place_boxes(make_tree(*[(None, 1)] * 500))
    assert [box.row for box in wide[1:]] == [float(row) for row in range(500)]
    assert wide[0].row == 249.5


def test_dot_has_every_node_and_edge() -> None:
    """Node and edge lines as graphviz reads them."""
    lines = export_tree(worked(), "dot").splitlines()
    assert lines[0] == "digraph tree {" and lines[-1] == "}"
    assert '  n0 [label="#0 0.40  2/5 ✓✓✗✗✗\\nr0", color="#a4161a", penwidth=2.5];' in lines
    assert "  n0 -> n2 [penwidth=2.5];" in lines
    assert "  n0 -> n1;" in lines
    assert sum(" -> " in line for line in lines) == 7


def test_dot_holds_hostile_text() -> None:
    """Model text appears only in quoted strings, which escape it."""
    text = export_tree(hostile_tree(r'a\ "b" \N &lt; } ; ['), "dot")
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
    rest = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    assert re.fullmatch(r"[a-zA-Z0-9_ =,;\[\]{}\n.>-]*", rest)
    assert any(r"a\\ \"b\" \\N &amp;lt; } ; [" in one for one in strings)
    hostile = re.sub(r'"(?:[^"\\]|\\.)*"', "", export_tree(hostile_tree(), "dot"))
    assert re.fullmatch(r"[a-zA-Z0-9_ =,;\[\]{}\n.>-]*", hostile)


def test_mermaid_has_every_node_and_edge() -> None:
    """Nodes, faults and the path to the answer, each with the class of its outcome."""
    lines = export_tree(worked(), "mermaid").splitlines()
    assert lines[0] == "flowchart LR"
    assert sum(line.count("--> n") + line.count("==> n") for line in lines) == 5
    assert sum("-.-> f" in line for line in lines) == 2
    assert '  prompt ==> n0["#35;0 0.40  2#47;5 ✓✓✗✗✗<br/>r0"]:::fail' in lines
    assert "  classDef pass stroke:#14692c" in lines


@pytest.mark.parametrize("text", [EVERYTHING, '"] click n0 "javascript:x"', "`**a** #quot; <b>"])
def test_mermaid_holds_hostile_text(text: str) -> None:
    """Model text appears only in quoted labels, as letters, numbers and numbered characters."""
    graph = export_tree(hostile_tree(text), "mermaid")
    for line in graph.splitlines()[1:]:
        rest = re.sub(r'\["(?:[^"]*)"\]', "", line)
        assert re.fullmatch(r"[a-zA-Z0-9 .=>:,#-]*", rest)
    labels = "".join(re.findall(r'\["([^"]*)"\]', graph)).replace("<br/>", "")
    assert not set(re.sub(r"#\d+;", "", labels)) & set('"#&<>`*_[]{}()|~$;\\')


def truth(tree: SearchTree, node: Node) -> tuple[Finding, ...]:
    """A verifier: two constraints, the second one met by node 2 only."""
    return make_findings(True, node.id == 2)


def read_csv(trees: list[SearchTree], rows: RowKind) -> list[dict[str, str]]:
    """Write a CSV table and read it with the standard library."""
    handle = io.BytesIO()
    number = write_table(trees, handle, "csv", rows=rows, annotations=Annotations(check=truth))
    read = list(csv.DictReader(io.StringIO(handle.getvalue().decode("utf-8"), newline="")))
    assert len(read) == number
    return read


def read_parquet(trees: list[SearchTree], rows: RowKind) -> list[dict[str, Any]]:
    """Write a Parquet table and read it with pyarrow."""
    parquet = pytest.importorskip("pyarrow.parquet")
    handle = io.BytesIO()
    write_table(trees, handle, "parquet", rows=rows, annotations=Annotations(check=truth))
    read: list[dict[str, Any]] = parquet.read_table(io.BytesIO(handle.getvalue())).to_pylist()
    return read


def read_json_lines(trees: list[SearchTree], rows: RowKind) -> list[dict[str, Any]]:
    """Write JSON lines and read them with the standard library."""
    handle = io.BytesIO()
    number = write_table(trees, handle, "jsonl", rows=rows, annotations=Annotations(check=truth))
    read = [json.loads(line) for line in handle.getvalue().split(b"\n")[:-1]]
    assert len(read) == number
    return read


@pytest.mark.parametrize("rows", ["trees", "nodes", "faults"])
def test_json_lines_have_the_cells_of_parquet(rows: RowKind) -> None:
    """Every column with its type and its nulls, so that answers can be read without pandas."""
    first = worked()
    second = first.model_copy(update={"prompt": make_prompt("é\n\u2028\ud800")})
    trees = [first, second]
    assert read_json_lines(trees, rows) == read_parquet(trees, rows)


def test_a_row_a_tree() -> None:
    """Hand-worked numbers, as numbers and with nulls in Parquet, as text in CSV."""
    (row,) = read_parquet([worked()], "trees")
    expected = {
        "prompt_id": "p",
        "prompt": "Say p.",
        "strategy": "bfs",
        "stop": "solved",
        "solved": True,
        "selected": 2,
        "answer": "r2",
        "score": 1.0,
        "gate": 0.5,
        "truth_before": False,
        "truth": True,
        "nodes": 5,
        "depth": 2,
        "faults": 2,
        "calls": 10,
        "actor_calls": 1,
        "judge_calls": 5,
        "refiner_calls": 4,
        "skipped_calls": 10,
        "judge_prompt_tokens": 5_000,
        "meta": "{}",
    }
    assert {name: row[name] for name in expected} == expected
    (text,) = read_csv([worked()], "trees")
    assert {name: text[name] for name in expected} == {n: str(v) for n, v in expected.items()}


def test_a_prompt_without_an_answer_fails() -> None:
    """In a table too, so that its share of passing prompts is that of the summary and of the page."""
    trees = [worked(), make_tree(prompt_id="q")]
    for read in (read_parquet, read_json_lines):
        assert [row["truth"] for row in read(trees, "trees")] == [True, False]
        assert [row["truth_before"] for row in read(trees, "trees")] == [False, False]
        assert read(trees, "trees")[1]["answer"] is None


def test_a_row_a_node_and_a_fault() -> None:
    """Each row has its tree's prompt id; unknown values are null."""
    nodes = read_parquet([worked(), make_tree()], "nodes")
    assert [row["node"] for row in nodes] == [0, 1, 2, 3, 4]
    assert [row["parent"] for row in nodes] == [None, 0, 0, None, 1]
    assert [row["on_path"] for row in nodes] == [True, False, True, False, False]
    assert [row["score"] for row in nodes] == [0.4, 0.6, 1.0, 0.0, None]
    assert nodes[1]["verdicts"] == "[true, true, true, false, false]"
    assert [row["truth"] for row in nodes] == [False, False, True, False, False]
    faults = read_parquet([worked()], "faults")
    assert [(row["parent"], row["stage"]) for row in faults] == [(1, "refine"), (None, "draft")]


@pytest.mark.parametrize("rows", ROW_KINDS)
def test_columns_are_documented(rows: RowKind) -> None:
    """Rows have the listed columns in their order, a run without rows too, and the page names each."""
    for row in rows_of(worked(), rows):
        assert list(row) == list(COLUMNS[rows])
    handle = io.BytesIO()
    assert write_table([], handle, "csv", rows=rows) == 0
    assert handle.getvalue().decode().strip().split(",") == list(COLUMNS[rows])
    assert read_parquet([], rows) == []
    named = set(re.findall(r"`([a-z_]+)`", DOCS.read_text()))
    by_role = r"(actor|judge|refiner)_(calls|(prompt|cached|completion)_tokens)"
    assert {c for c in COLUMNS[rows] if not re.fullmatch(by_role, c)} <= named


@pytest.mark.parametrize("rows", ROW_KINDS)
def test_tables_hold_hostile_text(rows: RowKind) -> None:
    """Text survives the round trip, except lone surrogates, which are written as escapes."""
    written = EVERYTHING.encode("utf-8", "backslashreplace").decode()
    assert r"\ud800" in written and "\0" in written
    column = {"trees": "prompt", "nodes": "critique", "faults": "reason"}[rows]
    for read in (read_csv, read_parquet):
        assert read([hostile_tree()], rows)[0][column] == written


@given(trees())
def test_any_tree_as_csv(tree: SearchTree) -> None:
    """Every cell reads back as the value that was written."""
    rows = list(rows_of(tree, "nodes", Annotations(check=truth)))
    for row, text in zip(rows, read_csv([tree], "nodes"), strict=True):
        for name in ("response", "critique", "dissent", "reflection"):
            value = row[name] or ""
            assert text[name] == value.encode("utf-8", "backslashreplace").decode("utf-8")
        assert json.loads(text["verdicts"] or "null") == (
            None if row["verdicts"] is None else json.loads(row["verdicts"])
        )


def test_a_long_run_is_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the trees of one chunk are consumed at a time, the header is written once, and no row is lost."""
    monkeypatch.setattr(table_module, "CHUNK", 10)
    taken: list[int] = []
    written: list[int] = []

    def stream() -> Iterator[SearchTree]:
        for number in range(95):
            taken.append(number)
            yield make_tree((None, 3), prompt_id=f"p{number}")

    class Handle(io.BytesIO):
        def write(self, data: Any) -> int:
            written.append(len(taken))
            return super().write(data)

    handle = Handle()
    assert write_table(stream(), handle, "csv", rows="nodes") == 95
    assert written[0] <= 11
    read = list(csv.DictReader(io.StringIO(handle.getvalue().decode())))
    assert [row["prompt_id"] for row in read] == [f"p{number}" for number in range(95)]
    trees = [make_tree((None, 3), prompt_id=f"p{number}") for number in range(25)]
    assert len(read_parquet(trees, "trees")) == 25


@pytest.mark.parametrize("form", ["markdown", "svg", "mermaid"])
def test_exports_scale_with_the_tree(form: TreeFormat) -> None:
    """A chain of 300 nodes and a node with 300 children are written without deep nesting."""
    for tree in (
        make_tree((None, 1), *((index, 1) for index in range(299))),
        make_tree((None, 1), *[(0, 1)] * 299),
    ):
        text = export_tree(tree, form)
        assert text.count("#35;299" if form == "mermaid" else "#299") >= 1
