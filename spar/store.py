"""A run directory: append trees, resume after any kind of death, read them back as a stream.

    run.json       what the run is (`Manifest`), written once
    trees.jsonl    one `SearchTree` a line, appended when its search ends
    summary.json   totals, replaced as a whole
    log.txt        dated, human-readable lines
    calls.jsonl    replies of the trees in flight; deleted at the end
    run.lock       locked by the one process that writes; contains its process id

    with RunStore.open("runs/a", manifest) as store:
        for prompt in prompts:
            if prompt.id not in store.done:
                store.append(search(prompt))

`append` returns once the kernel has the tree, so the tree survives `kill -9`. Syncs to the disk are at
least a second apart, so a power cut may lose the trees since the last one. A last line of `trees.jsonl`
that does not parse is torn: a reader skips it and a writer cuts it off. Of two trees of one prompt, the last counts,
and a writer removes the others. If the file is deleted, moved, cut or replaced while it is written, the writer
notices and stops. This module knows nothing of searches, strategies or engines.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Container, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from spar.errors import ConfigChanged, RunStopped, UsageError
from spar.files import PART, FileChanged, LineFile, locked, replace_json
from spar.manifest import Manifest, refuse_changes, utc_now
from spar.sanitize import printable
from spar.tree_file import TREES as TREES  # callers know one module for all of a run's files
from spar.tree_file import Progress as Progress
from spar.tree_file import StoredTree as StoredTree
from spar.tree_file import find_run as find_run
from spar.tree_file import first_problem, refuse_newer, repair, rewrite
from spar.tree_file import last_trees as last_trees
from spar.tree_file import read_trees as read_trees
from spar.tree_file import stored_trees as stored_trees
from spar.tree_file import tree_at as tree_at
from spar.tree_file import tree_file as tree_file
from spar.tree_file import tree_offsets as tree_offsets
from spar.types import SearchTree

MANIFEST, SUMMARY, LOG = "run.json", "summary.json", "log.txt"
LOCK = "run.lock"
CALLS = "calls.jsonl"
"""The replies of the trees in flight (`spar.infer.journal`)."""
RUN_FILES = (MANIFEST, TREES, SUMMARY, LOG, CALLS)
"""The files of a run."""


class RunStore:
    """The writer of a run directory; create it with `open` and use it from one thread."""

    directory: Path
    """The run directory."""
    manifest: Manifest
    """The stored manifest; for a resumed run, that of its first start."""
    trees: dict[str, StoredTree]
    """The trees in `trees.jsonl` by the id of their prompt."""

    def __init__(self, directory: Path, manifest: Manifest, *, resources: ExitStack) -> None:
        self.directory = directory
        self.manifest = manifest
        self.trees = repair(directory / TREES)
        self._log = resources.enter_context(LineFile(directory / LOG))
        self._file = LineFile(directory / TREES)
        self._resources = resources.pop_all()
        self._closed = False

    @classmethod
    def open(cls, directory: str | Path, manifest: Manifest, *, fresh: bool = False) -> RunStore:
        """Start a run in `directory`, or resume the run in it.

        With `fresh`, an earlier run of the same kind is deleted first: its files, and the runs below it that
        have its manifest, such as its drafts. Anything else stays.

        A run without a tree, such as one whose model could not be loaded, takes any configuration.

        Raises
        ------
        ConfigChanged
            The directory has trees of another configuration or other templates.
        RunLocked
            Another process is writing to the directory.
        UsageError
            The directory has other files and no run, cannot be used, or has a corrupt line; or `fresh`
            would delete a run of another kind.
        """
        directory = Path(directory)
        with _usable(directory), ExitStack() as resources:
            _refuse_foreign(directory)
            directory.mkdir(parents=True, exist_ok=True)
            resources.enter_context(locked(directory / LOCK))
            return cls(
                directory, _store_manifest(directory, manifest, fresh=fresh), resources=resources
            )

    def append(self, tree: SearchTree) -> None:
        """Append one finished tree; once this returns, it survives the death of the process.

        Raises
        ------
        RunStopped
            The disk is full or fails, and the file is truncated to its last whole line; or another
            process deleted, moved or changed the file.
        """
        with self._stopping():
            self._file.check()
            self._file.append(tree.to_json())
        self.trees[tree.prompt.id] = StoredTree(
            tree.prompt.digest, tree.selected is not None, bool(tree.rounds)
        )

    def discard(self, ids: Container[str]) -> None:
        """Take the trees of some prompts out of the run, so that they are searched again."""
        with self._rewriting() as path:
            rewrite(path, lambda prompt_id, _: prompt_id not in ids)
        self.trees = {name: tree for name, tree in self.trees.items() if name not in ids}

    def discard_replaced(self) -> None:
        """Take the trees out of the file that a later one of the same prompt has replaced."""
        with self._rewriting() as path:
            repair(path)

    @property
    def done(self) -> Set[str]:
        """Ids of the prompts whose tree is in `trees.jsonl`."""
        return self.trees.keys()

    def saved(self, where: str = "") -> str:
        """What can be relied on, for messages: the number of trees that are saved, or what befell them.

        Parameters
        ----------
        where:
            Their place, such as "in runs/a".
        """
        try:
            if not self._closed:
                self._file.check()
        except FileChanged as error:
            return f"{error}; trees may be lost"
        return f"{len(self.trees)} trees are saved {where}".rstrip()

    def log(self, line: str) -> None:
        """Append a dated line to `log.txt`, with control characters and line breaks escaped.

        Nothing is written once the run is closed: a model or a cache that it shared with other runs may have a note later.
        """
        if self._closed:
            return
        with self._stopping():
            self._log.append(f"{utc_now()} {printable(line, layout=())}")

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace `summary.json` as a whole."""
        with self._stopping():
            replace_json(self.directory / SUMMARY, dict(summary))

    def close(self) -> None:
        """Sync the files and release the lock; a second call does nothing.

        Raises
        ------
        RunStopped
            The disk fails, or another process deleted, moved or changed the trees.
        """
        with self._stopping():
            try:
                if not self._closed:
                    self._file.check()
            finally:
                self._release()

    def _release(self) -> None:
        if not self._closed:
            self._closed = True
            self._resources.push(self._file)
            self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        with self._stopping():  # whatever befell the trees is part of that error
            self._release()

    @contextmanager
    def _rewriting(self) -> Iterator[Path]:
        """The file of trees, closed for as long as it is replaced."""
        path = self.directory / TREES
        with self._stopping():
            self._file.check()
            try:
                self._file.__exit__()
                yield path
            finally:  # an error leaves the old file in place, and the message counts its trees
                self._file = LineFile(path)

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        try:
            yield
        except FileChanged as error:
            raise RunStopped(
                f"{error}; trees may be lost; put the file back, or rerun the command: it searches every "
                "prompt that has no tree"
            ) from error
        except OSError as error:
            raise RunStopped(
                f"cannot write to {self.directory}: {error.strerror or error}; {self.saved()}; fix this and "
                "rerun the command to resume"
            ) from error


def read_manifest(directory: str | Path) -> Manifest:
    """The manifest of a run directory.

    Raises
    ------
    UsageError
        There is none, it is damaged, or a newer version of spar wrote it.
    """
    path = Path(directory) / MANIFEST
    value = _read_object(path)
    refuse_newer(value, str(path))
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        raise UsageError(f"{path} is not the manifest of a run: {first_problem(error)}") from error


def read_summary(directory: str | Path) -> dict[str, Any]:
    """The summary of a run directory; raises `UsageError` if it has none yet."""
    return _read_object(Path(directory) / SUMMARY)


def refuse_other_kind(stored: Manifest, kind: str, directory: Path) -> None:
    """Raise `UsageError` unless the run in a directory is of this kind (`Manifest.kind`)."""
    if stored.kind != kind:
        raise UsageError(
            f"{directory} holds another kind of run ({stored.kind}, and this is: {kind}); choose another --out"
        )


@contextmanager
def _usable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot use {directory} as a run directory: {error.strerror}; fix this, or choose "
            "another --out"
        ) from error


def _refuse_foreign(directory: Path) -> None:
    """Raise `UsageError` for a directory with files that are not a run's, before touching it."""
    if (directory / MANIFEST).exists():
        read_manifest(directory)
        return
    if not directory.exists() or (directory / LOCK).exists():
        return  # it was a run's whose files were deleted; what others have put there stays
    foreign = sorted(
        entry.name
        for entry in directory.iterdir()
        if entry.name != LOCK
        and not _is_torn_manifest(entry.name)  # of a run that was killed before it had a manifest
        and not (entry / MANIFEST).is_file()  # a stage of this run
    )
    if foreign:
        raise UsageError(
            f"{directory} is not a run directory: it contains {foreign[0]!r} and no {MANIFEST}; "
            "choose another --out"
        )


def _is_torn_manifest(name: str) -> bool:
    return name.startswith(f"{MANIFEST}.") and name.endswith(PART)


def _store_manifest(directory: Path, manifest: Manifest, *, fresh: bool) -> Manifest:
    """Check or replace the stored manifest; returns the one that is stored then."""
    path = directory / MANIFEST
    if path.exists():
        stored = read_manifest(directory)
        if not fresh:
            try:
                refuse_changes(stored, manifest, directory)
            except ConfigChanged:
                if _has_data(directory, stored):
                    raise
            else:
                return stored
        refuse_other_kind(stored, manifest.kind, directory)
        for child in directory.iterdir():
            if _is_part(child, stored):
                shutil.rmtree(child)
        for name in RUN_FILES[1:]:
            (directory / name).unlink(missing_ok=True)
    replace_json(path, manifest.model_dump())
    return manifest


def _has_data(directory: Path, manifest: Manifest) -> bool:
    """Whether a run has anything that another configuration would change: a tree, a reply, results, files of others."""
    for child in directory.iterdir():
        if child.name in (MANIFEST, SUMMARY, LOG, LOCK):
            continue
        if child.name in RUN_FILES and not child.stat().st_size:
            continue
        if _is_part(child, manifest) and not _has_data(child, manifest):
            continue
        return True
    return False


def _is_part(directory: Path, manifest: Manifest) -> bool:
    """Whether a directory is a part of the run with this manifest, such as its drafts."""
    if directory.is_symlink() or not (directory / MANIFEST).is_file():
        return False
    try:
        return read_manifest(directory) == manifest
    except UsageError:
        return False


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value
