"""The browser as a whole: live runs, damaged files, hostile text, the last place, the first run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from rich.color import Color
from textual.widgets import Button, Input

from spar.errors import RunStopped
from spar.files import locked
from tests.hostile import EVERYTHING, SNIPPETS, hostile_tree
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
from tests.tui.samples import append, failed_tree, node, solved_tree, trees, write_run
from tests.view.test_text import unseen
from tui.app import SparApp
from tui.index.rows import Sort
from tui.screens.runs import RunsScreen
from tui.screens.training import TrainingScreen
from tui.screens.tree import TreeScreen
from tui.screens.trees import TreesScreen
from tui.session_state import Position, SessionState, load, save
from tui.widgets.parts_pane import PartsPane
from tui.widgets.tree_pane import TreePane

pytestmark = pytest.mark.screen

LONG = "x" * 100_000


def sound(app: SparApp) -> bool:
    """Whether every line fits the screen exactly and has no control character."""
    strips = app.screen._compositor.render_strips()
    width = app.size.width
    text = "".join(segment.text for strip in strips for segment in strip)
    return not unseen(text) and all(strip.cell_length == width for strip in strips)


@pytest.mark.parametrize(("size", "snippets"), [((80, 24), SNIPPETS), ((120, 40), ())])
async def test_hostile_text_on_every_screen(
    tmp_path: Path, size: tuple[int, int], snippets: tuple[str, ...]
) -> None:
    """Markup, escapes, odd characters and endless lines are shown as text and do not change the layout."""
    hostile = [hostile_tree(), *map(hostile_tree, snippets), hostile_tree(LONG)]
    run = write_run(tmp_path / "[bold]r", hostile, strategy=EVERYTHING)
    async with browser(tmp_path, size=size) as (app, pilot):
        assert sound(app) and "[bold]r" in screen_text(app)
        await open_trees(app, pilot)
        assert sound(app) and "[bold red]x[/]" in screen_text(app)
        await open_tree(app, pilot)
        assert sound(app) and "[bold red]x[/]" in screen_text(app)
        for number in range(1, len(hostile)):
            await pilot.press("right_square_bracket")
            await until(pilot, lambda: is_idle(app))
            assert app.screen.number == number and sound(app)  # type: ignore[attr-defined]
        await pilot.press("home", "d", "p", "G", "k", "y", "x")
        assert sound(app)
        await pilot.press("enter", "?")
        await until(pilot, lambda: any((run / "exports").glob(f"tree-{len(hostile)}-*.md")))
        assert sound(app)


async def test_hostile_search(tmp_path: Path) -> None:
    """The search text is shown as text, in the table and in the tree."""
    run = write_run(tmp_path / "a", [hostile_tree("[/x]")])
    async with browser(run) as (app, pilot):
        await pilot.press("slash", *"[/x]", "enter")
        await until(pilot, lambda: "1 of 1 trees, text [/x]" in screen_text(app))
        await open_tree(app, pilot)
        assert "with [/x]" in screen_text(app)


async def test_a_tree_that_ends_appears(tmp_path: Path) -> None:
    """Sorted so that new trees come first, the cursor stays on its tree and where it is on the screen."""
    run = write_run(tmp_path / "a", trees(40), ended=False)
    async with browser(run) as (app, pilot):
        screen = app.screen
        assert isinstance(screen, TreesScreen)
        screen._sort(Sort("number", descending=True))
        await pilot.press("home", "j", "j", "j")
        assert screen._number == 36
        for number in range(40, 45):
            append(run, solved_tree(number))
        await until(pilot, lambda: "45 of 45 trees" in screen_text(app), seconds=2.0)
        assert screen._number == 36 and cursor(app) == 8
        rows = screen_text(app).splitlines()
        assert rows[9].startswith("│▸    37 ")


async def test_a_running_run_is_followed(tmp_path: Path) -> None:
    """It is marked while its writer holds the lock, and its trees are counted live."""
    run = write_run(tmp_path / "a", trees(3), ended=False)
    with locked(run / "run.lock"):
        async with browser(tmp_path) as (app, pilot):
            assert "● running" in screen_text(app) and "66.7 %" in screen_text(app)
            append(run, solved_tree(3))
            await until(pilot, lambda: "75.0 %" in screen_text(app))
            assert "1 running" in screen_text(app)


async def test_a_round_of_a_total_budget_is_followed(tmp_path: Path) -> None:
    """A prompt's new tree takes the place of the one before, under the cursor too."""
    run = write_run(tmp_path / "run", [failed_tree(n) for n in range(4)], ended=False)
    async with browser(run) as (app, pilot):
        screen = app.screen
        assert isinstance(screen, TreesScreen)
        await pilot.press("j")
        append(run, solved_tree(1))
        await until(pilot, lambda: list(screen.view.numbers) == [0, 2, 3, 4])
        await until(pilot, lambda: "4 of 4 trees" in screen_text(app))
        assert screen.view.numbers[cursor(app)] == 4
        await until(pilot, lambda: "[1 all 4] 2 solved 1" in screen_text(app))
        assert screen.view.totals().trees == 4


async def test_the_cursor_comes_back_after_a_search(tmp_path: Path) -> None:
    """To its row and its place on the screen, by Esc and where the text is removed; not where the reader moved it."""
    async with browser(write_run(tmp_path / "run", trees(60))) as (app, pilot):
        screen = app.screen
        assert isinstance(screen, TreesScreen)

        def number() -> int | None:
            return screen._number

        await pilot.press("pagedown", "pagedown", "k", "k")
        before, above = number(), screen._above
        for search in (("q", "u", "i", "x"), ("c", "a", "t", "space", "8")):
            await pilot.press("slash", *search)
            await until(pilot, lambda: is_idle(app) and len(screen.view.numbers) < 60)
            assert number() != before
            await pilot.press("escape")
            await until(pilot, lambda: is_idle(app) and len(screen.view.numbers) == 60)
            assert (number(), screen._above) == (before, above)
        await pilot.press("slash", *"qx", "backspace", "backspace", *"zz", "enter")
        await until(pilot, lambda: is_idle(app) and number() is None)
        await pilot.press("escape")
        await until(pilot, lambda: is_idle(app) and len(screen.view.numbers) == 60)
        assert (number(), screen._above) == (before, above)
        await pilot.press("slash", "a", "space", *"cat", "enter")
        await until(pilot, lambda: is_idle(app) and len(screen.view.numbers) == 20)
        await pilot.press("home", "j", "escape")
        await until(pilot, lambda: is_idle(app) and len(screen.view.numbers) == 60)
        assert number() == 5


async def test_the_cursor_comes_back_to_its_run(tmp_path: Path) -> None:
    """After a search in the list of runs, too."""
    for name in "abcd":
        write_run(tmp_path / name, trees(1))
    async with browser(tmp_path) as (app, pilot):
        await until(pilot, lambda: is_idle(app))
        await pilot.press("j", "j")
        before = cursor(app)
        await pilot.press("slash", "z", "z")
        await until(pilot, lambda: "0 shown" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "shown with" not in screen_text(app))
        assert cursor(app) == before == 2


async def test_a_pattern_that_is_too_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up and said so, in the list and in a tree, where it would take hours."""
    monkeypatch.setattr("tui.index.query.SECONDS", 0.3)
    monkeypatch.setattr("tui.tree_search.SECONDS", 0.3)
    draft = node(0, None, "a" * 60 + "b", 5)
    slow = solved_tree().model_copy(update={"nodes": (draft,), "selected": 0, "faults": ()})
    async with browser(write_run(tmp_path / "run", [slow])) as (app, pilot):
        await pilot.press("slash", "ctrl+r")
        app.screen.query_one(Input).value = "(a|aa)+$"
        await until(pilot, lambda: "too slow; use a simpler one" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "1 of 1 trees" in screen_text(app))
        await open_tree(app, pilot)
        await pilot.press("slash", "ctrl+r")
        app.screen.query_one("SearchBar Input", Input).value = "(a|aa)+$"
        await until(pilot, lambda: "too slow; use a simpler one" in screen_text(app))
        app.screen.query_one("SearchBar Input", Input).value = "a+b$"
        await until(pilot, lambda: "/a+b$  1 of 1" in screen_text(app))


async def test_the_keys_stay_with_the_node_that_has_the_screen(tmp_path: Path) -> None:
    """In the zoom the tree is hidden: neither tab nor the end of a search or a note focuses it; h ends the zoom."""
    async with browser(write_run(tmp_path / "run", trees(2))) as (app, pilot):
        screen = await open_tree(app, pilot)
        await pilot.press("z")
        for keys in (["tab"], ["slash", *"dog", "enter"], ["slash", "escape"], ["w", "x", "enter"]):
            await pilot.press(*keys)
            await until(pilot, lambda: not isinstance(screen.focused, Input))
            assert isinstance(screen.focused, PartsPane), keys
        await pilot.press("h")
        assert isinstance(screen.focused, TreePane) and screen.focused.region.area
        await pilot.press("tab", "tab")
        assert isinstance(screen.focused, TreePane)


async def test_a_run_that_begins_appears(tmp_path: Path) -> None:
    """A run that is started while the list is on the screen; the cursor stays on its run."""
    write_run(tmp_path / "b", trees(3))
    async with browser(tmp_path) as (app, pilot):
        write_run(tmp_path / "a", trees(3))
        await until(pilot, lambda: "2 runs" in screen_text(app))
        assert cursor(app) == 1


async def test_a_line_that_holds_no_tree(tmp_path: Path) -> None:
    """Corrupt, cut or of a newer schema: one marked row that says why; opened, it shows the line."""
    run = write_run(tmp_path / "a", trees(1))
    newer = json.loads(solved_tree(1).to_json()) | {"schema_version": 99}
    with (run / "trees.jsonl").open("a") as handle:
        handle.write(f"[red]{{nonsense\n{json.dumps(newer)}\n")
        handle.write(solved_tree(2).to_json()[:100])
    async with browser(run, size=(120, 24)) as (app, pilot):
        text = screen_text(app)
        assert text.count("no tree") == 4 and "9 no tree 3" in text
        assert "schema version 99" in text and "truncated or corrupt" in text
        await pilot.press("j")
        await open_tree(app, pilot)
        assert "This line is not a tree" in screen_text(app)
        assert "[red]{nonsense" in screen_text(app)
        await pilot.press("y", "x", "d", "h", "a", "o")
        assert notified(app, "there is no tree to export") and notified(app, "there is no diff")
        assert app.clipboard == "[red]{nonsense"
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "prompt-0" in screen_text(app))


async def test_a_run_of_a_newer_schema(tmp_path: Path) -> None:
    """Its row shows the error, and so does opening it."""
    run = write_run(tmp_path / "a", trees(1))
    manifest = json.loads((run / "run.json").read_text()) | {"schema_version": 99}
    (run / "run.json").write_text(json.dumps(manifest))
    async with browser(tmp_path, size=(160, 24)) as (app, pilot):
        assert "broken" in screen_text(app)
        assert "has schema version 99; this version of spar reads up to" in screen_text(app)
        await open_trees(app, pilot)
        assert "1 of 1 trees" in screen_text(app)


async def test_a_file_that_vanishes(tmp_path: Path) -> None:
    """An error is shown, the rows can still be viewed, and R opens the replacement."""
    run = write_run(tmp_path / "a", trees(3))
    async with browser(run) as (app, pilot):
        (run / "trees.jsonl").unlink()
        await until(pilot, lambda: "was deleted" in screen_text(app))
        await open_tree(app, pilot)
        assert "prompt-0" in screen_text(app)
        await pilot.press("escape", "R")
        (run / "trees.jsonl").write_text(failed_tree(7).to_json() + "\n")
        await pilot.press("R")
        await until(pilot, lambda: "1 of 1 trees" in screen_text(app))


async def test_a_run_that_is_gone(tmp_path: Path) -> None:
    """Opening it shows a warning and leaves the list on the screen."""
    run = write_run(tmp_path / "a", trees(3))
    async with browser(tmp_path) as (app, pilot):
        app.open_run(run / "nowhere")
        await until(pilot, lambda: notified(app, "does not exist"))
        assert isinstance(app.screen, RunsScreen)


async def test_what_has_no_trees_is_neither_marked_nor_opened(tmp_path: Path) -> None:
    """A training loop and an evaluation of answers from a file say why, in the list and when they are opened by name."""
    write_run(tmp_path / "loop", [], begins="rft")
    write_run(tmp_path / "loop" / "iteration-1" / "search", trees(2))
    stored = write_run(tmp_path / "stored", [], ended=False, responses="answers.jsonl")
    results = {"benchmark": "nano-if", "n": 2, "metrics": {}, "run": {"model": ""}}
    (stored / "results.json").write_text(json.dumps(results))
    async with browser(tmp_path) as (app, pilot):
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        await pilot.press("s", "home", "space")
        await until(pilot, lambda: notified(app, "training loop, which has no trees; its stages"))
        await pilot.press("right", "j", "space")
        assert screen.marked == [tmp_path / "loop" / "iteration-1" / "search"]
        for key in ("space", "enter"):
            app.clear_notifications()
            await pilot.press("G", key)
            why = f"{stored} has no trees (answers from a file); use spar eval compare"
            await until(pilot, lambda why=why: notified(app, why))  # type: ignore[misc]
        assert len(screen.marked) == 1 and app.screen is screen
    async with browser(stored) as (app, pilot):
        await until(pilot, lambda: notified(app, "answers from a file"))
        assert isinstance(app.screen, RunsScreen)


async def test_resuming_the_last_session(tmp_path: Path) -> None:
    """Started without a run, the browser opens the last run, tree and node."""
    write_run(tmp_path / "runs" / "a", trees(8))
    session = tmp_path / "state" / "tui.json"
    async with browser(tmp_path / "runs", state_file=session) as (app, pilot):
        await open_trees(app, pilot)
        await pilot.press("j", "j", "j")
        await open_tree(app, pilot)
        await pilot.press("G", "T")
        await until(pilot, lambda: line(app) == 4)
    async with browser(tmp_path / "runs", state_file=session, resume=True) as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, TreeScreen) and is_idle(app))
        assert "prompt-3" in screen_text(app) and line(app) == 4
        assert app.theme == "textual-light"
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await open_trees(app, pilot)
        assert cursor(app) == 3
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
    async with browser(tmp_path / "runs", state_file=session, resume=True) as (app, pilot):
        assert isinstance(app.screen, RunsScreen)


async def test_resuming_a_training_loop(tmp_path: Path) -> None:
    """Started without a run, the browser opens the loop that was open, from the list or by name; not one that was left."""
    loop = write_run(tmp_path / "runs" / "loop", [], begins="rft")
    write_run(tmp_path / "runs" / "a", trees(2))
    session = tmp_path / "tui.json"
    for named, keys in (((tmp_path / "runs"), ["s", "G", "t"]), (loop, [])):
        save(session, SessionState())
        async with browser(named, state_file=session) as (app, pilot):
            await pilot.press(*keys)
            await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        async with browser(tmp_path / "runs", state_file=session, resume=True) as (app, pilot):
            await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
            assert app.screen.view.path == loop  # type: ignore[attr-defined]
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))
            await until(pilot, lambda: app.screen._run is not None)  # type: ignore[attr-defined]
            assert app.screen._run.directory == loop  # type: ignore[attr-defined]
    async with browser(tmp_path / "runs", state_file=session, resume=True) as (app, pilot):
        assert isinstance(app.screen, RunsScreen)


async def test_the_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without runs, the screen shows instructions; the demo button creates one, which then appears."""
    monkeypatch.chdir(tmp_path)

    async def demo(directory: Path) -> None:
        write_run(directory, trees(4))

    async with browser(Path("runs"), demo=demo) as (app, pilot):
        assert "spar decode --strategy bfs --budget 15" in screen_text(app)
        assert app.screen.query_one(Button).has_focus
        await pilot.press("enter")
        await until(pilot, lambda: "1 run" in screen_text(app))
        await open_trees(app, pilot)


async def test_a_demo_that_is_running(tmp_path: Path) -> None:
    """The label of the button has room for what it says."""
    ended = asyncio.Event()

    async def demo(directory: Path) -> None:
        await ended.wait()

    async with browser(tmp_path, demo=demo) as (app, pilot):
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query_one(Button).disabled)
        await until(pilot, lambda: str(app.screen.query_one(Button).label) in screen_text(app))
        ended.set()
        await until(pilot, lambda: "Run the demo" in screen_text(app))


async def test_a_demo_that_fails(tmp_path: Path) -> None:
    """The reason is shown, and the demo can be started again."""

    async def demo(directory: Path) -> None:
        raise RunStopped("the disk is full [/x]")

    async with browser(tmp_path, demo=demo) as (app, pilot):
        await pilot.press("enter")
        await until(pilot, lambda: notified(app, "the disk is full [/x]"))
        assert not app.screen.query_one(Button).disabled


@pytest.mark.parametrize("colour", [True, False])
async def test_no_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour: bool) -> None:
    """With NO_COLOR the diff has brackets, and nothing on the screen has a colour but a grey."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    run = write_run(tmp_path / "a", trees(1))
    async with browser(run) as (app, pilot):
        await open_tree(app, pilot)
        shown = "Two [-cats-]{+dogs+} sat on a {+red +}mat." in screen_text(app)
        assert shown is not colour
        strips = app.screen._compositor.render_strips()
        styles = [segment.style for strip in strips for segment in strip if segment.style]
        colours = [one for style in styles for one in (style.color, style.bgcolor) if one]
        assert colours and all(_is_grey(one) for one in colours) is not colour


def _is_grey(colour: Color) -> bool:
    return colour.triplet is not None and len(set(colour.triplet)) == 1


async def test_a_stored_position_that_does_not_exist(tmp_path: Path) -> None:
    """A stored tree that the run no longer has is ignored."""
    run = write_run(tmp_path / "a", trees(3))
    session = tmp_path / "tui.json"
    save(
        session,
        SessionState().with_position(run, Position(prompt_id="gone", line=99, open_tree=True)),
    )
    async with browser(tmp_path, state_file=session, resume=True) as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, TreesScreen) and is_idle(app))
        assert cursor(app) == 0


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"version": 2}', b"\xff", b"[" * 9999])
def test_a_damaged_state_file_counts_as_empty(tmp_path: Path, damage: bytes) -> None:
    """Whatever the file holds, the browser starts."""
    path = tmp_path / "tui.json"
    path.write_bytes(damage)
    assert load(path) == SessionState()


def test_the_state_has_the_most_recent_runs(tmp_path: Path) -> None:
    """The least recent run is dropped; any prompt id survives the round trip."""
    session = SessionState()
    for number in range(101):
        session = session.with_position(tmp_path / str(number), Position(prompt_id="\ud800\n"))
    save(tmp_path / "new" / "tui.json", session)
    stored = load(tmp_path / "new" / "tui.json")
    assert stored == session and len(stored.places) == 100
    assert stored.position_in(tmp_path / "0") == Position()
    assert stored.position_in(tmp_path / "100").prompt_id == "\ud800\n"


def test_a_state_file_that_cannot_be_written(tmp_path: Path) -> None:
    """The position is lost without an error."""
    (tmp_path / "file").touch()
    save(tmp_path / "file" / "tui.json", SessionState())
    assert load(tmp_path / "file" / "tui.json") == SessionState()


def test_the_default_state_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG's rules apply: a relative variable is ignored."""
    from tui.session_state import default_path

    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path({"XDG_STATE_HOME": "/s"}) == Path("/s/spar/tui.json")
    for environment in ({}, {"XDG_STATE_HOME": "relative"}):
        assert default_path(environment) == tmp_path / ".local/state/spar/tui.json"
