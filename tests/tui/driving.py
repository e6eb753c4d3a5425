"""Drive the browser in tests: start it, press keys, wait for a condition."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tui.app import SparApp
from tui.inputs import Inputs
from tui.screens.comparing import ComparingScreen
from tui.screens.runs import RunsScreen
from tui.screens.tree import TreeScreen
from tui.screens.trees import TreesScreen
from tui.widgets.table import Table
from tui.widgets.tree_pane import TreePane

SECONDS = 30.0
"""Timeout of `until`, long enough for a busy machine."""


@asynccontextmanager
async def browser(
    *paths: Path, size: tuple[int, int] = (80, 24), **inputs: Any
) -> AsyncIterator[tuple[SparApp, Pilot[None]]]:
    """Run the application on these paths, until its first screen is filled."""
    app = SparApp(Inputs(paths=paths, **inputs))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: is_idle(app))
        yield app, pilot


async def until(pilot: Pilot[None], seen: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait for a condition; the assertion error shows the screen."""
    deadline = time.monotonic() + seconds
    await pilot.pause()
    while not seen():
        assert time.monotonic() < deadline, f"not seen:\n{screen_text(pilot.app)}"
        await pilot.pause(0.01)
    await pilot.pause()


def is_idle(app: Any) -> bool:
    """Whether the screen is up to date."""
    screen = app.screen
    if isinstance(screen, RunsScreen):
        return screen._watcher.latest.complete and screen._scan is screen._watcher.latest
    if isinstance(screen, TreesScreen):
        return screen.view.progress.done and not screen.view.is_stale()
    if isinstance(screen, TreeScreen):
        return screen.is_complete
    if isinstance(screen, ComparingScreen):
        comparison = screen.comparison
        return comparison is None or (comparison.is_read and not comparison.is_stale())
    return bool(screen.is_attached)


def screen_text(app: Any) -> str:
    """The text of the screen, line by line."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def notified(app: SparApp, text: str) -> bool:
    """Whether a notification contains a text."""
    return any(text in notice.message for notice in app._notifications)


def cursor(app: SparApp) -> int:
    """The row under the cursor of the table on the screen."""
    return app.screen.query_one(Table).cursor


def line(app: SparApp) -> int:
    """The line under the cursor of the tree on the screen."""
    return app.screen.query_one(TreePane).cursor


async def open_trees(app: SparApp, pilot: Pilot[None]) -> TreesScreen:
    """Open the run under the cursor, once the list is there."""
    await until(pilot, lambda: is_idle(app))
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, TreesScreen) and is_idle(app))
    assert isinstance(app.screen, TreesScreen)
    return app.screen


async def open_tree(app: SparApp, pilot: Pilot[None]) -> TreeScreen:
    """Open the tree under the cursor."""
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, TreeScreen) and is_idle(app))
    assert isinstance(app.screen, TreeScreen)
    return app.screen
