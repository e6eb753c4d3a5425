"""Copy text to the clipboard (OSC 52), a pager, an editor or a file.

The clipboard and the editor get the original text; a pager, which may pass on escape codes, gets visible
forms. Lone surrogates, which have no UTF-8 form, become `?`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from spar.errors import UsageError
from spar.files import writing
from spar.view.text import safe

if TYPE_CHECKING:
    from textual.app import App

MAX_SAFE_BYTES = 74_994
"""The size of an OSC 52 sequence that every terminal accepts; a longer one may be dropped."""
_NAME = 60


def copy(app: App[None], text: str, name: str) -> None:
    """Copy a text to the terminal's clipboard, also over SSH, and show a notification."""
    num_bytes = copy_quietly(app, text)
    hint = "; some terminals do not accept that much" if num_bytes > MAX_SAFE_BYTES else ""
    app.notify(f"{name} copied: {len(text):,} characters{hint}", markup=False)


def copy_quietly(app: App[None], text: str) -> int:
    """Copy a text and say nothing; returns its bytes."""
    clean = text.encode("utf-8", "replace")
    app.copy_to_clipboard(clean.decode("utf-8"))
    return len(clean)


def open_pager(app: App[None], text: str, name: str) -> None:
    """Show a text, in visible forms, in `$PAGER`."""
    _open(app, _command("PAGER", "less"), safe(text, tab="\t"), name)


def edit_file(app: App[None], path: Path) -> None:
    """Edit a file in `$VISUAL` or `$EDITOR`."""
    _run(app, [*_editor(), str(path)])


def open_editor(app: App[None], text: str, name: str) -> None:
    """Open a copy of a text in `$VISUAL` or `$EDITOR`; edits do not change the run."""
    _open(app, _editor(), text, name)


def file_name(number: int, prompt_id: str, suffix: str) -> str:
    """A file name for a tree, with plain characters only."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", prompt_id)[:_NAME].strip("-.")
    return f"tree-{number + 1}{f'-{plain}' if plain else ''}{suffix}"


def write_file(path: Path, text: str) -> None:
    """Write a file as a whole; raises `UsageError` if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as stream:
            stream.write(text.encode("utf-8", "replace"))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _editor() -> list[str]:
    return _command("VISUAL", "") or _command("EDITOR", "vi")


def _command(variable: str, default: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    try:
        return shlex.split(environment.get(variable, "")) or shlex.split(default)
    except ValueError:  # an unclosed quote
        return shlex.split(default)


def _open(app: App[None], command: list[str], text: str, name: str) -> None:
    """Suspend the browser and run a program on a copy of the text; shows a notification on errors."""
    with tempfile.TemporaryDirectory(prefix="spar-") as folder:
        path = Path(folder) / f"{name}.txt"
        path.write_bytes(text.encode("utf-8", "replace"))
        _run(app, [*command, str(path)])


def _run(app: App[None], command: list[str]) -> None:
    """Suspend the browser and run a program; shows a notification on errors."""
    try:
        with app.suspend():
            subprocess.run(command, check=False)
    except SuspendNotSupported:
        app.notify("this terminal does not support running another program", severity="error")
    except OSError as error:
        why = f"cannot run {command[0]}: {error.strerror}"
        app.notify(safe(why), severity="error", markup=False)
