"""The index over a file of trees: whatever the lines hold, however the file grows, no row moves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar.errors import UsageError
from spar.store import RunStore, read_trees
from spar.types import SCHEMA_VERSION, Finding, Node, SearchTree
from tests.strategies import any_text, trees
from tests.test_store import manifest
from tests.tui.tree_files import (
    append,
    errors,
    finish,
    line_of,
    shown,
    spaced,
    summarised,
    tree,
    write,
)
from tui.index import scan, search
from tui.index.last_rows import LastRows
from tui.index.row_summary import MAX_LINE_BYTES, quick_summary, summarize_tree
from tui.index.rows import Authority, FileChanged, Filter, RowError, Sort, TreeRow
from tui.index.run_index import TreeIndex, shared_rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a run's trees."""
    return tmp_path / "trees.jsonl"


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use blocks so small that every line spans several."""
    monkeypatch.setattr(scan, "BLOCK", 50)
    monkeypatch.setattr(search, "BLOCK", 50)


def test_a_row_says_what_a_table_needs(path: Path) -> None:
    """Every field of a row, computed by hand."""
    write(path, tree("a", text="\n First. \nSecond.", num_faults=2))
    row = summarised(path).row(0)
    assert row == TreeRow(
        number=0,
        prompt_id="a",
        title="First. Second.",
        stop="solved",
        score=2 / 3,
        num_nodes=2,
        depth=1,
        tokens=10 + 10 + 2 * 10 + 3,
        faults=2,
        truth=None,
        seconds=1.5,
    )


def test_a_title_is_cut(path: Path) -> None:
    """A line of 100,000 characters is a title of 200, and a tree of all."""
    write(path, tree("a", text="x" * 100_000, response="y" * 100_000), tree("b"))
    index = summarised(path)
    assert index.row(0).title == "x" * 200
    assert index.tree(0).answer == "y" * 100_000
    assert index.row(1).prompt_id == "b"


@settings(max_examples=25)
@given(st.lists(trees(), max_size=3))
def test_rows_are_the_same_before_and_after_the_background_pass(
    tmp_path_factory: pytest.TempPathFactory, made: list[SearchTree]
) -> None:
    """Any legal trees: a row read on demand equals the row stored in columns, and the tree round-trips."""
    path = write(tmp_path_factory.mktemp("run") / "trees.jsonl", *made)
    index = TreeIndex.open(path)
    early = index.rows(range(len(index)))
    finish(index)
    assert early == index.rows(range(len(index)))
    assert [index.tree(n) for n in range(len(index))] == made
    assert [row.prompt_id for row in early] == [one.prompt.id for one in made]


@given(trees())
def test_the_ends_of_a_line_agree_with_the_whole(made: SearchTree) -> None:
    """The quick summary of a line that spar wrote equals the parsed one."""
    raw = line_of(made)
    seen = quick_summary(raw, raw)
    if seen is None:  # the prompt's id has escapes
        assert json.dumps(made.prompt.id) != f'"{made.prompt.id}"'
        return
    assert seen.prompt_id == made.prompt.id
    assert seen.stop == made.stop
    assert seen.has_faults == bool(made.faults)
    assert seen.seconds == made.seconds


def test_the_ends_of_a_line_are_not_fooled_by_text() -> None:
    """A response that contains another tree is not mistaken for it."""
    other = tree("x", stop="budget", num_faults=1).to_json()
    raw = line_of(tree("a", response=other, stop="solved"))
    seen = quick_summary(raw, raw)
    assert seen is not None
    assert (seen.prompt_id, seen.stop, seen.has_faults) == ("a", "solved", False)


@pytest.mark.parametrize("early", [True, False])
def test_filters(path: Path, early: bool) -> None:
    """Solved, unsolved and faults are known from the ends of the lines, before anything is parsed."""
    write(
        path,
        tree("a"),
        tree("b", stop="budget", num_faults=1),
        "broken",
        tree("c", stop="exhausted"),
        tree("d", num_faults=3),
    )
    index = TreeIndex.open(path) if early else summarised(path)
    assert shown(index) == [0, 1, 2, 3, 4]
    assert shown(index, Filter("solved")) == [0, 4]
    assert shown(index, Filter("unsolved")) == [1, 3]
    assert shown(index, Filter("faults")) == [1, 4]
    counts = index.counts()
    assert (counts.rows, counts.solved, counts.unsolved, counts.faults) == (5, 2, 2, 2)
    assert counts.broken == (0 if early else 1)


def test_a_file_of_another_tool_works(path: Path) -> None:
    """Other key order, spaces, UTF-8 and CRLF: everything is known once the line is parsed."""
    write(
        path,
        spaced(tree("a", text="é ü", stop="budget")),
        spaced(tree("b", num_faults=1)),
        end=b"\r\n",
    )
    index = summarised(path)
    assert shown(index, Filter("unsolved")) == [0]
    assert shown(index, Filter("faults")) == [1]
    assert index.row(0).title == "é ü"
    assert index.tree(1) == tree("b", num_faults=1)


BAD = {
    "cut": line_of(tree("x"))[:200],
    "not JSON": b"{]",
    "not UTF-8": b'{"a": "\xff"}',
    "no object": b"[1]",
    "a blank line": b"",
    "spaces": b"  ",
    "no tree": b'{"prompt": 3}',
    "extra field": line_of(tree("x"))[:-1] + b',"more":1}',
    "newer": line_of(tree("x")).replace(b'"schema_version":1', b'"schema_version":99'),
    "deep": b"[" * 100_000,
    "null bytes": b"\0" * 500,
    "large number": b'{"schema_version": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_one_marked_row(path: Path, bad: bytes, early: bool) -> None:
    """It has a one-line error and its own row number, and its neighbours are unaffected."""
    write(path, tree("a"), bad, tree("b"))
    index = TreeIndex.open(path) if early else summarised(path)
    assert errors(index) == [1]
    error = index.row(1).error or ""
    assert error and "\n" not in error and len(error) < 400
    assert [index.row(n).prompt_id for n in (0, 2)] == ["a", "b"]
    with pytest.raises(RowError, match=r"trees\.jsonl:2: "):
        index.tree(1)


def test_a_newer_schema_says_so(path: Path) -> None:
    """The reader's version and the line's are both named."""
    write(path, BAD["newer"])
    index = summarised(path)
    assert index.row(0).error == (
        f"schema version 99, this spar reads up to {SCHEMA_VERSION}; upgrade spar"
    )
    assert shown(index, Filter("solved")) == []


def test_a_line_that_is_too_long_is_not_read(path: Path) -> None:
    """An endless line of many megabytes takes no memory; its neighbours are read."""
    write(path, tree("a"))
    with path.open("r+b") as handle:
        handle.seek(MAX_LINE_BYTES + 1000, 2)  # a hole in the file: it takes no room on the disk
        handle.write(b"\n" + line_of(tree("b")) + b"\n")
    index = summarised(path)
    assert index.row(1).error == "a line of 64 MB is too long to show"
    assert index.row(2).prompt_id == "b"


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(line_of(tree("t")))), max_size=6))
def test_any_bytes_are_rows(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    """Every line is one row; all rows but trees have an error."""
    lines = [line.replace(b"\n", b" ") for line in lines]
    path = write(tmp_path_factory.mktemp("run") / "trees.jsonl", *lines)
    index = summarised(path)
    assert len(index) == len(lines)
    assert errors(index) == [n for n, line in enumerate(lines) if line != line_of(tree("t"))]
    assert [index.raw(n) for n in range(len(lines))] == lines


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("size", [0, 1, 49, 50, 51, 3000])
def test_lines_across_blocks(path: Path, size: int) -> None:
    """Lines that start and end anywhere in a block are found, with their quick summaries."""
    lines = [tree(f"{n}", response="x" * size, num_faults=n % 2) for n in range(6)]
    write(path, *lines)
    index = TreeIndex.open(path)
    while index.progress().bytes_read < path.stat().st_size:
        index.summarise(0)
    assert shown(index, Filter("faults")) == [1, 3, 5]
    finish(index)
    assert [index.tree(n) for n in range(6)] == lines


def test_a_cut_last_line_is_a_marked_row_that_heals(path: Path) -> None:
    """A torn tail is one row; when its writer completes it, the row is the tree, under its number."""
    whole = line_of(tree("b"))
    write(path, tree("a"))
    append(path, whole[:100], end=b"")
    index = summarised(path)
    assert (len(index), errors(index)) == (2, [1])
    append(path, whole[100:], tree("c"))
    assert index.refresh() == 2
    finish(index)
    assert [row.prompt_id for row in index.rows(range(3))] == ["a", "b", "c"]


def test_a_last_line_without_its_break_is_a_tree(path: Path) -> None:
    """As in the store, the last line counts if it parses."""
    path.write_bytes(line_of(tree("a")))
    index = summarised(path)
    assert index.row(0).prompt_id == "a"
    append(path, b"", tree("b"))
    assert index.refresh() == 1
    assert [row.prompt_id for row in index.rows(range(2))] == ["a", "b"]


def test_a_resumed_run_cuts_its_torn_line(tmp_path: Path) -> None:
    """The writer's repair removes the torn line; the next line takes its row number."""
    with RunStore.open(tmp_path, manifest()) as store:
        store.append(tree("a"))
    append(tmp_path / "trees.jsonl", line_of(tree("b", response="long" * 100))[:300], end=b"")
    index = summarised(tmp_path)
    assert errors(index) == [1]
    with RunStore.open(tmp_path, manifest()) as store:
        index.refresh()
        finish(index)
        assert (len(index), errors(index)) == (2, [1])
        store.append(tree("c"))
    assert index.refresh() == 1
    finish(index)
    assert (len(index), errors(index)) == (2, [])
    assert index.tree(1) == tree("c")


def test_following_a_run(tmp_path: Path) -> None:
    """Every appended tree is found by the next refresh, and earlier rows do not change."""
    with RunStore.open(tmp_path, manifest()) as store:
        index = TreeIndex.open(tmp_path)
        assert len(index) == 0
        for number in range(5):
            store.append(tree(f"{number}"))
            assert index.refresh() == 1
            assert index.find(f"{number}") == number
        assert index.refresh() == 0
    assert [row.prompt_id for row in index.rows(range(5))] == ["0", "1", "2", "3", "4"]
    assert not index.progress().done
    finish(index)
    assert index.progress().done


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    """A run directory without trees can be opened, and its trees are found later."""
    index = TreeIndex.open(tmp_path)
    assert (index.refresh(), index.summarise(), len(index)) == (0, True, 0)
    write(tmp_path / "trees.jsonl", tree("a"))
    assert index.refresh() == 1
    assert index.row(0).prompt_id == "a"


def test_nothing_there(tmp_path: Path) -> None:
    """A path that does not exist is a usage error."""
    with pytest.raises(UsageError, match="does not exist"):
        TreeIndex.open(tmp_path / "trees.jsonl")


def test_growth_while_reading(tmp_path: Path) -> None:
    """Every tree is read while another thread appends and a third one summarises."""
    total, end = 300, threading.Event()
    with RunStore.open(tmp_path, manifest()) as store:
        index = TreeIndex.open(tmp_path)

        def work() -> None:
            while not end.is_set() or index.refresh() or not index.summarise(0.01):
                index.refresh()
                index.summarise(0.001)

        worker = threading.Thread(target=work)
        worker.start()
        for number in range(total):
            store.append(tree(f"{number}", num_faults=number % 2))
            rows = index.rows(index.order(Filter("faults"), Sort("score"))[-3:])
            assert all(row.error is None and row.number % 2 for row in rows)
        end.set()
        worker.join()
    assert shown(index, Filter("faults")) == list(range(1, total, 2))
    assert [index.find(f"{n}") for n in range(total)] == list(range(total))


def _delete(path: Path) -> None:
    path.unlink()


def _replace(path: Path) -> None:
    write(path.with_name("new"), tree("a"), tree("b"), tree("c")).replace(path)


def _cut(path: Path) -> None:
    path.write_bytes(b"")


def _rewrite(path: Path) -> None:
    with path.open("r+b") as handle:
        handle.write(b"x" * (path.stat().st_size + 100))


@pytest.mark.parametrize("change", [_delete, _replace, _cut, _rewrite])
def test_a_file_that_vanishes_says_so(path: Path, change: object) -> None:
    """A deleted, replaced, truncated or rewritten file raises a one-line error on every refresh."""
    write(path, tree("a"), tree("b"))
    index = summarised(path)
    assert callable(change)
    change(path)
    for _ in range(2):
        with pytest.raises(FileChanged, match=f"{path} was (deleted|replaced|truncated|rewritten)"):
            index.refresh()
    assert index.file_error is not None
    assert index.row(0).prompt_id == "a"
    assert index.summarise()


def test_a_cut_file_has_rows_with_errors(path: Path) -> None:
    """Rows that were not read before the file was truncated have an error."""
    write(path, tree("a"), tree("b"))
    index = TreeIndex.open(path)
    path.write_bytes(line_of(tree("a")) + b"\n")
    assert index.row(0).error is None
    assert index.row(1).error == "the file was truncated; the line is no longer there"


def test_a_deleted_file_can_be_read_on(path: Path) -> None:
    """An open file can still be read."""
    write(path, tree("a"))
    index = TreeIndex.open(path)
    path.unlink()
    assert index.tree(0) == tree("a")
    index.close()
    assert index.row(0).error is not None


def test_sorting(path: Path) -> None:
    """Ties stay in file order in both directions, and rows without a value come last."""
    write(
        path,
        tree("a", votes=(True,), text="b"),
        tree("b", votes=None, text="c"),
        "broken",
        tree("c", votes=(True, False), text="A"),
        tree("d", votes=(True,), text="b", num_faults=1),
    )
    index = summarised(path)
    assert shown(index, sort=Sort("score")) == [3, 0, 4, 1, 2]
    assert shown(index, sort=Sort("score", descending=True)) == [0, 4, 3, 1, 2]
    assert shown(index, sort=Sort("prompt")) == [3, 0, 4, 1, 2]
    assert shown(index, sort=Sort("prompt", descending=True)) == [1, 0, 4, 3, 2]
    assert shown(index, sort=Sort("tokens", descending=True)) == [4, 0, 1, 3, 2]
    assert shown(index, sort=Sort("number", descending=True)) == [4, 3, 2, 1, 0]
    assert shown(index, Filter("solved"), Sort("faults")) == [0, 1, 3, 4]


def test_sorting_while_columns_fill(path: Path) -> None:
    """Rows that are not summarised yet come last, in the order of the file, and the progress says so."""
    write(path, *(tree(f"{n}", votes=(n == 2,)) for n in range(4)))
    index = TreeIndex.open(path)
    assert shown(index, sort=Sort("score", descending=True)) == [0, 1, 2, 3]
    assert (index.progress().summarised, index.progress().rows) == (0, 4)
    index.summarise(0)
    assert (index.progress().summarised, index.progress().done) == (1, False)
    finish(index)
    assert shown(index, sort=Sort("score", descending=True)) == [2, 0, 1, 3]
    assert index.progress().done


@given(
    st.lists(trees(), max_size=6), st.sampled_from(["stop", "depth", "seconds", "truth", "nodes"])
)
def test_every_order_is_a_permutation(
    tmp_path_factory: pytest.TempPathFactory, made: list[SearchTree], column: str
) -> None:
    """Sorting loses no row and adds none, at any time; of several rows of a prompt it is the last, once they are parsed."""
    index = TreeIndex.open(write(tmp_path_factory.mktemp("run") / "trees.jsonl", *made))
    last = {one.prompt.id: number for number, one in enumerate(made)}
    for is_parsed in (False, True):
        for descending in (True, False):
            order = index.order(sort=Sort(column, descending))  # type: ignore[arg-type]
            assert set(last.values()) <= set(order) <= set(range(len(made)))
            assert len(order) == len(last if is_parsed else set(order))
        finish(index)


def _truth(one: SearchTree) -> bool | None:
    return {"yes": True, "no": False}.get(one.answer or "")


@pytest.mark.parametrize("early", [True, False])
def test_ground_truth_of_a_program(path: Path, early: bool) -> None:
    """The judge is wrong if it disagrees with ground truth; an unjudged answer is not."""
    made = [
        tree("right", response="yes"),
        tree("too kind", response="no"),
        tree("too strict", response="yes", votes=(False,)),
        tree("rightly strict", response="no", votes=(False,)),
        tree("unknown", response="perhaps"),
        tree("unjudged", response="no", votes=None),
    ]
    index = TreeIndex.open(write(path, *made), Authority(_truth))
    rows = index.rows(range(6)) if early else []
    finish(index)
    rows = rows or index.rows(range(6))
    assert [row.truth for row in rows] == [True, False, True, False, None, False]
    assert [row.judge_wrong for row in rows] == [False, True, True, False, False, False]
    assert shown(index, Filter("judge-wrong")) == [1, 2]
    assert shown(index, sort=Sort("truth")) == [1, 3, 5, 0, 2, 4]
    counts = index.counts()
    assert (counts.judge_wrong, counts.verified, counts.passed) == (2, 5, 2)


def test_ground_truth_of_an_evaluation(tmp_path: Path) -> None:
    """Results of an evaluation take precedence, even if they are written later."""
    path = write(tmp_path / "trees.jsonl", tree("a"), tree("b", response="no"), tree("c"))
    index = TreeIndex.open(tmp_path, Authority(_truth))
    finish(index)
    assert [row.truth for row in index.rows(range(3))] == [None, False, None]
    verdict = {"name": "n", "passed": False, "why": "w"}
    examples = [
        {"id": "a", "passed": False, "verdicts": [verdict, {"name": "m", "passed": None}, "junk"]},
        {"id": "b", "passed": None},
        {"id": "elsewhere", "passed": True},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in examples)
    path.with_name("examples.jsonl").write_text(f"junk\n{lines}[]")
    index.refresh()
    assert [row.truth for row in index.rows(range(3))] == [False, False, None]
    assert shown(index, Filter("judge-wrong")) == [0, 1]
    answer = index.tree(0).nodes[1]
    assert index.check(index.tree(0), answer) == (
        Finding(type="n", constraint="n", met=False, found="w"),
    )
    assert index.check(index.tree(0), index.tree(0).nodes[0]) == ()
    assert index.check(index.tree(2), answer) == ()
    finish(index)
    assert index.totals().failing_types()[0][0] == "n"
    fresh = summarised(tmp_path)
    assert [row.truth for row in fresh.rows(range(3))] == [False, None, None]


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("by_evaluation", [True, False])
def test_an_unanswered_prompt_fails(tmp_path: Path, early: bool, by_evaluation: bool) -> None:
    """By an evaluation's verdict or by the constraints, read on demand or in the background."""
    unanswered = tree("b").model_copy(update={"nodes": (), "selected": None, "stop": "exhausted"})
    path = write(tmp_path / "trees.jsonl", tree("a"), unanswered)
    check = None
    if by_evaluation:
        examples = [{"id": "a", "passed": True}, {"id": "b", "passed": False}]
        lines = "".join(json.dumps(row) + "\n" for row in examples)
        path.with_name("examples.jsonl").write_text(lines)
    else:
        check = _says_hi
    index = TreeIndex.open(path, Authority(check=check))
    index.refresh()
    rows = index.rows(range(2)) if early else []
    finish(index)
    rows = rows or index.rows(range(2))
    assert [row.truth for row in rows] == [True, False]
    counts = index.counts()
    assert (counts.passed, counts.verified) == (1, 2)


def _says_hi(tree: SearchTree, node: Node) -> tuple[Finding, ...]:
    return (Finding(type="hi", constraint="says hi", met=node.response == "hi"),)


def test_finding_a_prompt(path: Path) -> None:
    """A prompt is found by its id, its last row; odd ids are found once they are parsed."""
    write(path, tree("a"), tree('q"é'), tree("a"), spaced(tree("z")), tree(""))
    index = TreeIndex.open(path)
    assert (index.find("a"), index.find(""), index.find("nobody")) == (2, 4, None)
    finish(index)
    assert (index.find('q"é'), index.find("z")) == (1, 3)


def test_rows_that_two_runs_share(tmp_path: Path) -> None:
    """Pairs of rows on the same prompts, in the order of the left run."""
    left = summarised(write(tmp_path / "left.jsonl", tree("c"), tree("a"), "broken", tree("x")))
    right = summarised(write(tmp_path / "right.jsonl", "broken", tree("a"), tree("b"), tree("c")))
    assert shared_rows(left, right) == [(0, 3), (1, 1)]


def test_of_two_trees_of_a_prompt_the_last_is_shared(tmp_path: Path) -> None:
    """A round of `--total-budget` appends the new one, and removes the old one at its end."""
    left = summarised(write(tmp_path / "left.jsonl", tree("a"), tree("b"), tree("a")))
    right = summarised(write(tmp_path / "right.jsonl", tree("b"), tree("b"), tree("a")))
    assert shared_rows(left, right) == [(1, 1), (2, 2)]


def numbers(index: TreeIndex) -> tuple[object, ...]:
    """What an index says of a run as a whole."""
    return (list(index.order()), index.counts(), index.num_tokens(), index.totals())


@pytest.mark.parametrize("write_line", [line_of, spaced])
@pytest.mark.parametrize("at_once", [True, False])
def test_of_two_trees_of_a_prompt_the_last_counts(
    tmp_path: Path, write_line: Callable[[SearchTree], bytes], at_once: bool
) -> None:
    """As in exports, while a round of `--total-budget` is searched: in orders, counts, tokens and totals."""
    first = [tree(f"{n}", stop="budget", votes=(False,), num_faults=1) for n in range(4)]
    second = [tree(f"{n}", text="Say much.") for n in range(3)]
    path = write(tmp_path / "trees.jsonl", *map(write_line, first))
    index = TreeIndex.open(path)
    if not at_once:
        finish(index)
    for one in second:
        append(path, write_line(one))
        if not at_once:
            index.refresh()
            finish(index)
    index.refresh()
    finish(index)
    alone = summarised(write(tmp_path / "alone.jsonl", first[3], *second))
    assert numbers(index) == ([3, 4, 5, 6], *numbers(alone)[1:])
    assert index.totals().trees == index.counts().rows == 4
    assert index.counts().solved == 3
    assert shown(index, Filter("unsolved")) == shown(index, Filter(text="say hi")) == [3]
    assert shown(index, Filter(text="say hi", replaced=True)) == [0, 1, 2, 3]
    assert len(index.order(sort=Sort("score"))) == 4
    assert index.tree(0) == first[0]


def test_a_tree_whose_successor_is_broken_counts_again(path: Path) -> None:
    """A line with the ends of a tree replaces the one before it until it is parsed, or cut off by a resumed run."""
    later = line_of(tree("a", stop="budget"))
    broken = later.replace(b'"nodes":[', b'"nodes":[oops', 1)
    index = summarised(write(path, tree("a"), tree("b")))
    expected = numbers(index)[2:]
    append(path, broken)
    index.refresh()
    assert list(index.order()) == [1, 2]
    finish(index)
    assert (list(index.order()), *numbers(index)[2:]) == ([0, 1, 2], *expected)
    append(path, later, end=b"")
    index.refresh()
    finish(index)
    assert list(index.order()) == [1, 2, 3]
    other = tree("c", text="Say hello.")
    path.write_bytes(path.read_bytes()[: -len(later)] + line_of(other))
    index.refresh()
    finish(index)
    assert list(index.order()) == [0, 1, 2, 3]
    assert index.totals() == summarised(write(path, tree("a"), tree("b"), other)).totals()


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(-1, 5)), max_size=60))
def test_the_last_row_of_a_prompt(steps: list[tuple[int, int]]) -> None:
    """Whatever is set in whatever order: a row is replaced if a later one has its prompt."""
    rows = LastRows()
    for _ in range(41):
        rows.append()
    before = [0] * 41
    for row, key in steps:
        rows.set(row, key if key < 0 else key * 1024)  # all in one chain
        ids = list(rows.ids)
        expected = [int(ids[n] != -1 and ids[n] in ids[n + 1 :]) for n in range(41)]
        assert list(rows.replaced) == expected
        assert rows.num_replaced == sum(expected)
        assert {n for n in range(41) if expected[n] != before[n]} <= rows.changed
        before = expected


def test_many_prompts_of_several_rows() -> None:
    """With more prompts than chains at first."""
    rows = LastRows()
    for number in range(6000):
        rows.append()
        rows.set(number, hash(f"{number % 2500}"))
    assert rows.num_replaced == 3500
    assert rows.replaced.index(0) == 3500


def test_a_broken_reference_is_no_answer() -> None:
    """A tree whose answer does not exist has no score, no judgement and no ground truth."""
    odd = tree("a").model_copy(update={"selected": 9})
    row = summarize_tree(odd, lambda _: True)
    assert (row.score, row.passed, row.truth) == (None, None, None)


def test_odd_numbers_fit(path: Path) -> None:
    """Token counts beyond 64 bits, negative ones, NaN and infinity are rows, sorted without a crash."""
    huge = line_of(tree("a")).replace(
        b'"completion_tokens":10', b'"completion_tokens":1' + b"0" * 30
    )
    negative = line_of(tree("b")).replace(b'"completion_tokens":10', b'"completion_tokens":-9')
    nan = line_of(tree("c")).replace(b'"probability":null', b'"probability":NaN')
    far = line_of(tree("d")).replace(b'"seconds":1.5', b'"seconds":1e999')
    index = summarised(write(path, huge, negative, nan, far))
    assert errors(index) == []
    assert index.row(2).score is None
    assert shown(index, sort=Sort("tokens")) == [2, 3, 0, 1]
    assert shown(index, sort=Sort("seconds", descending=True))[0] == 3


def test_the_store_reads_the_same(tmp_path: Path) -> None:
    """The index shows what the store's reader yields."""
    with RunStore.open(tmp_path, manifest()) as store:
        for number in range(4):
            store.append(tree(f"{number}"))
    index = summarised(tmp_path)
    assert list(read_trees(tmp_path)) == [index.tree(n) for n in range(len(index))]


@given(any_text)
def test_ids_and_titles_are_any_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Lone surrogates, control characters and empty texts survive the round trip."""
    made = tree(text, text=text)
    index = summarised(write(tmp_path_factory.mktemp("run") / "trees.jsonl", made))
    assert index.row(0).prompt_id == text
    assert "".join(text.split()).startswith("".join(index.row(0).title.split()))
    assert index.find(text) == 0
