"""How much work a key causes: counted in calls, lines and bytes, since seconds differ from machine to machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from textual.widgets._footer import FooterKey

import tui.index.source
from spar.types import Finding, Node, SearchTree
from spar.view import text as view_text
from tests.tui.driving import browser, cursor, screen_text, until
from tests.tui.samples import trees, write_run
from tests.tui.tree_files import finish
from tui.index.rows import Authority, Category, Filter
from tui.index.run_index import TreeIndex
from tui.widgets.line_list import LineList
from tui.widgets.table import Table

LINES = 400
"""Trees of the run; about a dozen of them are on the screen."""


def check(tree: SearchTree, node: Node) -> list[Finding]:
    """One constraint, which drafts do not meet."""
    met = "red" in node.response
    return [Finding(type="keywords:existence", constraint="red", met=met)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is larger than the screen."""
    return write_run(tmp_path_factory.mktemp("work") / "run", trees(LINES))


def index_of(run: Path) -> TreeIndex:
    """Its index, with all rows summarised."""
    index = TreeIndex.open(run, Authority(check=check))
    finish(index)
    return index


def calls(work: Callable[[], object]) -> int:
    """Python and C functions that were called."""
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    work()  # what is computed once and kept
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def quiet(app: Any) -> Any:
    """The screen without what is not part of a key: ticks, the worker, the story of a tree on which the cursor rests."""
    for timer in list(app.screen._timers):
        timer.stop()
    app.screen._update_story = app.screen.work = lambda: None
    return app.screen


@pytest.mark.parametrize("show", get_args(Category))
def test_a_filter_calls_nothing_for_each_row(show: Category, run: Path, tmp_path: Path) -> None:
    """The trees of a category, alone and with a constraint, and all counts take as many calls for 400 rows as for 20."""
    few = write_run(tmp_path / "few", trees(20))
    numbers = []
    for path in (few, run):
        with index_of(path) as index:
            shown = (Filter(show), Filter(show, constraint="keywords:existence"))
            numbers.append(calls(lambda: [*map(index.order, shown), index.counts()]))  # noqa: B023
    assert numbers[0] == numbers[1]


async def test_what_a_key_draws_and_reads(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move draws the two lines that changed; a page or a filter draws a screen; none reads the file again."""
    drawn: list[int] = []
    read: list[int] = []
    draw, fetch = Table.draw, tui.index.source.Source.read

    def counted(self: Table, line: int, width: int) -> Any:
        drawn.append(line)
        return draw(self, line, width)

    def counted_read(self: Any, start: int, length: int) -> bytes:
        read.append(length)
        return fetch(self, start, length)

    async with browser(run) as (app, pilot):
        screen = quiet(app)
        lines = screen.query_one(Table).page_lines()
        monkeypatch.setattr(Table, "draw", counted)
        monkeypatch.setattr(tui.index.source.Source, "read", counted_read)
        for key, most in (("j", 2), ("pagedown", lines), ("k", 2), ("3", lines), ("1", lines)):
            drawn.clear()
            read.clear()
            before = (cursor(app), screen.view.shown)
            await pilot.press(key)
            await until(pilot, lambda: (cursor(app), screen.view.shown) != before)  # noqa: B023
            assert 0 < len(drawn) <= most + 1, (key, drawn)
            assert not read, key


async def test_lines_that_did_not_change_are_as_before(run: Path) -> None:
    """What is kept of a list is what would be drawn: after moves, scrolls and another theme."""
    async with browser(run) as (app, pilot):
        quiet(app)
        for keys in (("j", "j", "k"), ("pagedown", "j"), ("G", "k"), ("T",), ("g", "g", "j")):
            await pilot.press(*keys)
            await pilot.pause()
            kept = screen_text(app)
            for each in app.screen.query(LineList):
                each.refresh()
            await pilot.pause()
            assert screen_text(app) == kept, keys


async def test_the_footer_stays_while_its_keys_do(run: Path) -> None:
    """Keys that are announced again are not made again; other keys are."""
    async with browser(run) as (app, pilot):
        before = list(app.screen.query(FooterKey))
        app.screen.refresh_bindings()
        await pilot.pause()
        assert list(app.screen.query(FooterKey)) == before
        await pilot.press("slash")
        await until(pilot, lambda: list(app.screen.query(FooterKey)) != before)
        assert "Cancel" in screen_text(app).splitlines()[-1]


def test_arrows_and_dashes_need_no_table_of_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of all combining marks, which takes a tenth of a second, is made when a mark is shown."""
    made = []
    monkeypatch.setattr(view_text, "_mark_patterns", lambda: made.append(1))
    assert view_text.safe("failed → fixed — “so” é 日本") == "failed → fixed — “so” é 日本"
    assert not made
