"""Stars and notes in the browser: written with keys, shown, found, and shared with another browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from spar.record.marks import MARKS, Mark, MarkBook
from tests.record.read_only import refuse
from tests.tui.driving import browser, notified, open_tree, open_trees, screen_text, until
from tests.tui.samples import trees, write_run
from tui.index.query import MarkTerms, split_marks
from tui.index.rows import Filter
from tui.inputs import Inputs
from tui.run_view import RunView
from tui.screens.trees import TreesScreen
from tui.web.live_run import LiveRun
from tui.widgets.bars import SearchBar
from tui.widgets.line_list import LineList
from tui.widgets.note_bar import NoteBar
from tui.widgets.table import Table


@pytest.mark.parametrize(
    ("text", "terms", "rest"),
    [
        ("a  comma", MarkTerms(), "a  comma"),
        ("is:starred", MarkTerms(starred=True), ""),
        ("is:starredly xnote:a", MarkTerms(), "is:starredly xnote:a"),
        ("a note:Odd  b", MarkTerms(notes=("odd",)), "a b"),
        ('note:"two words" note: c', MarkTerms(notes=("two words", "")), "c"),
    ],
)
def test_terms_of_a_search(text: str, terms: MarkTerms, rest: str) -> None:
    """A term stands between spaces; the rest is searched for, as it was typed where there is no term."""
    assert split_marks(text) == (terms, rest)


@pytest.mark.parametrize(
    ("shown", "rows"),
    [
        (Filter(text="is:starred"), [0, 3]),
        (Filter("starred"), [0, 3]),
        (Filter(text="note:"), [1, 3]),
        (Filter(text="note:ODD"), [1]),
        (Filter(text="is:starred note:"), [3]),
        (Filter("unsolved", "note:"), []),
        (Filter("starred", "sentence 3"), [3]),
        (Filter(text="is:starred", regex=True), []),
    ],
)
def test_marks_in_a_filter(tmp_path: Path, shown: Filter, rows: list[int]) -> None:
    """They go with the category and the text; a regular expression asks nothing of them."""
    run = write_run(tmp_path / "run", trees(6))
    book = MarkBook(run)
    book.change("prompt-0", star=True)
    book.change("prompt-1", note="an odd one")
    book.change("prompt-3", star=True, note="look")
    view = RunView.open(run, Inputs())
    view.show(shown)
    view.work()
    view.update()
    assert list(view.numbers) == rows
    view.close()


@pytest.mark.screen
async def test_star_note_and_find(tmp_path: Path) -> None:
    """In the list and in the tree; the note is shown in both, and where a search for it found it."""
    run = write_run(tmp_path / "run", trees(4))
    async with browser(run) as (app, pilot):
        await pilot.press("j", "asterisk", "w", *"odd", "enter")
        await until(pilot, lambda: "✱ ✎ Write sentence 1" in screen_text(app))
        await until(pilot, lambda: "✎ odd" in screen_text(app).splitlines()[-3])
        await open_tree(app, pilot)
        assert "✱ prompt-1, bfs" in screen_text(app) and "note    odd" in screen_text(app)
        await pilot.press("asterisk", "w", *"er", "enter", "escape", "slash", *"note:odd", "enter")
        await until(pilot, lambda: "▸     2 ✎ odder " in screen_text(app))
        assert "searched)" not in screen_text(app)
        await pilot.press("w", *"x", "escape")
    found = MarkBook(run).of("prompt-1")
    assert (found.star, found.note) == (False, "odder")


@pytest.mark.screen
async def test_a_note_that_is_left_without_enter(tmp_path: Path) -> None:
    """Tab stays in the line; a click elsewhere stores the note; the terminal may go to the background meanwhile."""
    run = write_run(tmp_path / "run", trees(4))
    async with browser(run) as (app, pilot):
        await pilot.press("w", *"odd", "tab", "shift+tab", *"er")
        app.post_message(events.AppBlur())
        await until(pilot, lambda: app.focused is None)
        app.post_message(events.AppFocus())
        await until(pilot, lambda: isinstance(app.focused, Input))
        bar = app.screen.query_one(NoteBar)
        assert bar.is_open
        await pilot.click(Table)
        await until(pilot, lambda: MarkBook(run).of("prompt-0").note == "odder")
        assert not bar.is_open and app.screen.query_one(Table).has_focus
        await open_tree(app, pilot)
        await pilot.press("w", "tab", *"!", "enter")
        await until(pilot, lambda: "note    odder!" in screen_text(app))


@pytest.mark.screen
async def test_a_search_that_is_left_without_enter(tmp_path: Path) -> None:
    """Tab stays in the line; a click elsewhere closes it, and what was found stays."""
    runs = tmp_path / "runs"
    write_run(runs / "run", trees(4))
    async with browser(runs) as (app, pilot):
        await pilot.press("slash", *"ru", "tab", "n")
        await until(pilot, lambda: "1 shown with run" in screen_text(app))
        await pilot.press("enter")
        await open_trees(app, pilot)
        for _ in ("the trees", "a tree"):
            bar = app.screen.query_one(SearchBar)
            await pilot.press("slash", *"sentence", "tab", "space", "2")
            assert bar.is_open and bar.query_one(Input).value == "sentence 2"
            await pilot.click(app.screen.query(LineList).first(), offset=(5, 3))
            await until(pilot, lambda bar=bar: not bar.is_open)  # type: ignore[misc]
            assert "sentence 2" in screen_text(app)
            await pilot.press("home")
            await open_tree(app, pilot)


@pytest.mark.screen
async def test_another_browser(tmp_path: Path) -> None:
    """What it writes appears here, with the chip for starred trees, and in a page that is served."""
    run = write_run(tmp_path / "run", trees(4))
    served = LiveRun(run, Inputs().annotations_for)
    async with browser(run) as (app, pilot):
        MarkBook(run).change("prompt-2", star=True, note="mine\u202e")
        await until(pilot, lambda: "0 ✱ starred 1" in screen_text(app))
        assert "✱ ✎ Write sentence 2" in screen_text(app)
    assert served.rows(0)["marks"] == {"prompt-2": [True, "mine⟨U+202E⟩"]}
    served.close()


@pytest.mark.screen
async def test_marks_that_are_not_beside_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only directory is named once, with the file that has its marks; a damaged file in one line."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = write_run(tmp_path / "run", trees(4))
    refuse(monkeypatch, run)
    async with browser(tmp_path) as (app, pilot):
        screen = await open_trees(app, pilot)
        assert isinstance(screen, TreesScreen)
        await pilot.press("asterisk")
        await until(pilot, lambda: notified(app, "run directory is read-only"))
        app.clear_notifications()
        await pilot.press("j", "asterisk")
        await until(pilot, lambda: screen.view.num_starred() == 2)
        assert not app._notifications
        (run / MARKS).write_text("{")
        await pilot.press("asterisk")
        await until(pilot, lambda: notified(app, "is damaged"))
    assert Mark() == MarkBook(run).of("prompt-0")


@pytest.mark.screen
async def test_fast_typing(tmp_path: Path) -> None:
    """What arrives together with the key reaches the line that it opens, and is no key of the screen there."""
    async with browser(write_run(tmp_path / "run", trees(3))) as (app, pilot):
        for opener, kind in (("slash", SearchBar), ("w", NoteBar)):
            for key in (opener, "h", "slash", "w", "q"):  # `h` leaves the list, `q` quits
                app.post_message(events.Key(key, "/" if key == "slash" else key))
            field = app.screen.query_one(kind).query_one(Input)
            await until(pilot, lambda field=field: field.value == "h/wq")  # type: ignore[misc]
            await pilot.press("escape")
            await until(pilot, lambda field=field: not field.has_focus)  # type: ignore[misc]
