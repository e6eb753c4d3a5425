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

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import Field, ValidationError

from spar.errors import ConfigChanged, RunLocked, RunStopped, UsageMistake
from spar.types import SCHEMA_VERSION, Record, SearchTree, Text

try:
    import fcntl
except ImportError:  # Windows: two writers on one directory are then not told apart
    fcntl = None  # type: ignore[assignment]

MANIFEST, TREES, SUMMARY, LOG = "run.json", "trees.jsonl", "summary.json", "log.txt"
LOCK = "run.lock"
SYNC_SECONDS = 1.0
"""Least time between two syncs of one file: a sync costs milliseconds, a tree may cost less."""
SHOWN_CHARACTERS = 200
"""A longer value is cut in a configuration diff."""


class Manifest(Record):
    """What a run is: enough to repeat it, and to refuse mixing it with another."""

    schema_version: int = SCHEMA_VERSION
    """Version of the records in the run directory."""
    spar_version: Text
    """The version of spar that started the run."""
    config: dict[str, Any]
    """The whole resolved configuration, defaults included, as plain JSON values."""
    free: tuple[Text, ...] = ()
    """Dotted keys of `config` that change no result (display, concurrency); each covers the keys
    below it. They may differ when the run is resumed and do not count in `digest`."""
    digest: Text = Field(
        default_factory=lambda data: config_digest(data["config"], free=data["free"])
    )
    """`config_digest` of `config` without `free`; every tree of the run carries it."""
    git_commit: Text | None = None
    """Commit of the source tree, None where spar was not run from one."""
    packages: dict[Text, Text] = Field(default_factory=dict)
    """Package name -> installed version."""
    models: dict[Text, Text] = Field(default_factory=dict)
    """Role -> id of the model that plays it."""
    templates: dict[Text, Text] = Field(default_factory=dict)
    """Template name -> digest of its text. Like `config`, it must be the same to resume."""
    seed: int | None = None
    """Seed of the run, None for an unseeded one."""
    created: Text = Field(default_factory=lambda: _now())
    """When the run was started: UTC, ISO 8601."""


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
        self._log = held.enter_context(_LineFile(directory / LOG))
        self._trees = held.enter_context(_LineFile(directory / TREES))
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
        UsageMistake
            The directory holds other files and no run, cannot be used, or has a corrupt line.
        """
        directory = Path(directory)
        with _usable(directory), ExitStack() as held:
            _refuse_foreign(directory)
            directory.mkdir(parents=True, exist_ok=True)
            held.enter_context(_locked(directory))
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
            self._log.append(f"{_now()} {_printable(line)}")

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace `summary.json`; a reader sees the old one or the new one, never a part."""
        with self._stopping():
            _replace(self.directory / SUMMARY, dict(summary))

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
    UsageMistake
        No such file; or, when the stream gets there, a line that is corrupt, no tree, or of a
        newer schema.
    """
    path = Path(path)
    path = path / TREES if path.is_dir() else path
    if not path.is_file():
        raise UsageMistake(f"there is no file {path}; expected a run directory or its {TREES}")
    return (_tree(row, f"{path}:{number}") for number, _, row in _rows(path))


def read_manifest(directory: str | Path) -> Manifest:
    """The manifest of a run directory.

    Raises
    ------
    UsageMistake
        There is none, it is damaged, or a newer spar wrote it.
    """
    path = Path(directory) / MANIFEST
    value = _read_object(path)
    _refuse_newer(value, str(path))
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        raise UsageMistake(f"{path} is no manifest of a spar run: {_first(error)}") from error


def read_summary(directory: str | Path) -> dict[str, Any]:
    """The summary of a run directory; raises `UsageMistake` where there is none yet."""
    return _read_object(Path(directory) / SUMMARY)


def config_digest(config: Mapping[str, Any], *, free: Iterable[str] = ()) -> str:
    """First 16 hex digits of the SHA-256 over canonical JSON of `config` without the keys `free`.

    The order of keys does not count, and a tuple equals a list.
    """
    fixed = _without(config, frozenset(free))
    text = json.dumps(fixed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


class _LineFile:
    """A file that grows by whole lines only, without a buffer of our own."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags, 0o666)
        self._synced = time.monotonic()

    def append(self, line: str) -> None:
        start = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            _write_all(self._descriptor, line.encode("utf-8") + b"\n")
        except BaseException:  # Ctrl-C between two parts tears a line just as a full disk does
            with suppress(OSError):
                os.ftruncate(self._descriptor, start)
            raise
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            os.fsync(self._descriptor)
            self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        # A short write is no error by itself: the next one says why, or goes through.
        view = view[os.write(descriptor, view) :]


def _replace(path: Path, value: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="ascii") as handle:
        handle.write(json.dumps(value, indent=2) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(path)


@contextmanager
def _usable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageMistake(
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
    ours = {LOCK, f"{MANIFEST}.part"}  # what a run leaves that died before it had a manifest
    foreign = sorted(entry.name for entry in directory.iterdir() if entry.name not in ours)
    if foreign:
        raise UsageMistake(
            f"{directory} is not empty (it holds {foreign[0]!r}) and has no {MANIFEST}, so it is "
            "no run directory; give another --out"
        )


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _claim(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def _claim(descriptor: int, directory: Path) -> None:
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
        raise RunLocked(
            f"process {holder} is writing to {directory}; wait for its end or give another --out"
        ) from None
    except OSError:
        pass  # some network file systems have no locks; a run must still be possible there
    os.ftruncate(descriptor, 0)
    _write_all(descriptor, f"{os.getpid()}\n".encode())


def _settle(directory: Path, manifest: Manifest, *, fresh: bool) -> Manifest:
    """The manifest that the directory has from now on."""
    path = directory / MANIFEST
    if path.exists():
        if not fresh:
            stored = read_manifest(directory)
            _refuse_changes(stored, manifest, directory)
            return stored
        for name in (TREES, SUMMARY, LOG):
            (directory / name).unlink(missing_ok=True)
    _replace(path, manifest.model_dump())
    return manifest


def _refuse_changes(stored: Manifest, wanted: Manifest, directory: Path) -> None:
    free = frozenset(wanted.free)
    old, new = (
        _leaves(_without({**one.config, "templates": one.templates}, free))
        for one in (stored, wanted)
    )
    lines = [
        f"  {key}: {_shown(key, old)} -> {_shown(key, new)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if lines:
        raise ConfigChanged(
            f"{directory} holds a run with another configuration (old -> new):\n"
            + "\n".join(lines)
            + "\nstart over with --fresh, or give another --out"
        )


def _without(config: Mapping[str, Any], free: frozenset[str], above: str = "") -> dict[str, Any]:
    return {
        name: _without(value, free, f"{above}{name}.") if isinstance(value, Mapping) else value
        for name, value in config.items()
        if f"{above}{name}" not in free
    }


def _leaves(config: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Dotted key -> JSON of the value, for every value that is not itself a mapping."""
    leaves: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            leaves |= _leaves(value, f"{above}{name}.")
        else:
            leaves[f"{above}{name}"] = json.dumps(value, sort_keys=True)
    return leaves


def _shown(key: str, leaves: Mapping[str, str]) -> str:
    value = leaves.get(key, "(absent)")
    return value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}..."


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
                raise UsageMistake(f"{path}:{number} is corrupt: {error}; delete it") from error
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
    raise UsageMistake(f"{where} is not a search tree: it has no prompt id; delete the line")


def _tree(row: dict[str, Any], where: str) -> SearchTree:
    try:
        return SearchTree.model_validate(row)
    except ValidationError as error:
        raise UsageMistake(f"{where} is not a search tree: {_first(error)}") from error


def _refuse_newer(row: Any, where: str) -> None:
    if not isinstance(row, dict):
        raise UsageMistake(f"{where}: expected a JSON object, got {type(row).__name__}")
    version = row.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageMistake(
            f"{where} has schema version {version}, this spar reads up to {SCHEMA_VERSION}; "
            "upgrade spar"
        )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageMistake(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageMistake(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageMistake(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
