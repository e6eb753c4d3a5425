"""What was exported is opened where there is a desktop; elsewhere its path is copied and shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.tui.driving import browser, notified, open_tree, until
from tests.tui.samples import trees, write_run
from tui import opening
from tui.opening import opener


@pytest.mark.parametrize(
    ("platform", "environment", "programs", "command"),
    [
        ("linux", {"DISPLAY": ":0"}, "xdg-open gio", ["xdg-open"]),
        ("linux", {"WAYLAND_DISPLAY": "w"}, "gio", ["gio", "open"]),
        ("linux", {"DISPLAY": ":0"}, "", None),
        ("linux", {"SSH_CONNECTION": "x"}, "xdg-open", None),
        ("linux", {"DISPLAY": ":10", "SSH_CONNECTION": "x"}, "xdg-open", ["xdg-open"]),
        ("linux", {}, "wslview", ["wslview"]),
        ("darwin", {}, "", ["open"]),
        ("darwin", {"SSH_TTY": "x"}, "", None),
        ("win32", {}, "", ["explorer"]),
    ],
)
def test_the_desktops_opener(
    platform: str, environment: Mapping[str, str], programs: str, command: list[str] | None
) -> None:
    """Only where there is a display; over SSH that is a forwarded one."""
    found = opener(platform, environment, lambda name: name if name in programs.split() else None)
    assert found == command


@pytest.mark.screen
async def test_open_what_was_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file goes to the opener; without one, or if it fails, the path is copied and shown."""
    run = write_run(tmp_path / "run", trees(1))
    exported = run / "exports" / "tree-1-prompt-0.md"
    program = tmp_path / "opener"
    program.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/opened\n')
    program.chmod(0o700)
    async with browser(run, size=(120, 40)) as (app, pilot):
        await open_tree(app, pilot)
        await pilot.press("x", "enter")
        await until(pilot, lambda: notified(app, "O opens it"))
        monkeypatch.setattr(opening, "opener", lambda: [str(program)])
        await pilot.press("O")
        await until(pilot, lambda: notified(app, "opened "))
        await until(pilot, (tmp_path / "opened").exists)
        for command, why in (
            (None, "no display"),
            (["false"], "found no program"),
            (["/no"], "cannot run"),
        ):
            monkeypatch.setattr(opening, "opener", lambda command=command: command)
            app.copy_to_clipboard("")
            await pilot.press("O")
            await until(pilot, lambda why=why: notified(app, why))  # type: ignore[misc]
            assert app.clipboard == str(exported)


@pytest.mark.screen
async def test_the_whole_run_as_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key writes it, with the stars; a run that is too large for one file is refused in one line."""
    run = write_run(tmp_path / "run", trees(3))
    async with browser(run) as (app, pilot):
        await pilot.press("asterisk", "x")
        await until(pilot, lambda: notified(app, "run.html; O opens it"))
        page = (run / "exports" / "run.html").read_text()
        assert '"marks":{"prompt-0":[true,""]}' in page
        monkeypatch.setattr("spar.export.page.run_page.PAGE", 2)
        await pilot.press("x")
        await until(pilot, lambda: notified(app, "3 trees, more than fit into one page"))
