"""A run knows its prompts: by content in any order, changed, removed and added ones, and trees without an answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spar
from spar.errors import ConfigChanged, RunStopped, UsageError
from spar.listener import Listener
from spar.plugins import JUDGES
from spar.store import CALLS, SUMMARY, TREES, read_summary, read_trees
from spar.types import Usage


class Notes(Listener):
    """Collects the notes and the trees of a run."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.ids: list[str] = []

    def note(self, line: str) -> None:
        """A line for the user."""
        self.lines.append(line)

    def tree(self, tree: spar.SearchTree) -> None:
        """A tree that was made now."""
        self.ids.append(tree.prompt.id)


def run(path: Path, rows: Sequence[Any], **settings: Any) -> Notes:
    """Write a file of prompts, and decode it with the fake engine into `path/run`."""
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    file = path / ("p.txt" if all(isinstance(row, str) for row in rows) else "p.jsonl")
    file.write_text(text)
    notes = Notes()
    options = {"engine": "fake", "budget": 1, "votes": 1, **settings}
    spar.decode(file, out=path / "run", listener=notes, **options)
    return notes


def trees(path: Path) -> list[str]:
    """Ids of the trees in the file, in order."""
    return [tree.prompt.id for tree in read_trees(path / "run")]


def test_a_file_in_another_order_is_searched_once(tmp_path: Path) -> None:
    """Reversed, with equal rows and a new one, only the new one is searched."""
    lines = ["one", "two", "same", "same"]
    first = run(tmp_path, lines)
    assert len(first.ids) == 4 == len({*first.ids})
    assert run(tmp_path, [*reversed(lines)]).ids == []
    again = run(tmp_path, ["new", *reversed(lines)])
    assert len(again.ids) == 1
    assert read_summary(tmp_path / "run")["trees"] == 5


def test_a_run_that_was_killed_after_its_last_tree_is_finished_by_the_same_command(
    tmp_path: Path,
) -> None:
    """The summary is written, and the journal, whose replies are all in the trees, is deleted."""
    run(tmp_path, ["one", "two"])
    summary, journal = (tmp_path / "run" / name for name in (SUMMARY, CALLS))
    summary.unlink()
    journal.write_text('["one", "a reque')
    assert run(tmp_path, ["one", "two"]).ids == []
    assert read_summary(tmp_path / "run")["trees"] == 2
    assert not journal.exists()


def test_a_run_of_the_last_version_resumes_by_content(tmp_path: Path) -> None:
    """Its ids come from the lines; in another order every prompt finds its tree."""
    run(tmp_path, ["a", "b", "c"])
    path = tmp_path / "run" / TREES
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for line, row in enumerate(rows, start=1):
        row["prompt"]["id"] = f"{line:06d}{row['prompt']['id'][6:]}"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = trees(tmp_path)
    assert run(tmp_path, ["c", "b", "a"]).ids == []
    result = spar.decode(tmp_path / "p.txt", out=tmp_path / "run", engine="fake", budget=1, votes=1)
    assert [tree.prompt.id for tree in result] == before[::-1]


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "other text"}, "'a' was 'first text' and is 'other text'"),
    ({"prompt": "first text", "note": 1}, "'a' has another 'note'"),
    (
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "first text"},
            ]
        },
        "'a' has other turns before 'first text'",
    ),
]


@pytest.mark.parametrize(("row", "words"), CHANGES, ids=["text", "meta", "turns"])
def test_a_changed_prompt_is_named(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    """It is refused in one line, or searched again where that is asked for; its old tree is gone then."""
    rows = [{"id": "a", "prompt": "first text"}, {"id": "b", "prompt": "b"}]
    run(tmp_path, rows)
    changed = [{"id": "a", **row}, rows[1]]
    with pytest.raises(ConfigChanged) as caught:
        run(tmp_path, changed)
    assert words in str(caught.value)
    assert "--redo changed" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert trees(tmp_path) == ["a", "b"]
    assert run(tmp_path, changed, redo=("changed",)).ids == ["a"]
    assert sorted(trees(tmp_path)) == ["a", "b"]
    assert run(tmp_path, changed).ids == []


def test_another_file_is_not_mixed_in(tmp_path: Path) -> None:
    """A run without any tree of these prompts is refused, or gets them beside its own."""
    run(tmp_path, ["a", "b"])
    with pytest.raises(ConfigChanged, match=r"trees of other prompts \(2\) and none of these"):
        run(tmp_path, ["c", "d"])
    assert len(run(tmp_path, ["c", "d"], redo=("changed",)).ids) == 2
    assert read_summary(tmp_path / "run")["trees"] == 2


def test_prompts_that_are_not_asked_for_do_not_count(tmp_path: Path) -> None:
    """With a limit or a removed row, the other trees stay in the file and out of the summary."""
    lines = [f"line {number}" for number in range(5)]
    run(tmp_path, lines)
    notes = run(tmp_path, lines, limit=2)
    assert "stored trees of prompts that are not asked for: 3; they are not counted" in notes.lines
    summary = read_summary(tmp_path / "run")
    assert (summary["trees"], summary["prompts"]) == (2, 2)
    assert len(trees(tmp_path)) == 5
    run(tmp_path, lines[1:])
    assert read_summary(tmp_path / "run")["trees"] == 4


def test_objects_are_checked_like_rows(tmp_path: Path) -> None:
    """Prompts passed from Python: by content, and refused where an id has another text."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1, "votes": 1, "out": tmp_path / "run"}
    result = spar.decode(["one", "same", "same", {"id": "x", "prompt": "y"}], **options)
    assert len({tree.prompt.id for tree in result}) == 4
    notes = Notes()
    spar.decode([{"id": "x", "prompt": "y"}, "same", "one"], listener=notes, **options)
    assert notes.ids == []
    with pytest.raises(ConfigChanged, match="'x' was 'y' and is 'z'"):
        spar.decode([{"id": "x", "prompt": "z"}], **options)
    for meta in ({"b": 1, "a": float("nan")}, {"a": object()}):
        prompt = spar.Prompt(id="n", messages=(spar.Message(role="user", content="n"),), meta=meta)
        with pytest.raises(UsageError, match=r'prompt 1: "a" is no JSON: .*; accepted: '):
            spar.decode([prompt], **options)


def test_numbers_of_numpy_in_rows_are_those_of_python() -> None:
    """As rows of a data frame have them; an id of NumPy is an id."""
    row = {"id": np.int64(7), "prompt": "x", "level": np.float32(0.5), "counts": np.arange(2)}
    tree = spar.search(row, engine="fake", budget=1, votes=1)
    assert tree.prompt.id == "7" and tree.prompt.meta == {"level": 0.5, "counts": [0, 1]}


@pytest.mark.parametrize("meta", [{"k": {2: 1, 10: 2}}, {"k": {2: 1, "a": (2,)}}])
def test_keys_that_are_numbers_are_those_that_the_run_stores(
    tmp_path: Path, meta: dict[str, Any]
) -> None:
    """JSON makes texts of them: sorted as numbers, or not at all beside texts, the prompt would be another on resuming."""
    prompt = spar.Prompt(id="n", messages=(spar.Message(role="user", content="n"),), meta=meta)
    for _ in range(2):
        (tree,) = spar.decode([prompt], engine="fake", budget=1, votes=1, out=tmp_path / "run")
        assert tree.prompt.meta == json.loads(json.dumps(meta))


def test_trees_without_an_answer_are_searched_again_on_request(tmp_path: Path) -> None:
    """They are counted and named on resuming; with `redo`, they are searched once more and replaced."""
    run(tmp_path, ["a", "b"])
    path = tmp_path / "run" / TREES
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    fault = {"parent": None, "stage": "draft", "reason": "refused"}
    rows[0] |= {"nodes": [], "selected": None, "faults": [fault], "stop": "exhausted"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    notes = run(tmp_path, ["a", "b"])
    assert notes.ids == []
    assert "stored trees without an answer: 1; --redo unanswered searches them again" in notes.lines
    assert read_summary(tmp_path / "run")["unanswered"] == 1
    assert run(tmp_path, ["a", "b"], redo=("unanswered",)).ids == [rows[0]["prompt"]["id"]]
    assert read_summary(tmp_path / "run")["unanswered"] == 0
    assert len(trees(tmp_path)) == 2


def test_of_two_trees_of_one_prompt_the_last_counts(tmp_path: Path) -> None:
    """The summary counts one, and the file keeps one."""
    run(tmp_path, ["a", "b"])
    path = tmp_path / "run" / TREES
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in [*lines, lines[0]]))
    run(tmp_path, ["a", "b"])
    assert read_summary(tmp_path / "run")["trees"] == 2
    assert path.read_text().splitlines() == [lines[1], lines[0]]


class Meddler(Listener):
    """Does something to the run directory after the second tree."""

    def __init__(self, harm: Any) -> None:
        self._harm, self._trees = harm, 0

    def tree(self, tree: spar.SearchTree) -> None:
        """Count, and do it."""
        self._trees += 1
        if self._trees == 2:
            self._harm()


@pytest.mark.parametrize("last", [False, True], ids=["between", "at-the-end"])
@pytest.mark.parametrize("harm", ["file", "folder", "moved", "emptied", "replaced"])
def test_a_meddled_run_directory_is_noticed(tmp_path: Path, harm: str, last: bool) -> None:
    """Trees deleted, moved, cut or replaced while the run writes them: it stops and claims nothing."""
    out = tmp_path / "run"
    harms = {
        "file": lambda: (out / TREES).unlink(),
        "folder": lambda: shutil.rmtree(out),
        "moved": lambda: out.rename(tmp_path / "elsewhere"),
        "emptied": lambda: (out / TREES).write_bytes(b""),
        "replaced": lambda: (
            shutil.copy(out / TREES, tmp_path / "t") and (tmp_path / "t").replace(out / TREES)
        ),
    }
    with pytest.raises(RunStopped, match=r"trees\.jsonl was .* while it was written") as caught:
        spar.decode(
            ["a", "b"] if last else ["a", "b", "c", "d"],
            out=out,
            engine="fake",
            budget=1,
            votes=1,
            concurrency=1,
            listener=Meddler(harms[harm]),
        )
    assert "trees may be lost" in str(caught.value)
    assert "saved" not in str(caught.value)


@dataclass
class Strict:
    """A judge with parameters: a plain one, a text and a function."""

    least: int = 1
    rubric: str = ""
    rule: Any = len

    async def judge(
        self, prompt: spar.Prompt, response: str, seeds: Any
    ) -> tuple[spar.Judgement, Usage]:
        """By length."""
        passed = self.rule(response) >= self.least
        return spar.Judgement(verdicts=(passed,), critique=self.rubric), Usage()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Strict(least=2), r"least of the judge object: 1 -> 2"),
        (Strict(rubric="secret"), r"rubric of the judge object: .*sha256"),
        (Strict(rule=sum), "rule of the judge object: .*builtins:len.* -> .*builtins:sum"),
    ],
    ids=["number", "text", "function"],
)
def test_an_objects_parameters_are_those_of_the_run(
    tmp_path: Path, other: Strict, words: str
) -> None:
    """Plain arguments must not change on resuming; texts are recorded by digest, functions by name or code."""
    options: dict[str, Any] = {"engine": "fake", "budget": 1, "out": tmp_path / "run"}
    name = JUDGES.name_of(Strict())
    spar.decode(["a"], judge=name, **options)
    del JUDGES._objects._objects[
        name
    ]  # another process, where the object that is passed has the same name
    renamed = JUDGES.name_of(other)
    for values in (JUDGES._objects._objects, JUDGES._objects._descriptions):
        values[name] = values.pop(renamed)
    assert "secret" not in (tmp_path / "run" / "run.json").read_text()
    with pytest.raises(ConfigChanged, match=words):
        spar.decode(["a"], judge=name, **options)
