"""Snapshots of every screen at two sizes; `pytest tests/tui/test_snapshots.py --snapshot-update` updates them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from spar.export.run import check_constraints
from spar.files import locked
from spar.types import Finding, SearchTree
from spar.view.node_detail import Annotations
from tests.tui.driving import is_idle, until
from tests.tui.samples import birthday_tree, node, prompt, trees, write_run
from tui.app import SparApp
from tui.inputs import Inputs

pytestmark = pytest.mark.screen

SIZES = [(80, 24), (120, 40)]
Compare = Callable[..., bool]


def constraints(tree: SearchTree, node: Any) -> list[Finding]:
    """A verifier of two constraints, one of which is never met by the first prompt's responses."""
    num_words = len(node.response.split())
    limit = 8 if tree.prompt.id == "prompt-0" else 20
    short = Finding(
        type="length:words",
        constraint=f"fewer than {limit} words",
        met=num_words < limit,
        found=str(num_words),
    )
    red = Finding(
        type="keywords:existence", constraint='the word "red"', met="red" in node.response
    )
    return [red, short]


def press(*keys: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    """Press keys, each when the screen is idle."""

    async def pressing(pilot: Pilot[None]) -> None:
        for key in ("", *keys):
            await pilot.press(*([key] if key else []))
            await until(pilot, lambda: is_idle(pilot.app))
        await until(pilot, lambda: not pilot.app.workers._workers)

    return pressing


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SparApp:
    """The browser over a few runs, one of them broken, below a relative path."""
    monkeypatch.chdir(tmp_path)
    wide = node(0, None, "A ✓ 日本語 [b]answer[/b].", 5)
    odd = SearchTree(
        prompt=prompt(8).model_copy(update={"id": "日本語"}),
        strategy="bfs",
        config="c",
        nodes=(wide,),
        selected=0,
        stop="solved",
    )
    run = write_run(Path("runs/bfs-15"), [*trees(8), odd])
    with (run / "trees.jsonl").open("a") as handle:
        handle.write("{cut\n")
    write_run(Path("runs/greedy"), trees(3), strategy="greedy", budget=1)
    write_run(Path("runs/loop"), [], begins="rft")
    write_run(Path("runs/loop/iteration-1/search"), trees(2))
    (write_run(Path("runs/other"), []) / "run.json").write_text('{"schema_version": 99}')
    annotations = Annotations(check=constraints, render=lambda tree, node: tree.prompt.messages)

    def truth(tree: SearchTree) -> bool:
        return all(each.met for each in constraints(tree, tree.nodes[tree.selected or 0]))

    return SparApp(
        Inputs(paths=(Path("runs"),), annotations_for=lambda directory: annotations, truth=truth)
    )


SCREENS = {
    "runs": ["space"],
    "trees": ["enter", "n"],
    "unsolved": ["enter", "3", "s"],
    "constraints": ["enter", "c"],
    "unfolded": ["G", "k", "right"],
    "tree": ["enter", "enter"],
    "full": ["enter", "enter", "d", "p", "4", "z"],
    "fault": ["enter", "enter", "G"],
    "bad-line": ["enter", "G", "enter"],
    "export": ["enter", "enter", "x"],
    "help": ["enter", "question_mark"],
    "light": ["T", "enter", "enter"],
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", SCREENS)
def test_screen(snap_compare: Compare, app: SparApp, screen: str, size: tuple[int, int]) -> None:
    """The screen matches its snapshot."""
    assert snap_compare(app, run_before=press(*SCREENS[screen]), terminal_size=size)


@pytest.mark.parametrize("colour", ["dark", "light", "NO_COLOR"])
@pytest.mark.parametrize("screen", ["runs", "trees"])
def test_wide_screen(
    snap_compare: Compare, app: SparApp, monkeypatch: pytest.MonkeyPatch, screen: str, colour: str
) -> None:
    """The list of runs and the dashboard of one on a large screen, light and without colours too."""
    if colour == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
        app = SparApp(app.inputs)
    keys = [*(["T"] if colour == "light" else []), *SCREENS[screen]]
    assert snap_compare(app, run_before=press(*keys), terminal_size=(200, 50))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_first_run(
    snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """The first screen without runs."""
    monkeypatch.chdir(tmp_path)

    async def demo(directory: Path) -> None:
        raise AssertionError("nobody asked for it")

    app = SparApp(Inputs(demo=demo))
    assert snap_compare(app, run_before=press(), terminal_size=size)


def test_running(snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in progress."""
    monkeypatch.chdir(tmp_path)
    run = write_run(Path("runs/now"), trees(3), ended=False)
    with locked(run / "run.lock"):
        assert snap_compare(SparApp(Inputs()), run_before=press())


@pytest.mark.parametrize("look", ["dark", "light", "NO_COLOR"])
@pytest.mark.parametrize("size", [*SIZES, (200, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_story(
    snap_compare: Compare,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    look: str,
) -> None:
    """A tree in real English: a draft that fails, and what became of it."""
    monkeypatch.chdir(tmp_path)
    if look == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    write_run(Path("runs/bfs-7"), [birthday_tree()])
    truth = Annotations(check=check_constraints)
    app = SparApp(Inputs(annotations_for=lambda directory: truth))
    keys = ["enter", "enter", *["T"] * (look == "light")]
    assert snap_compare(app, run_before=press(*keys), terminal_size=size)
