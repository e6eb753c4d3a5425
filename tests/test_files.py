"""Files that are replaced as a whole, and lock files."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from spar.data_folder import data_root
from spar.errors import RunLocked, UsageError
from spar.files import (
    locked,
    replace_bytes,
    replace_json,
    replace_lines,
    replace_text,
    replacing,
    user_folder,
    writing,
)

fcntl = pytest.importorskip("fcntl")


def test_each_form_replaces_the_file(tmp_path: Path) -> None:
    """Bytes, text, JSON and lines take the place of what was there; nothing else is left."""
    path = tmp_path / "file"
    replace_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    replace_text(path, "grün\u2028")
    assert path.read_text(encoding="utf-8") == "grün\u2028"
    replace_json(path, {"a": [1, None]})
    assert path.read_text() == '{\n  "a": [\n    1,\n    null\n  ]\n}\n'
    digest = replace_lines(path, iter(["one", "two"]))
    assert path.read_bytes() == b"one\ntwo\n"
    assert digest == hashlib.sha256(b"one\ntwo\n").hexdigest()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    """A failure in the middle leaves the old content and no temporary file."""
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted() -> None:
        with replacing(path) as stream:
            stream.write(b"new")
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_sync_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not on the disk does not take the place of what is."""
    path = tmp_path / "file"
    path.write_text("old")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        replace_text(path, "new")
    assert path.read_text() == "old"


def test_a_lock_is_one_that_the_last_version_sees(tmp_path: Path) -> None:
    """The file has the process id and is locked with flock, as by versions without filelock."""
    path = tmp_path / "run.lock"
    with locked(path):
        assert path.read_text() == f"{os.getpid()}\n"
        with path.open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_of_the_last_version_is_seen(tmp_path: Path) -> None:
    """A file locked with flock cannot be locked; the error names the process, and its id stays."""
    path = tmp_path / "run.lock"
    path.write_text("4711\n")
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for _ in range(2):
            with pytest.raises(RunLocked, match=f"process 4711 is writing to {tmp_path}"):
                locked(path).__enter__()
    with locked(path):
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Where flock is not supported nothing is locked, and runs are possible."""

    def unsupported(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    path = tmp_path / "run.lock"
    for _ in range(2):
        with locked(path):
            assert path.read_text() == f"{os.getpid()}\n"


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """A lock file that cannot be created raises the error of the operating system."""
    with pytest.raises(FileNotFoundError):
        locked(tmp_path / "no" / "run.lock").__enter__()


def test_a_name_that_leads_elsewhere_is_written_through(tmp_path: Path) -> None:
    """A link stays a link, and a pipe a pipe; a file of the user beside it is not touched."""
    target, link = tmp_path / "a" / "target", tmp_path / "link"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to("a/target")
    (tmp_path / "a" / "target.part").write_text("mine")
    with writing(link) as stream:
        stream.write(b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert (tmp_path / "a" / "target.part").read_text() == "mine"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with writing(pipe) as stream:
        stream.write(b"through")
    assert os.read(reader, 20) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    """Also behind a link; what is an open file is written to and not replaced."""
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    with writing(link) as stream:
        stream.write(b"gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with (tmp_path / "open").open("wb") as opened:
        inode = os.fstat(opened.fileno()).st_ino
        with writing(Path(f"/proc/self/fd/{opened.fileno()}")) as stream:
            stream.write(b"here")
    assert (tmp_path / "open").read_text() == "here"
    assert (tmp_path / "open").stat().st_ino == inode


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_what_stands_in_an_open_file_stays(tmp_path: Path, name: str) -> None:
    """Two writings follow one another at the place where the descriptor is, as in a shell's loop into one file."""
    with (tmp_path / "open").open("wb", buffering=0) as opened:
        opened.write(b"first\n")
        for text in (b"second\n", b"third\n"):
            with writing(Path(name.format(opened.fileno()))) as stream:
                stream.write(text)
        opened.write(b"last\n")
    assert (tmp_path / "open").read_text() == "first\nsecond\nthird\nlast\n"


def test_standard_output_comes_after_what_was_printed(tmp_path: Path) -> None:
    """And keeps what was in the file that it is appended to."""
    code = """
import sys
from pathlib import Path
from spar.files import writing
print("printed")
for name in ("/dev/stdout", "/dev/stdout", "/dev/stderr"):
    with writing(Path(name)) as stream:
        stream.write(b"written\\n")
print("printed again")
"""
    (tmp_path / "all").write_text("before\n")
    with (tmp_path / "all").open("ab") as out:
        ended = subprocess.run([sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (0, b"written\n")
    lines = (tmp_path / "all").read_text().splitlines()
    assert lines == ["before", "printed", "written", "written", "printed again"]


def test_a_descriptor_is_written_to_where_standard_output_is_closed() -> None:
    """Python then has no stream for it."""
    code = "from pathlib import Path; from spar.files import writing"
    code += "\nwith writing(Path('/dev/stderr')) as stream: stream.write(b'written')"
    ended = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, code], stderr=subprocess.PIPE
    )
    assert (ended.returncode, ended.stderr) == (0, b"written")


def test_nothing_is_written_through_after_an_error(tmp_path: Path) -> None:
    """Neither to a file behind a link nor to a pipe."""
    target = tmp_path / "target"
    target.write_text("old")
    (tmp_path / "link").symlink_to(target)
    with suppress(ValueError), writing(tmp_path / "link") as stream:
        stream.write(b"ne")
        raise ValueError("torn")
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


@pytest.mark.parametrize("name", ["", "."])
def test_a_folder_is_not_written(name: str) -> None:
    """An empty name is the folder that one is in."""
    with pytest.raises(IsADirectoryError), writing(Path(name)) as stream:
        stream.write(b"x")


def test_a_missing_home_directory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a user that a container does not know; with the variable of the folder there is no need of one."""
    users = pytest.importorskip("pwd")

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(users, "getpwuid", unknown)
    with pytest.raises(UsageError, match="no such home directory; set HOME, or XDG_CACHE_HOME"):
        user_folder("XDG_CACHE_HOME", ".cache", {})
    named = user_folder("XDG_CACHE_HOME", ".cache", {"XDG_CACHE_HOME": "/c"})
    assert named == Path("/c/spar")
    with pytest.raises(UsageError, match="~nobody-of-this-name/data: there is no such home"):
        data_root("~nobody-of-this-name/data")
