"""The run directory: crashes, resuming, errors and deletion."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import spar
from spar.errors import ConfigChanged, RunLocked, RunStopped, UsageError
from spar.manifest import Manifest, config_digest
from spar.store import (
    CALLS,
    RunStore,
    read_manifest,
    read_summary,
    read_trees,
)
from spar.types import SCHEMA_VERSION, Message, Node, Prompt, SearchTree

CONFIG = {"search": {"budget": 15, "branch": 3}, "engine": {"batch": 8}, "model": "nano"}

CHILD = """
import itertools, sys, time
from spar.manifest import Manifest
from spar.store import RunStore
from spar.types import Message, Prompt, SearchTree
store = RunStore.open(sys.argv[1], Manifest(spar_version="0", config={}))
print("open", flush=True)
for number in itertools.count() if sys.argv[2] == "append" else ():
    prompt = Prompt(id=str(number), messages=(Message(role="user", content="x" * 50_000),))
    store.append(SearchTree(prompt=prompt, strategy="greedy", config="c", stop="exhausted"))
    print(number, flush=True)
time.sleep(60)
"""


def manifest(config: dict[str, Any] | None = None, free: tuple[str, ...] = ()) -> Manifest:
    """A small manifest."""
    return Manifest(spar_version="0", config=CONFIG if config is None else config, free=free)


def tree(prompt_id: str, text: str = "hi") -> SearchTree:
    """A search tree of one node."""
    return SearchTree(
        prompt=Prompt(id=prompt_id, messages=(Message(role="user", content=text),)),
        strategy="greedy",
        config="c",
        nodes=(Node(id=0, parent=None, depth=0, response=text),),
        selected=0,
        stop="exhausted",
    )


def fill(directory: Path, *ids: str) -> Path:
    """A closed run with these trees; returns the path of its trees."""
    with RunStore.open(directory, manifest()) as store:
        for prompt_id in ids:
            store.append(tree(prompt_id))
    return directory / "trees.jsonl"


def ids(path: Path) -> list[str]:
    """The prompt ids of the trees that a reader yields."""
    return [read.prompt.id for read in read_trees(path)]


@contextmanager
def child(directory: Path, work: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has the run open; it is killed (-9) at the end."""
    command = [sys.executable, "-c", CHILD, str(directory), work]
    environment = {**os.environ, "PYTHONPATH": str(Path(spar.__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


def full_after(num_bytes: int, code: int) -> Callable[[int, memoryview], int]:
    """An `os.write` for a disk with room for `num_bytes`: the last write is short, then it fails."""
    room, write = num_bytes, os.write

    def limited(descriptor: int, data: memoryview) -> int:
        nonlocal room
        if not room:
            raise OSError(code, os.strerror(code))
        written = write(descriptor, data[:room])
        room -= written
        return written

    return limited


def failing_sync(descriptor: int) -> None:
    """An `os.fsync` for a disk that fails."""
    raise OSError(errno.EIO, "Input/output error")


def test_trees_round_trip(tmp_path: Path) -> None:
    """Trees with any text, lone surrogates and line separators included, are read back equal."""
    trees = [tree("a", "\ud800 \x00 \u2028 🙂\n"), tree("\udfff", "\x1b[31m")]
    with RunStore.open(tmp_path / "deep" / "run", manifest()) as store:
        for each in trees:
            store.append(each)
        assert store.done == {"a", "\udfff"}
    assert list(read_trees(tmp_path / "deep" / "run")) == trees
    assert list(read_trees(tmp_path / "deep" / "run" / "trees.jsonl")) == trees


def test_a_tree_is_readable_before_close(tmp_path: Path) -> None:
    """Nothing is buffered: another reader sees a tree as soon as it is appended."""
    with RunStore.open(tmp_path, manifest()) as store:
        store.append(tree("a"))
        assert ids(tmp_path) == ["a"]


def test_resuming_keeps_trees_and_manifest(tmp_path: Path) -> None:
    """A run that is opened again has its trees and its first manifest, and appends after them."""
    fill(tmp_path, "a", "b")
    first = read_manifest(tmp_path)
    with RunStore.open(tmp_path, first.model_copy(update={"created": "later"})) as store:
        assert store.done == {"a", "b"}
        assert store.manifest == first
        store.append(tree("c"))
    assert ids(tmp_path) == ["a", "b", "c"]
    assert read_manifest(tmp_path) == first


@pytest.mark.parametrize("tail", [b'{"schema_ver', b"\x00\x00\x00", b'{"prompt": {"id": "x"\n'])
def test_a_torn_last_line_is_skipped_then_cut(tmp_path: Path, tail: bytes) -> None:
    """A reader skips it without changing the file; a writer truncates the file."""
    path = fill(tmp_path, "a", "b")
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert ids(tmp_path) == ["a", "b"]
    assert path.read_bytes() == whole + tail
    with RunStore.open(tmp_path, manifest()) as store:
        assert store.done == {"a", "b"}
        assert path.read_bytes() == whole


def test_any_cut_of_the_last_line_can_be_resumed(tmp_path: Path) -> None:
    """Wherever the last line is torn, no other tree is lost, and the next tree is written whole."""
    path = fill(tmp_path, "a", "b")
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    for end in (*range(start, len(whole) - 2, 50), len(whole) - 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with RunStore.open(tmp_path, manifest()) as store:
            expected = ["a", "b"] if end == len(whole) - 1 else ["a"]
            assert store.done == set(expected)
            store.append(tree("c"))
        assert ids(tmp_path) == [*expected, "c"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": ', "is corrupt"),
        ("[" * 100_000, "is corrupt"),
        ("3", "expected a JSON object"),
        ('{"prompt": {}}', "is not a search tree"),
        (json.dumps({"schema_version": SCHEMA_VERSION + 1}), "upgrade spar"),
    ],
)
def test_a_corrupt_middle_line_is_refused(tmp_path: Path, line: str, words: str) -> None:
    """Reader and writer raise an error with file and line, and change nothing."""
    path = fill(tmp_path, "a", "b")
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{line}\n{second}\n")
    before = path.read_bytes()
    for use in (lambda: ids(path), lambda: RunStore.open(tmp_path, manifest())):
        with pytest.raises(UsageError, match=words) as caught:
            use()
        assert f"{path}:2" in str(caught.value)
    assert path.read_bytes() == before


def test_a_tree_with_unknown_fields_is_refused(tmp_path: Path) -> None:
    """The error names the line and the field."""
    path = fill(tmp_path, "a")
    path.write_text(json.dumps({**json.loads(path.read_text()), "extra": 1}) + "\n")
    with pytest.raises(UsageError, match=r"trees\.jsonl:1 is not a search tree: extra"):
        ids(path)


def test_a_missing_file_is_an_immediate_error(tmp_path: Path) -> None:
    """The error is raised before the first tree is requested."""
    with pytest.raises(UsageError, match="there is no file"):
        read_trees(tmp_path)
    with pytest.raises(UsageError, match="cannot read"):
        read_summary(tmp_path)


def test_kill_9_leaves_whole_lines(tmp_path: Path) -> None:
    """After a kill every tree whose append returned is in the file, and no part of another."""
    with child(tmp_path, "append") as process:
        assert process.stdout is not None
        appended = [process.stdout.readline().strip() for _ in range(20)]
        process.kill()
        appended += process.stdout.read().split()
    with RunStore.open(tmp_path, manifest({})) as store:
        assert set(appended) <= store.done
        assert len(store.done) <= len(appended) + 1
        assert ids(tmp_path) == [str(number) for number in range(len(store.done))]
    assert (tmp_path / "trees.jsonl").read_bytes().endswith(b"}\n")


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    """The error names the directory and the process; kill -9 releases the lock."""
    with child(tmp_path, "wait") as process:
        with pytest.raises(RunLocked) as caught:
            RunStore.open(tmp_path, manifest({}), fresh=True)
        assert f"process {process.pid} is writing to {tmp_path}" in str(caught.value)
    with RunStore.open(tmp_path, manifest({})) as store:
        assert store.done == set()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_full_disk_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, room: int
) -> None:
    """The partial line is truncated, the error counts the saved trees, and the run can be resumed."""
    with RunStore.open(tmp_path, manifest()) as store:
        store.append(tree("a"))
        before = (tmp_path / "trees.jsonl").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full_after(room, code))
            with pytest.raises(RunStopped, match=r"1 trees are saved; .* to resume") as caught:
                store.append(tree("b"))
        assert os.strerror(code) in str(caught.value)
        assert (tmp_path / "trees.jsonl").read_bytes() == before
        assert store.done == {"a"}
        store.append(tree("b"))
    assert ids(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("file", ["old", "new"])
def test_a_disk_that_is_full_while_trees_are_taken_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """As either file is synced: the trees stay as they were, the error counts them, and the store can be written to."""
    fsync, calls = os.fsync, iter(["old", "new"])

    def fail(descriptor: int) -> None:
        fsync(descriptor)
        if next(calls) == file:
            raise OSError(errno.ENOSPC, "No space left on device")

    with RunStore.open(tmp_path, manifest()) as store:
        store.append(tree("a"))
        store.append(tree("b"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(RunStopped, match=r"No space left .*; 2 trees are saved"):
                store.discard({"a"})
        store.append(tree("c"))
    assert ids(tmp_path) == ["a", "b", "c"]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is written whole even if each write takes only ten bytes."""
    write = os.write
    with RunStore.open(tmp_path, manifest()) as store:
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
        store.append(tree("a"))
    assert ids(tmp_path) == ["a"]


def test_a_failing_sync_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the last sync is raised by close, and the lock is released."""
    store = RunStore.open(tmp_path, manifest())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_sync)
        with pytest.raises(RunStopped, match="Input/output error"):
            store.close()
    store.close()
    with RunStore.open(tmp_path, manifest()) as again:
        assert again.done == set()


def test_a_changed_config_is_an_error_with_a_diff(tmp_path: Path) -> None:
    """One line per changed key, dotted, old -> new, and the next step at the end."""
    fill(tmp_path, "a")
    changed = {"search": {"budget": 20, "branch": 3, "keep": 2}, "engine": {"batch": 8}}
    with pytest.raises(ConfigChanged) as caught:
        RunStore.open(tmp_path, manifest(changed))
    assert str(caught.value).splitlines() == [
        f"{tmp_path} has a run with another configuration (old -> new):",
        '  model: "nano" -> (absent)',
        "  search.budget: 15 -> 20",
        "  search.keep: (absent) -> 2",
        "start over with --overwrite, or choose another --out",
    ]
    assert ids(tmp_path) == ["a"]


@pytest.mark.parametrize("held", ["", CALLS, "results.json", "drafts"])
def test_a_run_without_a_tree_takes_another_config(tmp_path: Path, held: str) -> None:
    """A misspelt model leaves a run that holds nothing; a reply, a result or a tree of a part is something."""
    RunStore.open(tmp_path, manifest()).close()
    RunStore.open(tmp_path / "drafts", manifest()).close()
    changed = manifest({**CONFIG, "model": "other"})
    if held == "drafts":
        fill(tmp_path / "drafts", "a")
    elif held:
        (tmp_path / held).write_text("{}\n")
    if held:
        with pytest.raises(ConfigChanged):
            RunStore.open(tmp_path, changed)
        return
    with RunStore.open(tmp_path, changed):
        assert read_manifest(tmp_path) == changed
        assert not (tmp_path / "drafts").exists()


def test_a_folder_is_the_same_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relatively, absolutely, through a link; another folder is another setting, and so is one that does not exist."""
    for name in ("a", "b"):
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "models")
    monkeypatch.chdir(tmp_path)

    def start(model: str) -> None:
        config = {"model": "", "judge": {"actor_model": model}}
        with RunStore.open(tmp_path / "run", Manifest(spar_version="0", config=config)) as store:
            if not store.trees:
                store.append(tree("a"))

    start("models/a")
    for name in (str(tmp_path / "models" / "a"), "./models/a/", "link/a"):
        start(name)
    for name in ("models/b", "models/c", ""):
        with pytest.raises(ConfigChanged, match="actor_model"):
            start(name)
    assert read_manifest(tmp_path / "run").config["judge"] == {"actor_model": "models/a"}


def test_changed_templates_are_refused(tmp_path: Path) -> None:
    """Another template gives other results, so the run cannot be resumed with it."""
    fill(tmp_path, "a")
    with pytest.raises(ConfigChanged, match=r'templates\.judge: \(absent\) -> "1f"'):
        RunStore.open(tmp_path, manifest().model_copy(update={"templates": {"judge": "1f"}}))


@pytest.mark.parametrize("free", ["engine", "engine.batch"])
def test_free_fields_may_change(tmp_path: Path, free: str) -> None:
    """Keys that do not affect results are neither compared nor part of the digest."""
    fill(tmp_path, "a")
    changed = manifest({**CONFIG, "engine": {"batch": 64}}, free=(free,))
    with RunStore.open(tmp_path, changed) as store:
        assert store.done == {"a"}
    assert changed.digest == manifest(free=(free,)).digest != manifest().digest


def test_digest_follows_values_not_order() -> None:
    """The digest is that of canonical JSON, so it is the same in every process."""
    assert config_digest({"b": (1, 2), "a": {"d": "é", "c": None}}) == "d76b42e008b903d8"
    assert config_digest({"a": {"c": None, "d": "é"}, "b": [1, 2]}) == "d76b42e008b903d8"
    assert config_digest({"a": 1}) != config_digest({"a": 1.5})


def test_fresh_deletes_only_what_a_run_owns(tmp_path: Path) -> None:
    """Trees, summary and log of the earlier run are deleted; other files stay."""
    fill(tmp_path, "a")
    with RunStore.open(tmp_path, manifest()) as store:
        store.write_summary({"solved": 1})
        store.log("old")
    (tmp_path / "notes.md").write_text("mine")
    with RunStore.open(tmp_path, manifest({"model": "other"}), fresh=True) as store:
        assert store.done == set()
    assert (tmp_path / "notes.md").read_text() == "mine"
    assert read_manifest(tmp_path).config == {"model": "other"}
    assert (tmp_path / "log.txt").read_text() == ""
    assert not (tmp_path / "summary.json").exists()
    assert ids(tmp_path) == []


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    ("name", "content"), [("thesis.tex", "mine"), ("trees.jsonl", "{}"), ("run.json", '{"a": 1}')]
)
def test_a_directory_that_is_not_a_run_is_not_changed(
    tmp_path: Path, name: str, content: str, fresh: bool
) -> None:
    """A directory with other files is an error; no file is deleted or added."""
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match="run"):
        RunStore.open(tmp_path, manifest(), fresh=fresh)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == content


def test_an_unusable_directory_is_refused(tmp_path: Path) -> None:
    """A file in place of the directory is a UsageError."""
    (tmp_path / "file").write_text("mine")
    for name in ("file", "file/below"):
        with pytest.raises(UsageError, match="as a run directory: Not a directory"):
            RunStore.open(tmp_path / name, manifest())


def test_a_newer_schema_is_an_error(tmp_path: Path) -> None:
    """A run of a later version of spar is not read."""
    newer = {"schema_version": SCHEMA_VERSION + 1, "unheard": 1}
    (tmp_path / "run.json").write_text(json.dumps(newer))
    with pytest.raises(UsageError, match="upgrade spar"):
        read_manifest(tmp_path)


def test_summary_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed replacement leaves the old summary in place; a later one replaces it."""
    with RunStore.open(tmp_path, manifest()) as store:
        store.write_summary({"solved": 1})
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing_sync)
            with pytest.raises(RunStopped, match="Input/output error"):
                store.write_summary({"solved": 2})
        assert read_summary(tmp_path) == {"solved": 1}
        store.write_summary({"solved": 3, "text": "\ud800"})
    assert read_summary(tmp_path) == {"solved": 3, "text": "\ud800"}


def test_a_note_after_the_end_is_left_out(tmp_path: Path) -> None:
    """A cache that several runs share may fail when the one whose log it writes to has ended."""
    with RunStore.open(tmp_path, manifest()) as store:
        store.log("first")
    store.log("second")
    assert [line.split(" ", 1)[1] for line in (tmp_path / "log.txt").read_text().splitlines()] == [
        "first"
    ]


def test_log_lines_are_dated_and_escaped(tmp_path: Path) -> None:
    """Escape codes, line breaks and surrogates in a line are escaped."""
    with RunStore.open(tmp_path, manifest()) as store:
        store.log("naïve \x1b[31m\nred \ud800")
        store.log("second")
    first, second = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert first.endswith("+00:00 naïve \\x1b[31m\\nred \\ud800")
    assert second.endswith(" second")


def test_reading_and_resuming_take_little_memory(tmp_path: Path) -> None:
    """Memory stays far below the size of the file."""
    path = fill(tmp_path)
    line = tree("<id>", "x" * 10_000).to_json()
    path.write_text("".join(line.replace("<id>", str(number)) + "\n" for number in range(500)))
    tracemalloc.start()
    try:
        num_trees = sum(1 for _ in read_trees(tmp_path))
        with RunStore.open(tmp_path, manifest()) as store:
            num_done = len(store.done)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (num_trees, num_done) == (500, 500)
    assert peak < path.stat().st_size / 10
