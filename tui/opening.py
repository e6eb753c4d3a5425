"""Open a file in the program that the desktop has for it; where there is no desktop, as over SSH, copy and show its path."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spar.view.text import safe
from tui.clipboard import copy_quietly

if TYPE_CHECKING:
    from textual.app import App

WAIT_SECONDS = 0.5
"""An opener that fails does so within this time."""
_SHOWN = 300


async def open_file(app: App[None], path: Path) -> None:
    """Open a file, or say where it is."""
    path = path.absolute()
    command = None if app.is_web else opener()
    why = "there is no display here"
    if command is not None:
        why = await _failure([*command, str(path)])
        if not why:
            app.notify(safe(f"opened {path}", limit=_SHOWN), markup=False)
            return
    copy_quietly(app, str(path))
    app.notify(safe(f"{why}; its path is copied: {path}", limit=_SHOWN), markup=False, timeout=10)


def opener(
    platform: str = sys.platform,
    environment: Mapping[str, str] = os.environ,
    which: Callable[[str], str | None] = shutil.which,
) -> list[str] | None:
    """The command that opens a file on this desktop; None without one."""
    if platform == "win32":
        return ["explorer"]
    is_remote = bool(environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"))
    if platform == "darwin":
        return None if is_remote else ["open"]
    has_display = bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
    names = ("wslview", "xdg-open", "gio") if has_display else ("wslview",)
    found = next((name for name in names if which(name)), None)
    if found is None:
        return None
    return [found, "open"] if found == "gio" else [found]


async def _failure(command: list[str]) -> str:
    """Start a program apart from the browser; returns why it failed, empty if it did not."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return f"cannot run {command[0]}: {error.strerror or error}"
    await asyncio.sleep(WAIT_SECONDS)
    if process.poll():
        return f"{command[0]} found no program for it"
    return ""
