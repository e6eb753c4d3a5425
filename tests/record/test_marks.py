"""Stars and notes on trees: stored beside the run, by several browsers, and where the run cannot be written."""

from __future__ import annotations

import errno
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spar.errors import UsageError
from spar.record.marks import MARKS, Mark, MarkBook
from tests.record.read_only import refuse
from tests.tui.samples import trees, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run."""
    return write_run(tmp_path / "run", trees(2))


def opened(run: Path, tmp_path: Path) -> MarkBook:
    """Its marks, with a state folder of this test."""
    return MarkBook(run, tmp_path / "state")


def test_a_star_and_a_note(run: Path, tmp_path: Path) -> None:
    """They are in a file beside the run, change apart from each other, and go when both are taken away."""
    book = opened(run, tmp_path)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert book.change("prompt-0", star=True) == run / MARKS
    book.change("prompt-0", note=" why? \ud800 " + 600 * "x")
    again = opened(run, tmp_path).of("prompt-0")
    assert (again.star, again.note) == (True, ("why? \ud800 " + 600 * "x")[:500])
    assert not opened(run, tmp_path).of("prompt-1")
    book.change("prompt-0", star=False, note="")
    assert opened(run, tmp_path).all() == {}
    changed = {name for name, data in before.items() if (run / name).read_bytes() != data}
    assert changed == set()


def test_two_browsers_at_once(run: Path, tmp_path: Path) -> None:
    """Neither loses a mark of the other, and each sees it when it looks again."""
    books = [opened(run, tmp_path) for _ in range(4)]
    assert not books[0].refresh()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: books[n % 4].change(f"prompt-{n}", star=True), range(24)))
    assert len(opened(run, tmp_path).all()) == 24
    for book in books:
        book.refresh()
        assert len(book.all()) == 24


def test_a_directory_that_cannot_be_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks are in the state folder, hide those of the directory, follow a copy, and move there once they can."""
    opened(run, tmp_path).change("prompt-1", star=True)
    with monkeypatch.context() as patch:
        refuse(patch, run)
        book = opened(run, tmp_path)
        assert book.change("prompt-0", note="odd") == book.elsewhere
        book.change("prompt-1", star=False)
        assert book.elsewhere.is_relative_to(tmp_path / "state")
    moved = run.rename(tmp_path / "moved")
    book = opened(moved, tmp_path)
    assert [*book.all()] == ["prompt-0"]
    assert book.change("prompt-2", star=True) == moved / MARKS
    assert not book.elsewhere.exists()
    assert sorted(opened(moved, tmp_path / "other").all()) == ["prompt-0", "prompt-2"]


def test_marks_that_cannot_be_stored_anywhere(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names both places; a full disk is not taken for a read-only directory."""
    with monkeypatch.context() as patch:
        refuse(patch, tmp_path)
        with pytest.raises(
            UsageError, match=r"read-only, and .*state.* cannot be written \(refused\)"
        ):
            opened(run, tmp_path).change("prompt-0", star=True)
    refuse(monkeypatch, run, errno.ENOSPC)
    with pytest.raises(UsageError, match=r"cannot write .*marks\.json: refused"):
        opened(run, tmp_path).change("prompt-0", star=True)


def test_marks_of_another_run(run: Path, tmp_path: Path) -> None:
    """A run that took the place of the marked one has none of its marks."""
    opened(run, tmp_path).change("prompt-0", star=True)
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, "created": "2030-01-01T00:00:00+00:00"}))
    book = opened(run, tmp_path)
    assert not book.of("prompt-0")
    book.change("prompt-1", star=True)
    assert [*book.all()] == ["prompt-1"]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("{", "is damaged"),
        ('{"run": 1}', "is damaged"),
        ('{"schema_version": 99}', "schema version 99, this spar reads up to 1; upgrade spar"),
        (None, "cannot read"),
    ],
)
def test_a_damaged_file_is_not_overwritten(
    run: Path, tmp_path: Path, damage: str | None, why: str
) -> None:
    """Reading goes on without marks; a change is refused in one line."""
    if damage is None:
        (run / MARKS).mkdir()
    else:
        (run / MARKS).write_text(damage)
    book = opened(run, tmp_path)
    assert book.all() == {} and why in book.problem
    with pytest.raises(UsageError, match=why):
        book.change("prompt-0", star=True)
    assert damage is None or (run / MARKS).read_text() == damage


def test_a_file_of_trees(run: Path, tmp_path: Path) -> None:
    """`trees.jsonl` has the marks of its run; another file has its own."""
    other = (run / "trees.jsonl").rename(run / "old.jsonl")
    opened(other, tmp_path).change("prompt-0", star=True)
    assert (run / "old.marks.json").is_file()
    assert not opened(run, tmp_path).all()
    assert opened(other, tmp_path).of("prompt-0") == Mark(
        star=True, changed=opened(other, tmp_path).of("prompt-0").changed
    )
