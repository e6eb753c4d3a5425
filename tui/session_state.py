"""The state of the last session: the run, tree and node that were open, in one small file.

A file that is missing, damaged or of another version counts as empty. A file that cannot be written is left
alone: the browser works without it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from spar.files import replace_text, user_folder
from spar.types import Record, Text

VERSION = 1
MAX_RUNS = 100
"""Number of runs whose position is stored, the most recent ones."""


class Position(Record):
    """The cursor's position in one run."""

    prompt_id: Text | None = None
    """Prompt of the tree under the cursor."""
    line: int | None = None
    """Line of the drawn tree under the cursor."""
    open_tree: bool = False
    """Whether the tree was open, rather than the table of trees."""


class SessionState(Record):
    """What the browser restores when it is started again."""

    version: int = VERSION
    """Version of this file's schema."""
    theme: Text | None = None
    """The selected theme."""
    last: Text | None = None
    """Directory of the run that was open; None if the list of runs was."""
    places: dict[Text, Position] = Field(default_factory=dict)
    """Run directory to the position in it, the most recent last."""

    def position_in(self, run: Path) -> Position:
        """The position in a run; the start if none is stored."""
        return self.places.get(run_key(run), Position())

    def with_position(self, run: Path, position: Position) -> SessionState:
        """A copy with a new position, in a run that becomes the last one."""
        others = {name: old for name, old in self.places.items() if name != run_key(run)}
        places = dict([*others.items(), (run_key(run), position)][-MAX_RUNS:])
        return self.model_copy(update={"last": run_key(run), "places": places})


def run_key(run: Path) -> str:
    """The key of a run directory in the file."""
    return os.fsencode(run.absolute()).decode("utf-8", "backslashreplace")


def default_path(environment: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_STATE_HOME/spar/tui.json`; below `~/.local/state` without that variable."""
    return user_folder("XDG_STATE_HOME", ".local/state", environment) / "tui.json"


def load(path: Path | None) -> SessionState:
    """Read the state of the last session."""
    if path is None:
        return SessionState()
    try:
        state = SessionState.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):  # pydantic's ValidationError is a ValueError
        return SessionState()
    return state if state.version == VERSION else SessionState()


def save(path: Path | None, state: SessionState) -> None:
    """Replace the stored state."""
    if path is None:
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(state.model_dump()))
