"""A run directory: append trees, resume after any kind of death, read them back as a stream.

    run.json       what the run is (`Manifest`), written once
    trees.jsonl    one `SearchTree` a line, appended when its search ends
    summary.json   totals, replaced as a whole
    log.txt        dated, human-readable lines
    run.lock       locked by the one process that writes; contains its process id

    with RunStore.open("runs/a", manifest) as store:
        for prompt in prompts:
            if prompt.id not in store.done:
                store.append(search(prompt))

`append` returns once the kernel has the tree, so the tree survives `kill -9`. Syncs to the disk are at
least a second apart, so a power cut may lose the trees since the last one. A last line of `trees.jsonl`
that does not parse is torn: a reader skips it and a writer cuts it off. This module knows nothing of
searches, strategies or engines.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from spar.errors import RunStopped, UsageError
from spar.files import PART, LineFile, locked, replace_json
from spar.manifest import Manifest, refuse_changes, utc_now
from spar.types import SCHEMA_VERSION, SearchTree

MANIFEST, TREES, SUMMARY, LOG = "run.json", "trees.jsonl", "summary.json", "log.txt"
LOCK = "run.lock"
RUN_FILES = (MANIFEST, TREES, SUMMARY, LOG)
"""The files of a run."""


class RunStore:
    """The writer of a run directory; create it with `open` and use it from one thread."""

    directory: Path
    """The run directory."""
    manifest: Manifest
    """The stored manifest; for a resumed run, that of its first start."""
    done: set[str]
    """Ids of the prompts whose tree is in `trees.jsonl`."""

    def __init__(self, directory: Path, manifest: Manifest, *, resources: ExitStack) -> None:
        self.directory = directory
        self.manifest = manifest
        self.done = _repair(directory / TREES)
        self._log = resources.enter_context(LineFile(directory / LOG))
        self._trees = resources.enter_context(LineFile(directory / TREES))
        self._resources = resources.pop_all()

    @classmethod
    def open(cls, directory: str | Path, manifest: Manifest, *, fresh: bool = False) -> RunStore:
        """Start a run in `directory`, or resume the run in it.

        With `fresh`, an earlier run of the same kind is deleted first: its files, and the runs below it that
        have its manifest, such as its drafts. Anything else stays.

        Raises
        ------
        ConfigChanged
            The directory has a run with another configuration or other templates.
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
            The disk is full or fails; the file is truncated to its last whole line.
        """
        with self._stopping():
            self._trees.append(tree.to_json())
        self.done.add(tree.prompt.id)

    def log(self, line: str) -> None:
        """Append a dated line to `log.txt`, with control characters and line breaks escaped."""
        with self._stopping():
            self._log.append(f"{utc_now()} {_printable(line)}")

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace `summary.json` as a whole."""
        with self._stopping():
            replace_json(self.directory / SUMMARY, dict(summary))

    def close(self) -> None:
        """Sync the files and release the lock; a second call does nothing."""
        with self._stopping():
            self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunStopped(
                f"cannot write to {self.directory}: {error.strerror or error}; {len(self.done)} trees are "
                "saved; fix this and rerun the command to resume"
            ) from error


def read_trees(path: str | Path) -> Iterator[SearchTree]:
    """Stream the trees of a run directory or of a `.jsonl` file, in constant memory.

    A torn last line is skipped, so a run can be read while it is being written.

    Raises
    ------
    UsageError
        There is no such file. When the stream reaches it: a line that is corrupt, not a tree, or of a
        newer schema version.
    """
    path = Path(path)
    path = path / TREES if path.is_dir() else path
    if not path.is_file():
        raise UsageError(f"there is no file {path}; expected a run directory or its {TREES}")
    return (_tree(row, f"{path}:{number}") for number, _, row in _rows(path))


def tree_offsets(path: Path) -> dict[str, int]:
    """Prompt id to the byte offset of its line in a file of trees."""
    offsets, start = {}, 0
    for number, end, row in _rows(path):
        offsets[_prompt_id(row, f"{path}:{number}")] = start
        start = end
    return offsets


def read_manifest(directory: str | Path) -> Manifest:
    """The manifest of a run directory.

    Raises
    ------
    UsageError
        There is none, it is damaged, or a newer version of spar wrote it.
    """
    path = Path(directory) / MANIFEST
    value = _read_object(path)
    _refuse_newer(value, str(path))
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        raise UsageError(f"{path} is not the manifest of a run: {_first(error)}") from error


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
    if not directory.exists():
        return
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
            refuse_changes(stored, manifest, directory)
            return stored
        refuse_other_kind(stored, manifest.kind, directory)
        for child in directory.iterdir():
            if _is_part(child, stored):
                shutil.rmtree(child)
        for name in RUN_FILES[1:]:
            (directory / name).unlink(missing_ok=True)
    replace_json(path, manifest.model_dump())
    return manifest


def _is_part(directory: Path, manifest: Manifest) -> bool:
    """Whether a directory is a part of the run with this manifest, such as its drafts."""
    if directory.is_symlink() or not (directory / MANIFEST).is_file():
        return False
    try:
        return read_manifest(directory) == manifest
    except UsageError:
        return False


def _rows(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Line number, byte offset of the line's end, and the line's JSON object; skips a torn last line."""
    end = 0
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            end += len(line)
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not handle.readline():
                    return
                raise UsageError(f"{path}:{number} is corrupt: {error}; delete the line") from error
            _refuse_newer(row, f"{path}:{number}")
            yield number, end, row


def _repair(path: Path) -> set[str]:
    """Cut a torn last line off `trees.jsonl`; returns the prompt ids of the whole lines."""
    if not path.exists():
        return set()
    done, size = set(), 0
    for number, end, row in _rows(path):
        done.add(_prompt_id(row, f"{path}:{number}"))
        size = end
    with path.open("r+b") as handle:
        handle.truncate(size)
        handle.seek(max(size - 1, 0))
        if size and handle.read() != b"\n":  # an editor removed the last line break
            handle.write(b"\n")
    return done


def _prompt_id(row: dict[str, Any], where: str) -> str:
    match row:
        case {"prompt": {"id": str(prompt_id)}}:
            return prompt_id
    raise UsageError(f"{where} is not a search tree: it has no prompt id; delete the line")


def _tree(row: dict[str, Any], where: str) -> SearchTree:
    try:
        return SearchTree.model_validate(row)
    except ValidationError as error:
        raise UsageError(f"{where} is not a search tree: {_first(error)}") from error


def _refuse_newer(row: Any, where: str) -> None:
    if not isinstance(row, dict):
        raise UsageError(f"{where}: expected a JSON object, got {type(row).__name__}")
    version = row.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageError(
            f"{where} has schema version {version}; this version of spar reads up to {SCHEMA_VERSION}; "
            "upgrade spar"
        )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
