"""Text out of the browser: to the clipboard (OSC 52), to a pager or editor, to a file.

The clipboard and the editor get the text itself; a pager, which may pass escape codes on, gets visible
forms. Lone surrogates, which no clipboard or file can hold, become `?`.
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
from spar.files import replace_bytes
from spar.view.text import safe

if TYPE_CHECKING:
    from textual.app import App

SURE_BYTES = 74_994
"""What every terminal takes in one OSC 52; more may be dropped."""
_NAME = 60


def copy(app: App[None], text: str, name: str) -> None:
    """Put a text on the clipboard of the terminal, through SSH too, and say so."""
    clean = text.encode("utf-8", "replace")
    app.copy_to_clipboard(clean.decode("utf-8"))
    doubt = "; some terminals do not take that much" if len(clean) > SURE_BYTES else ""
    app.notify(f"{name} copied: {len(text):,} characters{doubt}", markup=False)


def open_pager(app: App[None], text: str, name: str) -> None:
    """Show a text, in visible forms, in `$PAGER`."""
    _open(app, _command("PAGER", "less"), safe(text, tab="\t"), name)


def open_editor(app: App[None], text: str, name: str) -> None:
    """Open a copy of a text in `$VISUAL` or `$EDITOR`; what is written there changes no run."""
    _open(app, _command("VISUAL", "") or _command("EDITOR", "vi"), text, name)


def file_name(number: int, prompt_id: str, suffix: str) -> str:
    """A name for a file about a tree, of plain characters whatever the prompt's id holds."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", prompt_id)[:_NAME].strip("-.")
    return f"tree-{number + 1}{f'-{plain}' if plain else ''}{suffix}"


def write_file(path: Path, text: str) -> None:
    """Write a whole file or nothing; raises `UsageError` where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_bytes(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _command(variable: str, default: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    try:
        return shlex.split(environment.get(variable, "")) or shlex.split(default)
    except ValueError:  # a quote that is never closed
        return shlex.split(default)


def _open(app: App[None], command: list[str], text: str, name: str) -> None:
    """Run a program on a copy of the text, the terminal its own meanwhile; say what went wrong."""
    with tempfile.TemporaryDirectory(prefix="spar-") as folder:
        path = Path(folder) / f"{name}.txt"
        path.write_bytes(text.encode("utf-8", "replace"))
        try:
            with app.suspend():
                subprocess.run([*command, str(path)], check=False)
        except SuspendNotSupported:
            app.notify("this terminal cannot be lent to another program", severity="error")
        except OSError as error:
            why = f"cannot run {command[0]}: {error.strerror}"
            app.notify(safe(why), severity="error", markup=False)
