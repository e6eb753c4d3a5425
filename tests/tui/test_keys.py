"""Every key of the screens for runs, trees and one tree is pressed, and does what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import OptionList

from spar.types import SearchTree
from spar.view.node_detail import Annotations
from tests.tui.driving import (
    browser,
    cursor,
    is_idle,
    line,
    notified,
    open_tree,
    open_trees,
    screen_text,
    until,
)
from tests.tui.samples import (
    DRAFT,
    REFINED,
    failed_tree,
    judged,
    node,
    prompt,
    solved_tree,
    trees,
    write_run,
)
from tui.app import SparApp
from tui.screens.base import PickingScreen
from tui.screens.export import ExportScreen
from tui.screens.help import HelpScreen
from tui.screens.runs import RunsScreen
from tui.screens.tree import TreeScreen
from tui.screens.trees import TreesScreen
from tui.tables.run_lines import RunOrder
from tui.tables.runs import COLUMNS as RUN_COLUMNS
from tui.tables.trees import COLUMNS as TREE_COLUMNS
from tui.widgets.bars import SearchBar
from tui.widgets.dashboard import Dashboard
from tui.widgets.line_list import LineList
from tui.widgets.node_pane import NodePane
from tui.widgets.note_bar import NoteBar
from tui.widgets.parts_pane import PartsPane
from tui.widgets.run_details import RunDetails
from tui.widgets.table import Table
from tui.widgets.tree_head import TreeHead
from tui.widgets.tree_pane import TreePane

pytestmark = pytest.mark.screen

Seen = Callable[[Any], bool]


@dataclass(frozen=True)
class Press:
    """A key, and a condition that holds after it but not before."""

    key: str
    seen: Seen
    first: Sequence[str] = ()
    """Keys to press first, so that this one has an effect."""


def at(row: int) -> Seen:
    """The table's cursor is there."""
    return lambda app: cursor(app) == row


def on(number: int) -> Seen:
    """The tree's cursor is on that line."""
    return lambda app: line(app) == number


def shows(text: str) -> Seen:
    """The text is on the screen."""
    return lambda app: text in screen_text(app)


def is_screen(kind: type) -> Seen:
    """That screen is on top."""
    return lambda app: isinstance(app.screen, kind)


def copied(text: str) -> Seen:
    """That is on the clipboard."""
    return lambda app: app.clipboard == text


def number_is(number: int) -> Seen:
    """That row's tree is on the screen."""
    return lambda app: app.screen.number == number and len(app.screen._sections) > 0


def shown_is(kind: str) -> Seen:
    """Trees of that kind are shown."""
    return lambda app: app.screen.view.shown.category == kind


def sort_is(column: str, *, descending: bool) -> Seen:
    """The trees are sorted so."""
    return lambda app: (
        (app.screen.view.sort.key, app.screen.view.sort.descending) == (column, descending)
    )


def num_lines(number: int) -> Seen:
    """The list of runs has so many lines."""
    return lambda app: len(app.screen._lines) == number


def scrolled(low: int, high: int) -> Seen:
    """The text is scrolled to a line between these."""
    return lambda app: low <= app.screen.query_one(NodePane).scroll_offset.y <= high


def opened(kind: str) -> Seen:
    """Whether the parts of a kind are open."""
    return lambda app: kind in app.screen.query_one(PartsPane).folds.open


def folded(kind: str) -> Seen:
    """Whether they are folded."""
    return lambda app: kind not in app.screen.query_one(PartsPane).folds.open


def is_open(bar: type[Widget]) -> Seen:
    """That bar is open."""
    return lambda app: app.screen.query_one(bar).has_class("-open")


def is_closed(bar: type[Widget]) -> Seen:
    """That bar is closed."""
    return lambda app: not app.screen.query_one(bar).has_class("-open")


def has_focus(kind: type[Widget]) -> Seen:
    """That widget has the focus."""
    return lambda app: app.screen.query_one(kind).has_focus


def notifies(text: str) -> Seen:
    """A message with the text is shown."""
    return lambda app: notified(app, text)


MOVES_IN_A_TABLE = (
    Press("j", at(1)),
    Press("down", at(2)),
    Press("k", at(1)),
    Press("up", at(0)),
    Press("pagedown", at(15)),
    Press("ctrl+f", at(30)),
    Press("pageup", at(15)),
    Press("ctrl+b", at(0)),
    Press("ctrl+d", at(7)),
    Press("ctrl+u", at(0)),
    Press("end", at(59)),
    Press("home", at(0)),
    Press("G", at(59)),
    Press("g", at(0), first=["g"]),
    Press("enter", is_screen(TreeScreen)),
)
MOVES_IN_A_TEXT = (
    Press("j", scrolled(1, 1)),
    Press("down", scrolled(2, 2)),
    Press("k", scrolled(1, 1)),
    Press("up", scrolled(0, 0)),
    Press("pagedown", scrolled(10, 20)),
    Press("ctrl+f", scrolled(20, 40)),
    Press("pageup", scrolled(10, 20)),
    Press("ctrl+b", scrolled(0, 0)),
    Press("ctrl+d", scrolled(5, 10)),
    Press("ctrl+u", scrolled(0, 0)),
    Press("end", scrolled(60, 999)),
    Press("home", scrolled(0, 0)),
    Press("G", scrolled(60, 999)),
    Press("g", scrolled(0, 0), first=["g"]),
)
RUNS = (
    Press("S", lambda app: app.screen._order == RunOrder("date")),
    Press("S", lambda app: app.screen._order == RunOrder("date", descending=True)),
    Press("s", shows("run↑"), first=["s"]),
    Press("S", shows("run↓")),
    Press("space", lambda app: len(app.screen.marked) == 1, first=["S", "home"]),
    Press("C", lambda app: app.opened == ("compare", ("runs/a", "runs/b")), first=["space"]),
    Press("J", lambda app: app.screen.query_one(RunDetails).scroll_offset.y == 1, first=["G"]),
    Press("K", lambda app: app.screen.query_one(RunDetails).scroll_offset.y == 0),
    Press("t", lambda app: app.opened == ("training", ("runs/loop",)), first=["G"]),
    Press("P", lambda app: app.opened == ("play", ())),
    Press("D", lambda app: app.ran_demo == [Path("runs/demo")]),
    Press("l", num_lines(4), first=["G"]),
    Press("h", num_lines(3)),
    Press("right", num_lines(4)),
    Press("left", num_lines(3), first=["j"]),
    Press("o", is_screen(TreesScreen), first=["home"]),
    Press("slash", is_open(SearchBar), first=["escape"]),
    Press("escape", num_lines(3), first=["s", "e", "a", "r", "c", "h", "enter"]),
)
TREES = (
    Press("2", shown_is("solved")),
    Press("3", shown_is("unsolved")),
    Press("4", shown_is("fixed")),
    Press("5", shown_is("broken")),
    Press("6", shown_is("judge-wrong")),
    Press("7", shown_is("faults")),
    Press("8", shown_is("unjudged")),
    Press("9", shown_is("no-tree")),
    Press("1", shown_is("all")),
    Press("asterisk", shows("0 ✱ starred 1"), first=["home"]),
    Press("0", shown_is("starred")),
    Press("O", notifies("nothing was exported here yet")),
    Press("x", notifies("run.html; O opens it")),
    Press("w", is_open(NoteBar), first=["1"]),
    Press("f", shown_is("solved"), first=["escape"]),
    Press("v", lambda app: not app.screen.query_one(Dashboard).is_folded),
    Press("c", notifies("no answer of this run"), first=["v"]),
    Press("s", sort_is("prompt", descending=False), first=["1"]),
    Press("S", sort_is("prompt", descending=True)),
    Press("n", at(2), first=["s", "s", "s", "s", "s", "s", "s", "s", "s", "home"]),
    Press("N", at(2), first=["n"]),
    Press("slash", is_open(SearchBar)),
    Press("R", lambda app: app.screen.view is not app.view_before, first=["escape"]),
    Press("l", is_screen(TreeScreen)),
    Press("right", is_screen(TreeScreen), first=["escape"]),
    Press("escape", is_screen(RunsScreen), first=["escape"]),
    Press("h", is_screen(RunsScreen), first=["enter"]),
    Press("left", is_screen(RunsScreen), first=["enter"]),
)
TREE = (
    Press("right_square_bracket", number_is(1)),
    Press("left_square_bracket", number_is(0)),
    Press("n", number_is(2)),
    Press("N", number_is(2), first=["n"]),
    Press("a", on(2), first=["left_square_bracket", "left_square_bracket", "home"]),
    Press("h", on(1)),
    Press("left", on(0)),
    Press("d", opened("response"), first=["a"]),
    Press("p", opened("prompt")),
    Press("1", opened("change")),
    Press("2", folded("response")),
    Press("3", folded("critique")),
    Press("4", opened("dissent")),
    Press("5", opened("reflection")),
    Press("6", notifies("there is no part 6 here")),
    Press("7", notifies("there is no part 7 here")),
    Press("8", folded("prompt")),
    Press("9", opened("cost")),
    Press("0", opened("strategy")),
    Press("z", lambda app: app.screen.has_class("-zoomed"), first=["0"]),
    Press("i", lambda app: app.screen.query_one(TreeHead).has_class("-whole"), first=["z"]),
    Press("l", has_focus(NodePane)),
    Press("tab", has_focus(TreePane)),
    Press("right", has_focus(NodePane)),
    Press("J", scrolled(1, 1), first=["h"]),
    Press("K", scrolled(0, 0)),
    Press("y", copied(REFINED)),
    Press("Y", copied("Write sentence 0 about a dog. Use the word red.")),
    Press("c", lambda app: app.clipboard.startswith('{\n "id": 1,')),
    Press("o", lambda app: (app.lent / "pager").is_file()),
    Press("e", lambda app: (app.lent / "editor").is_file()),
    Press("O", notifies("nothing was exported here yet")),
    Press("x", is_screen(ExportScreen)),
    Press("asterisk", shows("✱ prompt-0"), first=["escape"]),
    Press("w", is_open(NoteBar)),
    Press("slash", is_open(SearchBar), first=["escape"]),
    Press("escape", is_screen(TreesScreen), first=["escape"]),
)
NOTE = (Press("escape", is_closed(NoteBar)),)
SEARCH = (
    Press("ctrl+r", shows("regular expression (^r: text)")),
    Press("escape", is_closed(SearchBar)),
)
EXPORT = (
    Press("j", lambda app: app.screen.query_one(OptionList).highlighted == 1),
    Press("k", lambda app: app.screen.query_one(OptionList).highlighted == 0),
    Press("escape", is_screen(TreeScreen)),
    Press("q", is_screen(TreeScreen), first=["x"]),
)
HELP = (
    Press("escape", is_screen(RunsScreen)),
    Press("q", is_screen(RunsScreen), first=["question_mark"]),
    Press("question_mark", is_screen(RunsScreen), first=["question_mark"]),
)
APP = (
    Press("question_mark", is_screen(HelpScreen)),
    Press("slash", notifies("/ searches in the lists of runs"), first=["escape", "G", "t"]),
    Press("T", lambda app: app.theme == "textual-light"),
    Press("colon", lambda app: isinstance(app.screen, CommandPalette)),
    Press("q", lambda app: not app.is_running, first=["escape", "escape"]),
)


@pytest.mark.parametrize(
    ("owner", "presses"),
    [
        (LineList, MOVES_IN_A_TABLE),
        (NodePane, MOVES_IN_A_TEXT),
        (RunsScreen, RUNS),
        (TreesScreen, TREES),
        (TreeScreen, TREE),
        (SearchBar, SEARCH),
        (NoteBar, NOTE),
        (PickingScreen, EXPORT),
        (HelpScreen, HELP),
        (SparApp, APP),
    ],
)
def test_every_key_is_pressed(owner: Any, presses: Sequence[Press]) -> None:
    """The tables above name each binding of each screen and widget, and every binding says what it does."""
    bindings = list(Binding.make_bindings(_own(owner)))
    assert {press.key for press in presses} == {binding.key for binding in bindings}
    assert all(binding.description for binding in bindings)


def _own(owner: Any) -> list[BindingType]:
    return cast("list[BindingType]", vars(owner)["BINDINGS"])


async def press_all(app: Any, pilot: Pilot[None], presses: Sequence[Press]) -> None:
    """Press each key; its condition must not hold before."""
    for press in presses:
        for key in press.first:
            await pilot.press(key)
            await pilot.pause()
        assert not press.seen(app), f"{press.key} has nothing to do:\n{screen_text(app)}"
        await pilot.press(press.key)
        await until(pilot, lambda press=press: press.seen(app))  # type: ignore[misc]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs and a training loop below `runs/` of the working directory."""
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/a"), trees(8))
    write_run(Path("runs/b"), trees(3))
    write_run(Path("runs/loop"), [], begins="rft")
    write_run(Path("runs/loop/iteration-1/search"), trees(1))
    failed = {"state": "failed", "message": "out of memory " * 100}
    Path("runs/loop/iteration-1/dpo.json").write_text(json.dumps(failed))
    return Path("runs")


async def test_moves_in_a_table(tmp_path: Path) -> None:
    """Arrows, vim's keys and pages move the cursor; enter opens."""
    run = write_run(tmp_path / "a", trees(60))
    async with browser(run) as (app, pilot):
        await press_all(app, pilot, MOVES_IN_A_TABLE)


async def test_moves_in_a_text(tmp_path: Path) -> None:
    """The same keys scroll a text."""
    draft = node(0, None, "\n".join(map(str, range(99))), 5)
    tree = SearchTree(
        prompt=prompt(0), strategy="bfs", config="c", nodes=(draft,), selected=0, stop="solved"
    )
    async with browser(write_run(tmp_path / "a", [tree])) as (app, pilot):
        await open_tree(app, pilot)
        await pilot.press("l")
        await press_all(app, pilot, MOVES_IN_A_TEXT)


async def test_keys_of_the_runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open, mark, sort; compare, training, play and the demo get the right runs."""

    async def demo(directory: Path) -> None:
        app.ran_demo.append(directory)  # type: ignore[attr-defined]

    def open_screen(name: str, inputs: object, *paths: Path) -> Screen[None]:
        app.opened = (name, tuple(map(str, paths)))  # type: ignore[attr-defined]
        return Closing()

    monkeypatch.setattr("tui.screens.runs.open_screen", open_screen)
    async with browser(runs, demo=demo, play=object()) as (app, pilot):
        app.opened, app.ran_demo = None, []  # type: ignore[attr-defined]
        await press_all(app, pilot, RUNS)


class Closing(Screen[None]):
    """A screen that leaves at once."""

    def on_mount(self) -> None:
        """Leave."""
        self.dismiss(None)


async def test_keys_of_the_trees(runs: Path) -> None:
    """Filter, sort, failures, search, read again, open, back."""
    unjudged = failed_tree(8).model_copy(update={"nodes": (node(0, None, "A cat.", None),)})
    with (runs / "a" / "trees.jsonl").open("a") as handle:
        handle.write(f"{unjudged.to_json()}\n{{cut\n")
    async with browser(runs) as (app, pilot):
        screen = await open_trees(app, pilot)
        app.view_before = screen.view  # type: ignore[attr-defined]
        await press_all(app, pilot, TREES)


async def test_keys_of_a_tree(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other trees, other nodes, both panes, what is shown, what goes out."""
    for name, variable in (("pager", "PAGER"), ("editor", "VISUAL")):
        program = tmp_path / f"{name}.sh"
        program.write_text(f'#!/bin/sh\ncp "$2" {tmp_path}/$1\n')
        program.chmod(0o700)
        monkeypatch.setenv(variable, f"{program} {name}")
    monkeypatch.setattr(SparApp, "suspend", lambda app: nullcontext())
    critique = judged(1).critique + " the last word"
    annotations = Annotations(
        render=lambda tree, node: [tree.prompt.messages[0].model_copy(update={"content": critique})]
    )
    async with browser(runs, annotations_for=lambda directory: annotations) as (app, pilot):
        app.lent = tmp_path  # type: ignore[attr-defined]
        await open_trees(app, pilot)
        await open_tree(app, pilot)
        await press_all(app, pilot, TREE)
    assert "Change from #0" in (tmp_path / "pager").read_text()
    assert (tmp_path / "editor").read_text() == REFINED


async def test_keys_of_the_search(runs: Path) -> None:
    """Turn to regular expressions and back out; enter looks, escape then shows all again."""
    async with browser(runs) as (app, pilot):
        await open_trees(app, pilot)
        await pilot.press("slash")
        await press_all(app, pilot, SEARCH)
        await pilot.press("slash", "d", "o", "g", "s")
        await until(pilot, lambda: "6 of 8 trees, text dogs" in screen_text(app))
        await pilot.press("ctrl+r", "enter")
        await until(pilot, lambda: "6 of 8 trees, regex dogs" in screen_text(app))
        await pilot.press("slash", *"c[a")
        assert "c[a" in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: "'c[a' is not a valid regular expression" in screen_text(app))
        assert "/c[a " in screen_text(app).replace("/ ", "/")
        await pilot.press("escape")
        await until(pilot, lambda: "6 of 8 trees, regex dogs" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "8 of 8 trees" in screen_text(app))


async def test_the_filter_of_runs_offers_no_regular_expression(runs: Path) -> None:
    """The footer leaves out the key, which the search in trees has."""
    async with browser(runs) as (app, pilot):
        await pilot.press("slash")
        await until(pilot, lambda: app.screen.query_one(SearchBar).is_open)
        assert "ctrl+r" not in app.screen.active_bindings
        await pilot.press("escape", "home")
        await open_trees(app, pilot)
        await pilot.press("slash")
        await until(pilot, lambda: app.screen.query_one(SearchBar).is_open)
        assert "ctrl+r" in app.screen.active_bindings


async def test_keys_of_a_note(runs: Path) -> None:
    """Escape closes the line and stores nothing."""
    async with browser(runs) as (app, pilot):
        screen = await open_trees(app, pilot)
        await pilot.press("w", "a")
        await until(pilot, lambda: is_open(NoteBar)(app))
        await press_all(app, pilot, NOTE)
        assert screen.view.marks.all() == {}


async def test_keys_of_the_export(runs: Path) -> None:
    """Choose a form; the file lies beside the run and holds the tree."""
    async with browser(runs) as (app, pilot):
        await open_trees(app, pilot)
        await open_tree(app, pilot)
        await pilot.press("x")
        await press_all(app, pilot, EXPORT)
        await pilot.press("x", "end", "enter")
        made = runs / "a" / "exports" / "tree-1-prompt-0.json"
        await until(pilot, made.is_file)
    assert SearchTree.from_json(made.read_text()) == solved_tree(0)


async def test_keys_of_the_help(runs: Path) -> None:
    """Every key of the screen below with what it does; three keys close it."""
    async with browser(runs, size=(100, 60)) as (app, pilot):
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        text = screen_text(app)
        for binding in Binding.make_bindings([*_own(RunsScreen), *_own(LineList), *_own(SparApp)]):
            # Nothing was handed in for two of them, and this screen has a search.
            hidden = binding.action in ("demo", "play", "no_search")
            assert ((binding.tooltip or binding.description) in text) is not hidden, binding
        await press_all(app, pilot, HELP)


async def test_keys_everywhere(runs: Path) -> None:
    """Help, colours, and the end."""
    async with browser(runs) as (app, pilot):
        await press_all(app, pilot, APP)


async def test_command_palette(runs: Path) -> None:
    """What a key does can be found by its words."""
    async with browser(runs) as (app, pilot):
        await open_trees(app, pilot)
        await pilot.press("ctrl+p")
        await pilot.press(*"unsolved")
        await until(pilot, lambda: "Show unsolved" in screen_text(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, TreesScreen))
        await until(pilot, lambda: shown_is("unsolved")(app))


async def test_mouse(runs: Path) -> None:
    """A click moves, a second opens; a click on a title sorts; a click on a kind filters."""
    async with browser(runs) as (app, pilot):
        await open_trees(app, pilot)
        await pilot.click("Table", offset=(21, 4))
        assert cursor(app) == 2
        await pilot.click("Table", offset=(46, 1))
        await until(pilot, lambda: sort_is("score", descending=False)(app))
        await pilot.click("Table", offset=(46, 1))
        await until(pilot, lambda: sort_is("score", descending=True)(app))
        await pilot.click("Choices", offset=(14, 0))
        await until(pilot, lambda: shown_is("solved")(app))
        await pilot.click("Table", offset=(21, 3), times=2)
        await until(pilot, lambda: isinstance(app.screen, TreeScreen))


async def test_a_click_on_any_title_sorts_or_does_nothing(runs: Path) -> None:
    """Columns without an order, such as the marks of runs and the failing constraints of trees, leave the order as it is."""

    async def orders_by_title() -> dict[str, str | None]:
        table, orders = app.screen.query_one(Table), {}
        start = table.content_region.x - table.region.x + 1
        for column, size in table.layout_columns(table.scrollable_content_region.width - 1):
            await pilot.click(Table, offset=(start, 1))
            await until(pilot, lambda: is_idle(app))
            orders[column.name] = table._sorted[0] if table._sorted else None
            start += size + 1
        return orders

    async with browser(runs, size=(170, 30)) as (app, pilot):
        by_title = await orders_by_title()
        names = [column.name for column in RUN_COLUMNS]
        assert by_title == dict(zip(names, [None, *names[1:]], strict=True))
        await open_trees(app, pilot)
        by_title = await orders_by_title()
        names = [column.name for column in TREE_COLUMNS]
        assert by_title == dict(zip(names, [*names[:-1], "truth"], strict=True))


async def test_copies_hold_the_text_itself(runs: Path) -> None:
    """A node as JSON is the record; on the prompt's line the prompt is copied."""
    async with browser(runs) as (app, pilot):
        await open_trees(app, pilot)
        await open_tree(app, pilot)
        await pilot.press("c")
        assert json.loads(app.clipboard) == solved_tree(0).nodes[1].model_dump(mode="json")
        await pilot.press("home", "y")
        assert app.clipboard == prompt(0).messages[-1].content
        await pilot.press("j", "y")
        assert app.clipboard == DRAFT
        await pilot.press("G", "y")
        assert app.clipboard == "I will not [bold]."
