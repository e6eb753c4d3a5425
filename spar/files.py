"""Files that survive a killed writer: append whole lines, replace whole files, lock by process."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from spar.errors import RunLocked, UsageError

if TYPE_CHECKING:
    from filelock import FileLock

SYNC_SECONDS = 1.0
"""Minimum time between two syncs of one file: a sync takes milliseconds, a tree may take less."""
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
"""Errors of a file system that has no locks, as some network file systems."""
PART = ".part"
"""Suffix of the temporary file from which a file is replaced."""


class FileChanged(OSError):
    """A file that is being written was deleted, moved, replaced or changed by another process."""


class LineFile:
    """An append-only file of whole lines, unbuffered."""

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags, 0o666)
        self._size = os.fstat(self._descriptor).st_size
        self._synced = time.monotonic()

    def append(self, line: str) -> None:
        """Append one line; after any error the file still ends in a whole line."""
        start = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            _write_all(self._descriptor, line.encode("utf-8") + b"\n")
        except BaseException:  # Ctrl-C between two writes tears a line just as a full disk does
            with suppress(OSError):
                os.ftruncate(self._descriptor, start)
            raise
        finally:
            self._size = os.lseek(self._descriptor, 0, os.SEEK_END)
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            os.fsync(self._descriptor)
            self._synced = time.monotonic()

    def check(self) -> None:
        """Raise `FileChanged` unless the path still leads to this file, with all that was written to it."""
        own = os.fstat(self._descriptor)
        try:
            now = self._path.stat()
        except OSError:
            raise FileChanged(f"{self._path} was deleted or moved while it was written") from None
        if (now.st_dev, now.st_ino) != (own.st_dev, own.st_ino):
            raise FileChanged(f"{self._path} was replaced while it was written")
        if own.st_size != self._size:
            raise FileChanged(
                f"{self._path} was changed while it was written: it has {own.st_size:,} bytes in place of "
                f"{self._size:,}"
            )

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
        # A short write is not an error by itself: the next one raises, or succeeds.
        view = view[os.write(descriptor, view) :]


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that takes the place of `path` when the block ends.

    The bytes go to a temporary file in the same folder, which is synced and renamed: a reader sees the
    old file or the new one, never a part. If the block raises, `path` stays as it was.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}{PART}")
    try:
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that a user names, wherever the name leads.

    A regular file is replaced as a whole (`replacing`), behind symbolic links too. A device, a pipe or
    an open file (`/dev/stdout`) is written to once the block has ended without an error; what stands in
    an open file stays.

    Raises
    ------
    OSError
        It cannot be written, or is a folder.
    """
    if not path.name or path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    target = _end_of_links(path)
    if not _is_stream(target):
        with replacing(target) as stream:
            yield stream
        return
    with tempfile.TemporaryFile() as buffer:
        yield buffer
        buffer.seek(0)
        with _open_stream(target) as stream:
            shutil.copyfileobj(buffer, stream)


_DESCRIPTORS = re.compile(r"/(?:dev/(?:fd/|std|tty)|proc/[^/]+/fd/)")
"""Names of files that are open already: these are written to, whatever they are."""
_OWN_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def _open_stream(path: Path) -> IO[bytes]:
    """What a device, a pipe or an open file is written to with.

    To open the name of an open descriptor again would empty the file behind it, and start at its beginning.
    """
    own = _OWN_DESCRIPTOR.fullmatch(str(path))
    number = int(own[1]) if own else _STANDARD.get(str(path))
    if number is None:
        return path.open("ab")
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it was closed from the start
        stream.flush()  # what was printed before comes first
    return os.fdopen(os.dup(number), "wb")


def _end_of_links(path: Path) -> Path:
    for _ in range(40):
        if _DESCRIPTORS.match(str(path)) or not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return path


def _is_stream(path: Path) -> bool:
    return bool(_DESCRIPTORS.match(str(path))) or (path.exists() and not path.is_file())


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace a file as a whole; see `replacing`."""
    with replacing(path) as stream:
        stream.write(data)


def replace_text(path: Path, text: str) -> None:
    """Replace a UTF-8 text file as a whole; see `replacing`."""
    replace_bytes(path, text.encode("utf-8"))


def replace_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a JSON file as a whole; see `replacing`."""
    replace_lines(path, [json.dumps(value, indent=2)])


def replace_lines(path: Path, lines: Iterable[str]) -> str:
    """Replace a file of ASCII lines as a whole; returns the SHA-256 of its bytes in hex."""
    digest = hashlib.sha256()
    with replacing(path) as stream:
        for line in lines:
            data = f"{line}\n".encode("ascii")
            digest.update(data)
            stream.write(data)
    return digest.hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the file `path` and write the process id to it; the lock ends with the process.

    On a file system without locks nothing is locked, so that runs are possible there too.

    Raises
    ------
    RunLocked
        Another process has locked it.
    """
    lock = _file_lock(path)
    if not _acquired(lock, blocking=False):
        raise RunLocked(
            f"process {_holder(path)} is writing to {path.parent}; wait for it to end, "
            "or choose another --out"
        )
    try:
        with suppress(OSError):  # Windows refuses writes to a locked file
            path.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        lock.release()


@contextmanager
def taking_turns(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Lock the file `path`, and wait for it where another process has; the lock ends with the process.

    On a file system without locks nothing is locked.

    Parameters
    ----------
    waiting:
        Called once if the lock is not free.
    """
    lock = _file_lock(path)
    if not _acquired(lock, blocking=False):
        waiting()
        _acquired(lock, blocking=True)
    try:
        yield
    finally:
        lock.release()


def _file_lock(path: Path) -> FileLock:
    from filelock import FileLock

    path.parent.stat()  # filelock would create a missing folder
    return FileLock(path, thread_local=False, fallback_to_soft=False)


def _acquired(lock: FileLock, *, blocking: bool) -> bool:
    """Whether the lock was acquired, or the file system has no locks."""
    from filelock import Timeout

    try:
        lock.acquire(blocking=blocking)
    except Timeout:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")[:20].strip() or "unknown"
    except OSError:
        return "unknown"


def user_folder(variable: str, default: str, environment: Mapping[str, str] = os.environ) -> Path:
    """spar's folder in one of the user's, by XDG's rules: `$XDG_STATE_HOME/spar`, or `~/.local/state/spar`.

    Parameters
    ----------
    variable:
        Environment variable that names the user's folder; a relative path in it is ignored.
    default:
        The user's folder below the home directory where the variable does not count.

    Raises
    ------
    UsageError
        There is no home directory, as for a user that a container does not know.
    """
    named = Path(environment.get(variable, ""))
    if named.is_absolute():
        return named / "spar"
    return expand_home(Path("~", default), f"set HOME, or {variable}") / "spar"


def expand_home(path: Path, next_step: str = "pass the whole path") -> Path:
    """The path with a home directory in place of its `~`; raises `UsageError` where there is none."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: there is no such home directory; {next_step}") from None


def expand_home_in(text: str) -> str:
    """A text that may name a file, with the user's home directory in place of a `~/` at its start."""
    return f"{expand_home(Path('~'))}{text[1:]}" if text.startswith("~/") else text


def is_same_file(one: str, other: str) -> bool:
    """Whether two paths name the same file or folder, which exists."""
    try:
        return Path(one).samefile(other)
    except (OSError, ValueError):  # no file, or no path at all
        return False


def file_stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file's contents: its inode, size and time; None if there is no such file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def file_digest(path: Path) -> str:
    """The SHA-256 of a file in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def count_lines(path: Path) -> int:
    """Lines of a file that grows, 0 where it cannot be read; counted lines are not read again."""
    size, count = _COUNTED.get(path, (0, 0))
    try:
        with path.open("rb") as handle:
            if os.fstat(handle.fileno()).st_size < size:  # the file was replaced
                size, count = 0, 0
            handle.seek(size)
            for block in iter(lambda: handle.read(1 << 20), b""):
                size, count = size + len(block), count + block.count(b"\n")
    except OSError:
        return 0
    _COUNTED[path] = size, count
    return count


_COUNTED: dict[Path, tuple[int, int]] = {}
"""File to the number of bytes that were read, and the lines in them."""
