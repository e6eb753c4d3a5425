"""Nothing that a user needs is cut off, hidden, or called by the wrong name."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.text import Text
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

from spar.types import SearchTree
from tests.tui.driving import (
    browser,
    cursor,
    is_idle,
    notified,
    open_trees,
    screen_text,
    until,
)
from tests.tui.samples import failed_tree, node, trees, write_run
from tests.tui.tree_files import tree
from tui.index.run_rows import model_name
from tui.run_view import Match
from tui.screens.compare import CompareScreen
from tui.screens.runs import RunsScreen
from tui.screens.trees import TreesScreen
from tui.tables import comparison, runs
from tui.tables import trees as tree_table
from tui.tables.trees import match_text
from tui.widgets.line_list import CURSOR
from tui.widgets.table import Column, Table, cut_apart, cut_middle


def unjudged(number: int) -> SearchTree:
    """An answer that no judge saw, as greedy decoding leaves it."""
    draft = node(0, None, f"A cat {number}.", None)
    return failed_tree(number).model_copy(update={"nodes": (draft,)})


@pytest.mark.parametrize("columns", [runs.COLUMNS, tree_table.COLUMNS, comparison.COLUMNS])
def test_a_title_has_room_for_the_arrow_of_its_order(columns: tuple[Column, ...]) -> None:
    """Of every column of a fixed width but the comparison's, which cannot be sorted."""
    room = 0 if columns is comparison.COLUMNS else 1
    for column in columns:
        if column.width > 1:
            assert cell_len(column.title) + room <= column.width, column.title


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("short", 9, "short"),
        ("loop/iteration-0/eval/greedy", 16, "loop/…val/greedy"),
        ("日本語日本語日本語", 9, "日…日本語"),
    ],
)
def test_a_name_loses_its_middle(name: str, width: int, shown: str) -> None:
    """Names of runs differ at their ends."""
    cut = cut_middle(Text(name), width)
    assert cut.plain == shown and cut.cell_len <= width


@pytest.mark.parametrize(
    ("names", "width", "shown"),
    [
        (
            ["evalgr/nano-if-answers", "evalbfs/nano-if-answers"],
            14,
            ["evalgr…answers", "evalbfs…nswers"],
        ),
        (
            [f"loop/iteration-{at}/eval/greedy" for at in (1, 2)],
            16,
            ["lo…1/eval/greedy", "lo…2/eval/greedy"],
        ),
        ([f"{'x' * 20}{at}{'y' * 20}" for at in "ab"], 8, ["…ayyyyy…", "…byyyyy…"]),
        (["x" * 20, "x" * 21], 8, ["xx…xxxxx", "xx…xxxxx"]),
    ],
)
def test_names_that_are_cut_are_told_apart(names: list[str], width: int, shown: list[str]) -> None:
    """What they share is cut where their ends are the same."""
    cut = cut_apart(names, width)
    assert [name.plain for name in cut] == shown
    assert all(name.cell_len <= width for name in cut)


@pytest.mark.screen
async def test_evaluations_of_one_benchmark_are_told_apart(tmp_path: Path) -> None:
    """In the list of runs on a small screen, and where they are compared, in one folder or in two."""
    folders = [tmp_path / "evalgr", tmp_path / "evalbfs"]
    for folder in folders:
        write_run(folder / "nano-if-answers", trees(3))
    for number in range(20):
        write_run(tmp_path / "other" / f"run-{number}", trees(1))
    async with browser(tmp_path) as (app, _):
        assert "evalgr" in screen_text(app) and "evalbfs" in screen_text(app)
    async with browser(*folders) as (app, pilot):
        await pilot.press("space", "space", "C")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen) and is_idle(app))
        lines = [line.split() for line in screen_text(app).splitlines()[:2]]
        assert sorted(name for _, name in lines) == [
            "evalbfs/nano-if-answers",
            "evalgr/nano-if-answers",
        ]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("org/tiny", "tiny"),
        ("runs/loop/iteration-0/refine/model", "iteration-0/refine"),
        ("model", "model"),
    ],
)
def test_a_trained_model_has_the_name_of_its_stage(model: str, name: str) -> None:
    """A trained model lies in a folder that is called `model`, whatever stage trained it."""
    assert model_name(model) == name


@pytest.mark.parametrize("start", [0, 20, 150])
def test_a_match_is_near_the_start(start: int) -> None:
    """However far into a text it is, a match is seen in a narrow column, and marked."""
    text = "x" * start + "needle" + "y" * 300
    shown = match_text(Match("", text, start, start + 6))
    assert shown.plain.index("needle") < 26
    assert [shown.plain[span.start : span.end] for span in shown.spans] == ["needle"]


@pytest.mark.screen
async def test_a_run_without_a_judge_has_not_failed(tmp_path: Path) -> None:
    """The list of runs and the list of trees say that nothing was judged, and count nothing as unsolved."""
    write_run(tmp_path / "greedy", map(unjudged, range(3)), strategy="greedy", budget=1)
    async with browser(tmp_path) as (app, pilot):
        assert "no judge was called" in screen_text(app) and "0.0 %" not in screen_text(app)
        await open_trees(app, pilot)
        text = screen_text(app)
        assert "3 unsolved 0" in text and "8 not judged 3" in text and "judge wrong" not in text
        assert text.count("not judged") == 5 and "all tried" not in text
        await pilot.press("n")
        await until(pilot, lambda: notified(app, "no failure below"))


@pytest.mark.screen
async def test_a_killed_run_says_how_far_it_came(tmp_path: Path) -> None:
    """Its trees are counted, and how to resume it is shown, though it has no totals."""
    write_run(tmp_path / "a", trees(3), ended=False, prompts="", limit=30)
    async with browser(tmp_path, size=(120, 24), truth=lambda tree: tree.solved) as (app, pilot):
        await until(pilot, lambda: "3/30" in screen_text(app))
        text = screen_text(app)
        assert "■ stopped" in text and "66.7 %" in text
        assert "to resume, run its command again with --out" in text


@pytest.mark.screen
async def test_a_match_is_shown_and_q_leaves(tmp_path: Path) -> None:
    """Lines of a prompt are joined; a match is shown even in a response; `q` leaves though there is a text."""
    bullets = tree("a", text="Make up a line.\n- Name a capital.", response="It is Paris.")
    lines = [bullets, tree("b")]
    run = write_run(tmp_path / "a", lines)
    async with browser(tmp_path, size=(120, 24)) as (app, pilot):
        await open_trees(app, pilot)
        assert "Make up a line. - Name a" in screen_text(app)
        for word, shown in (("capital", "capital"), ("paris", "#1 It is Paris.")):
            await pilot.press("slash", *word)
            assert f"{word} " in screen_text(app)
            await pilot.press("enter")
            await until(pilot, lambda: "1 of 2 trees" in screen_text(app))
            rows = screen_text(app).splitlines()
            assert any(CURSOR in row and shown in row for row in rows), run
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


SCREENS = {
    "runs": [],
    "trees": ["enter"],
    "tree": ["enter", "enter"],
    "compare": ["space", "space", "C"],
    "pair": ["enter"],
}


@pytest.mark.screen
async def test_footers_fit_into_80_columns(tmp_path: Path) -> None:
    """On every screen, each key of the footer is whole, and none lies under another."""
    for name in "ab":
        write_run(tmp_path / name, trees(3))
    async with browser(tmp_path, play=None) as (app, pilot):
        for screen, keys in SCREENS.items():
            for key in keys:
                await pilot.press(key)
                await until(pilot, lambda: is_idle(app))
            footer = app.screen.query_one(Footer)
            regions = sorted(key.region for key in footer.query(FooterKey))
            assert len(regions) > 3
            for one, following in pairwise(regions):
                assert one.right <= following.x, (screen, screen_text(app).splitlines()[-1])
            assert regions[-1].right <= 80
            if screen == "tree":
                app.pop_screen()
                app.pop_screen()
                await until(pilot, lambda: isinstance(app.screen, RunsScreen))


@pytest.mark.screen
async def test_enter_starts_nothing_when_the_runs_vanish(tmp_path: Path) -> None:
    """Enter was meant for a row; the demo is started only where there never was one."""
    run = write_run(tmp_path / "a", trees(3))
    started: list[Path] = []

    async def demo(directory: Path) -> None:
        started.append(directory)

    async with browser(tmp_path, demo=demo) as (app, pilot):
        run.rename(tmp_path / ".gone")
        await until(pilot, lambda: "There are no runs" in screen_text(app))
        await pilot.press("enter")
        await pilot.pause(0.1)
        assert not started


@pytest.mark.screen
async def test_a_smaller_window_keeps_the_cursor(tmp_path: Path) -> None:
    """The row under the cursor stays on the screen."""
    run = write_run(tmp_path / "a", trees(60))
    async with browser(run, size=(120, 40)) as (app, pilot):
        await pilot.press(*["j"] * 25)
        assert cursor(app) == 25
        await pilot.resize_terminal(80, 12)
        await until(pilot, lambda: CURSOR in screen_text(app))


@pytest.mark.screen
async def test_trees_without_a_manifest_are_opened(tmp_path: Path) -> None:
    """A folder that has trees but no run.json, such as a copy of them, is opened, and listed."""
    run = write_run(tmp_path / "a", trees(3))
    (run / "run.json").unlink()
    async with browser(run) as (app, _):
        assert isinstance(app.screen, TreesScreen) and "3 of 3 trees" in screen_text(app)
    async with browser(tmp_path) as (app, _):
        assert "it has no run.json" in screen_text(app)


@pytest.mark.screen
async def test_all_that_is_said_of_a_run_can_be_read(tmp_path: Path) -> None:
    """Below a short list it takes the free lines; below a long one it scrolls, and the table stays as high for each run."""
    why = " ".join(f"word-{at}" for at in range(60))
    for name in ("many/a", "many/b", "one/a"):
        home = write_run(tmp_path / name, [], begins="rft") / "iteration-1"
        home.mkdir()
        failed = {"state": "failed", "message": why if name.endswith("a") else "short"}
        (home / "dpo.json").write_text(json.dumps(failed))
    for number in range(20):
        write_run(tmp_path / f"many/run-{number:02d}", trees(1))
    async with browser(tmp_path / "one") as (app, pilot):
        assert "word-0" in screen_text(app) and "word-59" in screen_text(app)
    async with browser(tmp_path / "many") as (app, pilot):
        await pilot.press("s")
        await until(pilot, lambda: "word-0" in screen_text(app))
        assert "word-59" not in screen_text(app)
        height = app.screen.query_one(Table).size.height
        await pilot.press(*"JJJJJJJJ")
        await until(pilot, lambda: "word-59" in screen_text(app))
        await pilot.press("j")
        await until(pilot, lambda: "short" in screen_text(app))
        assert app.screen.query_one(Table).size.height == height
        await pilot.press("k")
        await until(pilot, lambda: "word-0" in screen_text(app))
