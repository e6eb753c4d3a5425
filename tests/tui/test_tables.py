"""Rows, titles and status lines: pure functions, hand-worked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from spar.record.run_log import RunStart
from spar.record.run_names import path_labels
from spar.view.node_detail import Section
from tests.hostile import hostile_text
from tests.tui.samples import trees, write_run
from tests.view.test_text import unseen
from tui.clipboard import file_name
from tui.index.rows import Category, Filter, IndexProgress, RowCounts, Sort, TreeRow
from tui.index.run_summary import RunSummary
from tui.index.scores import MetricHistory, MetricValue
from tui.index.watcher import RunWatcher, is_openable
from tui.run_view import failed
from tui.tables.run_lines import RunLine, RunOrder, run_lines, sort_runs
from tui.tables.run_texts import run_name
from tui.tables.runs import COLUMNS as RUN_COLUMNS
from tui.tables.runs import run_cells, run_detail
from tui.tables.trees import COLUMNS, kind_choices, kind_of, status, tree_cells
from tui.widgets.bars import abbreviate, seconds_text
from tui.widgets.node_pane import CHANGE, RESPONSE, SOURCE_PROMPT, NodeOptions, select_sections
from tui.widgets.table import Table

ROW = TreeRow(
    4,
    prompt_id="p",
    title="Say [b]hi[/b].",
    stop="solved",
    score=0.8,
    num_nodes=3,
    depth=1,
    tokens=12_345,
    faults=2,
    seconds=1.25,
)
RUN = RunSummary(
    Path("runs/a"),
    "decode",
    "finished",
    strategy="bfs",
    budget=15,
    models=(("actor", "models/tiny"), ("judge", "models/tiny"), ("refiner", "big")),
    trees=1_000,
    solved=0.5,
    truth=0.25,
    tokens=2_500_000,
    date="2025-06-01T12:00:00+00:00",
)
PROGRESS = IndexProgress(200, 200, 10, 10, 0, done=True)


def plain(cells: object) -> dict[str, str]:
    """Cells without their colours, the empty ones left out."""
    assert isinstance(cells, dict)
    return {name: cell.plain for name, cell in cells.items() if cell.plain}


def test_tree_cells() -> None:
    """Numbers start at 1; a missing score is a dash; faults and wrong judgements are marked."""
    assert plain(tree_cells(ROW)) == {
        "number": "5",
        "prompt": "Say [b]hi[/b].",
        "stop": "solved",
        "score": "0.80",
        "nodes": "3",
        "depth": "1",
        "tokens": "12k",
        "faults": "! 2",
        "seconds": "1.2",
    }
    assert plain(tree_cells(replace(ROW, truth=True)))["truth"] == "✓ yes"
    assert plain(tree_cells(replace(ROW, truth=False, judge_wrong=True)))["truth"] == "✗ no!"
    assert plain(tree_cells(replace(ROW, score=None)))["score"] == "-"
    assert plain(tree_cells(TreeRow(0, error="cut\noff"))) == {
        "number": "1",
        "prompt": "! cut⏎off",
        "stop": "no tree",
    }


@pytest.mark.parametrize(
    ("row", "is_failure"),
    [
        (ROW, False),
        (replace(ROW, stop="budget"), True),
        (replace(ROW, truth=False), True),
        (replace(ROW, truth=True, stop="exhausted"), False),
        (replace(ROW, truth=True, judge_wrong=True), True),
        (TreeRow(0, error="cut"), False),
    ],
)
def test_failures(row: TreeRow, is_failure: bool) -> None:
    """By ground truth where it is known, and wherever the judge errs; else by the judge; a bad line is none."""
    assert failed(row) is is_failure


def test_status() -> None:
    """The status line has the number of rows, sort key, text and progress; defaults are omitted."""
    usual = Sort("number")
    assert status(PROGRESS, Filter(), usual, 200).plain == "200 of 200 trees"
    searching = replace(PROGRESS, searched=50)
    line = status(searching, Filter(text="[/x]", regex=True), Sort("score", descending=True), 3)
    assert line.plain == "3 of 200 trees, by score ↓, regex [/x] (25 % searched)"
    reading = replace(PROGRESS, bytes_read=250_000_000, bytes_total=1_000_000_000, done=False)
    line = status(reading, Filter(), usual, 200)
    assert line.plain == "200 of 200 trees, reading 25 % of 1,000 MB"
    summarising = replace(PROGRESS, summarised=100, done=False)
    assert "summarising 50 %" in status(summarising, Filter(), usual, 200).plain


COUNTS = RowCounts(9, 5, 3, 2, 1, 8, 6, 1, unjudged=4, fixed=3, answers_passed=6, answers_failed=2)


@pytest.mark.parametrize(
    ("counts", "shown", "titles"),
    [
        (COUNTS, "all", "all solved unsolved fixed judge-wrong faults not-judged no-tree"),
        (RowCounts(9, 5, 4, 0, 0, 0, 0, 0), "all", "all solved unsolved"),
        (RowCounts(9, 5, 4, 0, 0, 0, 0, 0), "faults", "all solved unsolved faults"),
        (
            replace(COUNTS, rows=4, faults=0),
            "all",
            "all passed failed fixed judge-wrong not-judged no-tree",
        ),
        (RowCounts(4, 0, 0, 0, 0, 0, 0, 0, unjudged=4), "all", "all solved unsolved not-judged"),
    ],
)
def test_kinds(counts: RowCounts, shown: Category, titles: str) -> None:
    """In the order of the keys, only those with trees; without a judge, by ground truth; the shown one is among them."""
    choices = kind_choices(counts, shown)
    assert " ".join(choice.title.replace(" ", "-") for choice in choices) == titles
    assert all(kind_of(choice.key or 0, counts) == choice.name for choice in choices)
    assert choices[0].number == counts.rows


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0"), (9_999, "9999"), (10_000, "10k"), (3_400_000, "3M")]
)
def test_short(number: int, shown: str) -> None:
    """At most four characters."""
    assert abbreviate(number) == shown


def plain_details(run: RunSummary) -> dict[str, str]:
    """The details of a run without their colours."""
    return {label.plain: text.plain for label, text in run_detail(run)}


def test_run_cells() -> None:
    """Each model once, by its own name; shares in per cent, before and after; cost a prompt; a mark."""
    run = replace(RUN, before=0.125, error=0.05, judge="votes", prompts="p.jsonl")
    assert plain(run_cells(RunLine(run), {Path("runs"): ""}, marked=True)) == {
        "mark": "*",
        "name": "  a",
        "state": "✓ finished",
        "strategy": "bfs 15",
        "prompts": "p.jsonl",
        "model": "tiny, big",
        "judge": "votes",
        "trees": "1000",
        "solved": "50.0 %",
        "pass": "12.5 → 25.0 %",
        "error": "±5.0",
        "cost": "2500 tok",
        "date": "2025-06-01 12:00",
    }
    broken = RunSummary(Path("runs/b"), "decode", "broken", "not [b]JSON")
    shown = plain(run_cells(RunLine(broken), {}, marked=False))
    assert shown == {"name": "  runs/b", "state": "✗ broken"}
    assert plain_details(broken) == {"state": "not [b]JSON", "folder": "runs/b"}


def test_a_run_in_progress_says_how_long_it_takes() -> None:
    """At the rate since its last start; before the first tree it is only running, and a resumed one is marked."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    starts = (RunStart(at, 0, 60), RunStart(at, 20, 60))
    run = replace(RUN, state="running", trees=25, expected=60, starts=starts)
    now = at + timedelta(seconds=20)
    cells = plain(run_cells(RunLine(run), {}, marked=False, now=now))
    assert (cells["state"], cells["trees"]) == ("● 2 min left", "25/60")
    first = plain(run_cells(RunLine(replace(run, trees=20)), {}, marked=False, now=now))
    assert first["state"] == "● running ↻"
    finished = plain(run_cells(RunLine(replace(run, state="finished")), {}, marked=False))
    assert finished["state"] == "✓ finished ↻"
    loop = replace(RUN, kind="training", state="running", stage="1/search")
    assert plain(run_cells(RunLine(loop), {}, marked=False))["state"] == "● 1/search"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (120, "2 min"), (9000, "2 h"), (2e5, "2 days")],
)
def test_seconds_text(seconds: float, text: str) -> None:
    """In the largest unit that is at least one and a half of."""
    assert seconds_text(seconds) == text


def test_run_detail_has_every_metric_with_its_error() -> None:
    """A loop's from the first to the last measurement, one in another unit as it is."""
    value = partial(MetricValue, stderr=0.02)
    metrics = (
        MetricHistory("ifeval pass", (value(0.5), None, value(0.75))),
        MetricHistory("words", (value(12.5, unit="words"),)),
    )
    details = plain_details(replace(RUN, kind="training", metrics=metrics))
    assert details["scores"] == "ifeval pass 50.0 → 75.0 ± 2.0 %, words 12.50 ± 0.02 words"


def test_run_detail_is_whole() -> None:
    """However many metrics there are, and however long the path is."""
    metrics = tuple(MetricHistory(f"metric-{at}", (MetricValue(0.5, 0.02),)) for at in range(40))
    directory = Path("runs", *("folder" * 5 for _ in range(20)))
    details = plain_details(replace(RUN, directory=directory, metrics=metrics))
    assert details["scores"].count("50.0 ± 2.0 %") == 40 and "…" not in details["scores"]
    assert details["folder"] == str(directory)


@pytest.mark.parametrize(
    ("directory", "roots", "name"),
    [
        ("runs/a/b", "runs", "a/b"),
        ("runs/a", "runs/a", "a"),
        ("x/a", "runs", "x/a"),
        ("x1/run", "x1/run x2/run", "x1/run"),
        ("runs/given/nano-if", "runs/given runs/own", "given/nano-if"),
    ],
)
def test_run_name(directory: str, roots: str, name: str) -> None:
    """A path relative to its root; its own name if it is the root; of several roots, what tells them apart."""
    assert run_name(Path(directory), path_labels([*map(Path, roots.split())])) == name


def test_sort_runs() -> None:
    """Sorted by value, runs without one last in both directions; newest first without a column."""
    runs = [
        replace(RUN, directory=Path(name), solved=s, date=f"2026-01-0{at}")
        for at, (name, s) in enumerate(zip("abc", (0.5, None, 0.1), strict=True), start=1)
    ]
    for column, descending, order in (
        ("solved", False, "cab"),
        ("solved", True, "acb"),
        ("name", True, "cba"),
        (None, False, "cba"),
    ):
        found = sort_runs(runs, RunOrder(column, descending))
        assert "".join(str(run.directory) for run in found) == order


def test_runs_are_sorted_by_what_their_cells_show() -> None:
    """Without ground truth by the judge, models by their names, and what a cell leaves out is last."""
    runs = [
        replace(RUN, directory=Path("a"), truth=None, solved=0.4, models=(("actor", "z/tiny"),)),
        replace(RUN, directory=Path("b"), truth=None, solved=0.8, models=(("actor", "a/vast"),)),
        replace(RUN, directory=Path("c"), truth=0.6, models=(("actor", "m/small"),)),
        replace(RUN, directory=Path("d"), truth=None, solved=None, strategy="", models=()),
    ]
    words = (MetricHistory("words", (MetricValue(12.5, 3.0, "words"),)),)
    runs[0] = replace(runs[0], budget=5, metrics=words, error=3.0)
    runs[1] = replace(runs[1], error=0.02)
    runs[2] = replace(runs[2], error=0.01)
    for column, descending, order in (
        ("pass", True, "bcad"),
        ("pass", False, "acbd"),
        ("model", False, "cabd"),
        ("strategy", False, "abcd"),
        ("strategy", True, "bcad"),
        ("error", True, "bcad"),
    ):
        found = sort_runs(runs, RunOrder(column, descending))
        assert "".join(str(run.directory) for run in found) == order, column
    named = [replace(RUN, directory=Path(f"iteration-{at}/search")) for at in (10, 9)]
    assert sort_runs(named, RunOrder("name")) == named[::-1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bfs 5", "a"),
        ("BFS 15", "b"),
        ("tiny 40.0", "a"),
        ("judge", "a"),
        ("finished 2025-06-01", "ab"),
        ("alpha/a", "a"),
        ("bfs nothing", ""),
        ("  ", "ab"),
    ],
)
def test_the_filter_finds_what_the_table_shows(text: str, shown: str) -> None:
    """Each word in any cell, a number as a whole."""
    runs = [
        replace(RUN, directory=Path("a"), budget=5, truth=None, solved=0.4, trees=8),
        replace(RUN, directory=Path("b"), trees=8),
    ]
    lines = run_lines(runs, text=text, labels={Path("a"): "alpha/a", Path("b"): "beta/b"})
    assert "".join(sorted(str(line.run.directory) for line in lines)) == shown


@pytest.mark.parametrize("column", [column.name for column in RUN_COLUMNS[1:]])
def test_runs_are_sorted_by_every_column(column: str) -> None:
    """Also those without any value."""
    runs = [RUN, RunSummary(Path("b"), "decode", "broken")]
    assert len(sort_runs(runs, RunOrder(column, descending=True))) == 2


LOOP = replace(RUN, directory=Path("loop"), kind="training", date="2026-01-02")
STAGES = [
    replace(RUN, directory=Path("loop") / name, parent=LOOP.directory, date=f"2026-01-{day}")
    for name, day in (("search", "05"), ("draft", "04"))
]
ORDER = [RUN, *STAGES, LOOP]


@pytest.mark.parametrize(
    ("opened", "text", "shown"),
    [
        ((), "", ["loop", "a"]),
        ((LOOP.directory,), "", ["loop", "loop/draft", "loop/search", "a"]),
        ((), "SEARCH", ["loop", "loop/search"]),
        ((), "runs/a", ["a"]),
        ((), "nothing", []),
    ],
)
def test_stages_are_folded_into_their_run(
    opened: tuple[Path, ...], text: str, shown: list[str]
) -> None:
    """They are shown in the order of their starts below the opened run, or if they alone have the text."""
    lines = run_lines(ORDER, opened, text)
    assert [str(line.run.directory).removeprefix("runs/") for line in lines] == shown
    assert [line.level for line in lines] == [name.count("/") for name in shown]
    assert all(line.num_stages == 2 for line in lines if line.run is LOOP)


@given(hostile_text, st.integers(0, 10**9))
def test_file_names_are_plain(prompt_id: str, number: int) -> None:
    """Whatever the id, a short name of one path component that no shell minds."""
    name = file_name(number, prompt_id, ".md")
    assert name.startswith(f"tree-{number + 1}") and name.endswith(".md")
    assert name.isascii() and len(name) < 100
    assert not set(name) & set("/\\ \n*?$'\"`") and Path(name).name == name


@given(hostile_text)
def test_no_cell_styles_or_moves(text: str) -> None:
    """Of no text, in no place."""
    rows = [replace(ROW, title=text), TreeRow(0, error=text)]
    cells = [cell for row in rows for cell in tree_cells(row).values()]
    run = replace(RUN, directory=Path("runs") / (text.replace("\x00", "") or "r"), strategy=text)
    run = replace(run, models=((text, text),), date=text, reason=text, prompts=text)
    cells += run_cells(RunLine(run), {Path("runs"): ""}, marked=False).values()
    cells += [text for _, text in run_detail(run)]
    cells += [status(PROGRESS, Filter(text=text), Sort("number"), 1)]
    assert not unseen("".join(cell.plain for cell in cells))


@given(st.integers(1, 300))
def test_columns_fit(width: int) -> None:
    """From 60 cells on, every column is whole and the line is exactly as wide as the table."""
    sizes = [size for _, size in Table(COLUMNS).layout_columns(width)]
    assert all(size >= 1 for size in sizes)
    if width >= 60:
        assert sum(sizes) + len(sizes) - 1 == width


def test_choose() -> None:
    """The diff or the response, never both; the prompt on top if selected, or a note that it is not available."""

    def titles(*shown: str, diff: bool = True, source_prompt: bool = False) -> list[str]:
        sections = [Section(title, Text(title), title) for title in shown]
        return [
            section.title for section in select_sections(sections, NodeOptions(diff, source_prompt))
        ]

    change = f"{CHANGE} #0"
    assert titles(change, RESPONSE, "Votes", SOURCE_PROMPT) == [change, "Votes"]
    assert titles(change, RESPONSE, "Votes", SOURCE_PROMPT, diff=False) == [RESPONSE, "Votes"]
    assert titles(RESPONSE, "Votes") == [RESPONSE, "Votes"]
    assert titles(change, RESPONSE, SOURCE_PROMPT, source_prompt=True) == [SOURCE_PROMPT, change]
    assert titles(RESPONSE, source_prompt=True) == [SOURCE_PROMPT, RESPONSE]


def test_feed(tmp_path: Path) -> None:
    """Runs below folders, and files of trees; a missing path is noted."""
    run = write_run(tmp_path / "runs" / "a", trees(2))
    feed = RunWatcher([tmp_path / "runs", run / "trees.jsonl", tmp_path / "nowhere"])
    feed.scan()
    assert [one.directory for one in feed.latest.runs] == [run, run / "trees.jsonl"]
    assert all(map(is_openable, feed.latest.runs))
    assert feed.latest.complete and "there is no folder" in feed.latest.notes[0]
    assert not feed.is_due()
    feed.close()
