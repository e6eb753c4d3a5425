"""The last place: which run, tree and node a person looked at, kept in one small file.

A file that is missing, damaged or of another version counts as empty, and one that cannot be written is
left alone: a browser that forgets still works.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from spar.files import replace_text
from spar.types import Record, Text

VERSION = 1
KEPT = 100
"""Runs that are remembered, the last ones."""


class Place(Record):
    """Where a person was in one run."""

    prompt_id: Text | None = None
    """Of the tree under the cursor."""
    line: int | None = None
    """Line of the drawn tree under the cursor."""
    open_tree: bool = False
    """Whether the tree itself was on the screen, not the table."""


class Memory(Record):
    """All that is remembered."""

    version: int = VERSION
    """Of this file's form."""
    theme: Text | None = None
    """The colours that were chosen."""
    last: Text | None = None
    """Directory of the run that was on the screen; None where it was the list of runs."""
    places: dict[Text, Place] = Field(default_factory=dict)
    """Run directory to the place in it, the last used at the end."""

    def place(self, run: Path) -> Place:
        """Where a person was in a run; the beginning, where that is not known."""
        return self.places.get(key(run), Place())

    def at(self, run: Path, place: Place) -> Memory:
        """With a place in a run that is now the last one."""
        others = {name: old for name, old in self.places.items() if name != key(run)}
        kept = dict([*others.items(), (key(run), place)][-KEPT:])
        return self.model_copy(update={"last": key(run), "places": kept})


def key(run: Path) -> str:
    """What a run is called in the file."""
    return os.fsencode(run.absolute()).decode("utf-8", "backslashreplace")


def default_path(environment: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_STATE_HOME/spar/tui.json`; below `~/.local/state` where that is not set."""
    state = environment.get("XDG_STATE_HOME", "")
    root = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return root / "spar" / "tui.json"


def load(path: Path | None) -> Memory:
    """What was remembered."""
    if path is None:
        return Memory()
    try:
        memory = Memory.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):  # pydantic's ValidationError is a ValueError
        return Memory()
    return memory if memory.version == VERSION else Memory()


def save(path: Path | None, memory: Memory) -> None:
    """Remember, in place of what was remembered before."""
    if path is None:
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(memory.model_dump()))
