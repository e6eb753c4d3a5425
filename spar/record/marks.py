"""Stars and notes that a reader puts on the trees of a run, in a small file beside it.

    marks = MarkBook("runs/mine")
    marks.change("prompt-7", note="the judge overlooks the comma")
    marks.of("prompt-7")                # Mark(star=False, note="the judge ...")
    marks.refresh()                     # True if another browser has changed them

    {"schema_version": 1, "run": "b2c4...", "trees": {"prompt-7": {"star": true, "note": "...", "changed": "2026-..."}}}

`marks.json` belongs to the run whose identity it names: after `--overwrite`, the marks of the run before are not shown, and
the next mark replaces them. Where the run directory cannot be written, marks are stored in the user's state folder, under
the run's identity; they move to the run directory with the first mark that can be written there. A change replaces the file
as a whole under a lock, and only the mark that it is about, so that two browsers do not lose each other's.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from spar.errors import UsageError
from spar.files import file_stamp, replace_json, taking_turns, user_folder
from spar.manifest import utc_now
from spar.store import MANIFEST, TREES, read_manifest
from spar.types import Record, Text

MARKS = "marks.json"
VERSION = 1
NOTE_CHARACTERS = 500
"""Maximum characters of a note."""
_LOCK = ".marks.lock"
_REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
"""Errors of a directory that this user may not write."""


class Mark(Record):
    """What a reader noted about a tree."""

    star: bool = False
    """Whether it is starred."""
    note: Text = ""
    """A short note; empty without one."""
    changed: Text = ""
    """When it was last changed: UTC, ISO 8601."""

    def __bool__(self) -> bool:
        """Whether there is a star or a note."""
        return self.star or bool(self.note)


class MarkFile(Record):
    """The file."""

    schema_version: int = VERSION
    """Version of this file's schema."""
    run: Text
    """Identity of the run: of its `run.json`, or of the path of a file of trees without one."""
    trees: dict[Text, Mark] = Field(default_factory=dict)
    """Prompt id to mark."""


class MarkBook:
    """The marks of one run. Any thread may read; changes are made by one."""

    def __init__(self, run: str | Path, state: Path | None = None) -> None:
        """Read the marks of a run directory or a file of trees; `state` is the folder of those of read-only runs."""
        path = Path(run)
        self.directory = path if path.is_dir() else path.parent
        is_run = path.is_dir() or path.name == TREES
        self.path = self.directory / (MARKS if is_run else f"{path.stem}.{MARKS}")
        """The file beside the run."""
        self._run = _identity(self.directory / TREES if is_run else path)
        self.elsewhere = (state or state_folder()) / f"{self._run}.json"
        """The file in the user's state folder."""
        self.problem = ""
        """Why a file with marks cannot be read; empty if there is no problem."""
        self._marks: Mapping[str, Mark] = {}
        self._stamp: object = None
        self.refresh()

    def of(self, prompt_id: str) -> Mark:
        """The mark of a tree; an empty one if there is none."""
        return self._marks.get(prompt_id, Mark())

    def all(self) -> Mapping[str, Mark]:
        """Prompt id to mark, of the trees that have a star or a note; the object is replaced, never changed."""
        return self._marks

    def refresh(self) -> bool:
        """Read the marks again if a file has changed; returns whether one has."""
        stamp = [file_stamp(path) for path in (self.path, self.elsewhere)]
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self._marks, self.problem = _present(self._read()), ""
        except UsageError as error:
            self._marks, self.problem = {}, str(error)
        return True

    def change(self, prompt_id: str, *, star: bool | None = None, note: str | None = None) -> Path:
        """Change the star or the note of a tree; None leaves it as it is.

        Returns
        -------
        Path
            The file in which it is stored: beside the run, or in the state folder if the run directory is read-only.

        Raises
        ------
        UsageError
            The marks cannot be read, so that they would be lost, or cannot be written anywhere.
        """
        try:
            self._change(self.path, prompt_id, star, note)
            return self.path
        except OSError as error:
            if error.errno not in _REFUSED:
                raise _unwritable(self.path, error) from error
        try:
            self.elsewhere.parent.mkdir(parents=True, exist_ok=True)
            self._change(self.elsewhere, prompt_id, star, note)
            return self.elsewhere
        except OSError as error:
            raise UsageError(
                f"{self.directory} is read-only, and {self.elsewhere} cannot be written ({error.strerror or error}), "
                "so that stars and notes cannot be stored; set XDG_STATE_HOME to a folder that can be written"
            ) from error

    def _change(self, path: Path, prompt_id: str, star: bool | None, note: str | None) -> None:
        with taking_turns(path.with_name(f"{path.stem}.lock" if path == self.elsewhere else _LOCK)):
            marks = self._read()
            before = marks.get(prompt_id, Mark())
            marks[prompt_id] = Mark(
                star=before.star if star is None else star,
                note=before.note if note is None else note.strip()[:NOTE_CHARACTERS],
                changed=utc_now(),
            )
            is_own = path == self.path
            # An empty mark in the state folder hides that of a directory which cannot be written.
            trees = _present(marks) if is_own else marks
            replace_json(path, MarkFile(run=self._run, trees=trees).model_dump())
            if is_own:
                self.elsewhere.unlink(missing_ok=True)
        self.refresh()

    def _read(self) -> dict[str, Mark]:
        """The marks of both files; of two marks of a tree the later one."""
        marks = dict(_read_file(self.path, self._run))
        for prompt_id, mark in _read_file(self.elsewhere, self._run).items():
            if mark.changed >= marks.get(prompt_id, Mark()).changed:
                marks[prompt_id] = mark
        return marks


def state_folder() -> Path:
    """The folder of the marks of runs that cannot be written."""
    return user_folder("XDG_STATE_HOME", ".local/state") / "marks"


def _identity(trees: Path) -> str:
    """What stays the same while a run is resumed, moved or copied: its settings, and when it was created."""
    name = str(trees.absolute())
    if trees.name == TREES and (trees.parent / MANIFEST).is_file():
        try:
            manifest = read_manifest(trees.parent)
            name = f"{manifest.digest} {manifest.created}"
        except UsageError:
            pass  # a damaged run is known by its path
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _read_file(path: Path, run: str) -> Mapping[str, Mark]:
    """The marks in a file; none if it does not exist or belongs to another run."""
    try:
        value = json.loads(path.read_bytes())
        version = value.get("schema_version") if isinstance(value, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise UsageError(
                f"{path} has schema version {version}, this spar reads up to {VERSION}; upgrade spar"
            )
        file = MarkFile.model_validate(value)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValidationError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is damaged, so that stars and notes cannot be stored; correct or delete it"
        ) from error
    return file.trees if file.run == run else {}


def _present(marks: Mapping[str, Mark]) -> dict[str, Mark]:
    return {prompt_id: mark for prompt_id, mark in marks.items() if mark}


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot write {path}: {error.strerror or error}; fix this, then star or note again"
    )
