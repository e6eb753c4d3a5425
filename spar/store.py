"""A run directory: append trees, resume after any kind of death, read them back as a stream.

    run.json       what the run is (`Manifest`), written once
    trees.jsonl    one `SearchTree` a line, appended when its search ends
    summary.json   totals, replaced as a whole
    log.txt        dated lines for a person
    run.lock       locked by the one process that writes; holds that process's id

    with RunStore.open("runs/a", manifest) as store:
        for prompt in prompts:
            if prompt.id not in store.done:
                store.append(search(prompt))

A tree is with the kernel before `append` returns, so it survives `kill -9`. Syncs to the disk are
at least a second apart, so a power cut may cost the trees since the last one. The last line of
`trees.jsonl` counts when it parses; else it is torn: a reader skips it and a writer cuts it off.
This module does not know what a search, a strategy or an engine is.
"""

from __future__ import annotations

import json
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
"""What a run writes."""


class RunStore:
    """The one writer of a run directory. Made by `open`; use it from one thread."""

    directory: Path
    """Where the run lives."""
    manifest: Manifest
    """The manifest on the disk: of a resumed run, the one that started it."""
    done: set[str]
    """Ids of the prompts whose tree is safe in `trees.jsonl`."""

    def __init__(self, directory: Path, manifest: Manifest, *, held: ExitStack) -> None:
        self.directory = directory
        self.manifest = manifest
        self.done = _repair(directory / TREES)
        self._log = held.enter_context(LineFile(directory / LOG))
        self._trees = held.enter_context(LineFile(directory / TREES))
        self._held = held.pop_all()

    @classmethod
    def open(cls, directory: str | Path, manifest: Manifest, *, fresh: bool = False) -> RunStore:
        """Start a run in `directory`, or resume the one that is there.

        With `fresh`, the files of an earlier run are deleted first, and nothing else.

        Raises
        ------
        ConfigChanged
            The directory holds a run with another configuration or other templates.
        RunLocked
            Another process is writing to the directory.
        UsageError
            The directory holds other files and no run, cannot be used, or has a corrupt line.
        """
        directory = Path(directory)
        with _usable(directory), ExitStack() as held:
            _refuse_foreign(directory)
            directory.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(directory / LOCK))
            return cls(directory, _settle(directory, manifest, fresh=fresh), held=held)

    def append(self, tree: SearchTree) -> None:
        """Add one finished tree; it survives the death of the process once this returns.

        Raises
        ------
        RunStopped
            The disk is full or fails. The file is cut back to its last whole line.
        """
        with self._stopping():
            self._trees.append(tree.to_json())
        self.done.add(tree.prompt.id)

    def log(self, line: str) -> None:
        """Add one dated line to `log.txt`, control characters and line breaks escaped."""
        with self._stopping():
            self._log.append(f"{utc_now()} {_printable(line)}")

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace `summary.json`; a reader sees the old one or the new one, never a part."""
        with self._stopping():
            replace_json(self.directory / SUMMARY, dict(summary))

    def close(self) -> None:
        """Sync both files and release the directory; a second call does nothing."""
        with self._stopping():
            self._held.close()

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
                "safe; mend that and run the same command again to resume"
            ) from error


def read_trees(path: str | Path) -> Iterator[SearchTree]:
    """Stream the trees of a run directory or of a `.jsonl` file; memory does not grow with it.

    A torn last line is skipped, so a run can be read while it is being written.

    Raises
    ------
    UsageError
        No such file; or, when the stream gets there, a line that is corrupt, no tree, or of a
        newer schema.
    """
    path = Path(path)
    path = path / TREES if path.is_dir() else path
    if not path.is_file():
        raise UsageError(f"there is no file {path}; expected a run directory or its {TREES}")
    return (_tree(row, f"{path}:{number}") for number, _, row in _rows(path))


def tree_offsets(path: Path) -> dict[str, int]:
    """Prompt id to the offset in bytes of its line in a file of trees."""
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
        There is none, it is damaged, or a newer spar wrote it.
    """
    path = Path(directory) / MANIFEST
    value = _read_object(path)
    _refuse_newer(value, str(path))
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        raise UsageError(f"{path} is no manifest of a spar run: {_first(error)}") from error


def read_summary(directory: str | Path) -> dict[str, Any]:
    """The summary of a run directory; raises `UsageError` where there is none yet."""
    return _read_object(Path(directory) / SUMMARY)


@contextmanager
def _usable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot use {directory} as a run directory: {error.strerror}; mend that or give "
            "another --out"
        ) from error


def _refuse_foreign(directory: Path) -> None:
    """Refuse a directory whose files are not a run's own, before anything in it is touched."""
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
            f"{directory} is not empty (it holds {foreign[0]!r}) and has no {MANIFEST}, so it is "
            "no run directory; give another --out"
        )


def _is_torn_manifest(name: str) -> bool:
    return name.startswith(f"{MANIFEST}.") and name.endswith(PART)


def _settle(directory: Path, manifest: Manifest, *, fresh: bool) -> Manifest:
    """The manifest that the directory has from now on."""
    path = directory / MANIFEST
    if path.exists():
        if not fresh:
            stored = read_manifest(directory)
            refuse_changes(stored, manifest, directory)
            return stored
        for name in RUN_FILES[1:]:
            (directory / name).unlink(missing_ok=True)
    replace_json(path, manifest.model_dump())
    return manifest


def _rows(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Line number, offset of the line's end in bytes, and the line's JSON object; no torn line."""
    end = 0
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            end += len(line)
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not handle.readline():
                    return
                raise UsageError(f"{path}:{number} is corrupt: {error}; delete it") from error
            _refuse_newer(row, f"{path}:{number}")
            yield number, end, row


def _repair(path: Path) -> set[str]:
    """Cut a torn last line off `trees.jsonl`; the ids of the prompts in the whole ones."""
    if not path.exists():
        return set()
    done, whole = set(), 0
    for number, end, row in _rows(path):
        done.add(_prompt_id(row, f"{path}:{number}"))
        whole = end
    with path.open("r+b") as handle:
        handle.truncate(whole)
        handle.seek(max(whole - 1, 0))
        if whole and handle.read() != b"\n":  # an editor took the last line break away
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
            f"{where} has schema version {version}, this spar reads up to {SCHEMA_VERSION}; "
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
