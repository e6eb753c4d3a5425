"""Runs are found wherever they lie, and each says what it is and how it stands."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spar import decode
from spar.errors import UsageError
from spar.files import locked
from spar.manifest import Manifest
from spar.record.run_log import read_starts, start_line
from spar.store import RunStore
from tests.tui.tree_files import append, line_of, tree
from tui.index.run_list import RunWalk, WalkLimits
from tui.index.run_summary import RunSummary, is_locked, read_run
from tui.index.scores import MetricValue
from tui.index.watcher import RunWatcher

TOTALS = {"trees": 4, "solved": 3, "completion_tokens": 900, "passed_after": 0.5}


def make(directory: Path, totals: dict[str, Any] | None = TOTALS, **config: Any) -> Path:
    """A run directory with one tree and these totals."""
    settings = {"strategy": "bfs", "budget": 15, "prompts": "p.jsonl", "limit": None, **config}
    wanted = Manifest(
        spar_version="0", config=settings, models={"actor": "nano"}, created="2026-01-02"
    )
    with RunStore.open(directory, wanted) as store:
        store.append(tree("a"))
        if totals is not None:
            store.write_summary(totals)
    return directory


def read(directory: Path, parent: Path | None = None) -> RunSummary:
    """Summarize a directory that must be a run."""
    run = read_run(directory, parent)
    assert run is not None
    return run


def put(path: Path, value: Any) -> None:
    """Write a JSON file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def found(root: Path, limits: WalkLimits = WalkLimits()) -> list[str]:
    """The runs below a folder, as paths from there."""
    return [str(run.directory.relative_to(root)) for run in RunWalk(root, limits)]


def test_a_finished_run(tmp_path: Path) -> None:
    """Every field of a row, by hand."""
    assert read(make(tmp_path / "a")) == RunSummary(
        directory=tmp_path / "a",
        kind="decode",
        state="finished",
        strategy="bfs",
        budget=15,
        models=(("actor", "nano"),),
        trees=4,
        solved=0.75,
        truth=0.5,
        tokens=900,
        date="2026-01-02",
        prompts="p.jsonl",
    )


def test_a_run_with_a_judge_and_costs(tmp_path: Path) -> None:
    """Before and after with the error, and what a prompt cost; a run of one response a prompt has no before."""
    more = {"passed_before": 0.25, "passed_after_stderr": 0.1, "calls": 20, "nodes": 9}
    run = read(make(tmp_path / "a", {**TOTALS, **more}, judge="votes", prompts="--prompt Say hi."))
    assert (run.before, run.truth, run.error, run.calls) == (0.25, 0.5, 0.1, 20)
    assert (run.judge, run.prompts, run.tokens_each, run.budget) == ("votes", "Say hi.", 225, 15)
    greedy = read(make(tmp_path / "b", {**TOTALS, **more, "nodes": 4}))
    assert (greedy.before, greedy.truth, greedy.single) == (None, 0.5, True)


def test_the_time_of_more_prompts_than_the_totals_count(tmp_path: Path) -> None:
    """A smaller --limit leaves the totals of fewer prompts, and the time of all: it would be divided by the wrong number."""
    log = "2026-01-02T10:00:00+00:00 {}\n"
    for total, seconds in ((4, 8.0), (9, None)):
        directory = tmp_path / f"{total}"
        make(directory, {**TOTALS, "prompts": 4, "seconds": 8.0, "engines": {"e": {}}})
        (directory / "log.txt").write_text(log.format(start_line(0, total)))
        assert read(directory).seconds == seconds


def test_the_starts_of_a_run(tmp_path: Path) -> None:
    """Its log says how many prompts it has, when it was started, and whether it was resumed; other lines are skipped."""
    make(tmp_path / "a", None)
    log = tmp_path / "a" / "log.txt"
    line = "2026-01-02T10:00:00+00:00 {}\n"
    log.write_text(line.format(start_line(0, 60)) + line.format("started: many") + "started\n")
    run = read(tmp_path / "a")
    assert (run.expected, run.is_resumed, len(run.starts)) == (60, False, 1)
    assert run.starts[0].seconds_left(0, run.starts[0].at) is None
    later = run.starts[0].at + timedelta(seconds=30)
    assert run.starts[0].seconds_left(15, later) == 90
    log.write_text(log.read_text() + line.format(start_line(1, 60)))
    assert read(tmp_path / "a").is_resumed


def test_a_run_logs_its_starts(tmp_path: Path) -> None:
    """A run writes the line that the list of runs reads."""
    for limit in (1, 2):
        decode(limit=limit, out=tmp_path / "a", engine="fake", strategy="best-of-n", budget=2)
    starts = read_starts(tmp_path / "a")
    assert [(start.done, start.total) for start in starts] == [(0, 1), (1, 2)]


def test_the_metrics_of_an_evaluation(tmp_path: Path) -> None:
    """All over all examples, without those of groups; the first one is the run's."""
    make(tmp_path / "a", benchmark="ifeval")
    metric = {"value": 0.5, "stderr": 0.1, "n": 4}
    metrics = {"prompt": metric, "prompt/length": metric, "words": {**metric, "value": 7}, "odd": 3}
    put(tmp_path / "a" / "results.json", {"metrics": metrics, "units": {"words": "words"}})
    run = read(tmp_path / "a")
    assert [(m.name, m.last) for m in run.metrics] == [
        ("prompt", MetricValue(0.5, 0.1)),
        ("words", MetricValue(7, 0.1, "words")),
    ]
    assert (run.before, run.truth, run.error) == (None, 0.5, 0.1)


def test_a_running_run(tmp_path: Path) -> None:
    """A held lock is detected; the check neither takes nor releases it."""
    make(tmp_path)
    with locked(tmp_path / "run.lock"):
        for _ in range(3):
            assert read(tmp_path).state == "running"
    assert read(tmp_path).state == "finished"
    with (tmp_path / "run.lock").open("rb") as other:
        assert not is_locked(tmp_path / "run.lock")
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert is_locked(tmp_path / "run.lock")


@pytest.mark.parametrize(
    ("totals", "config", "state", "why"),
    [
        (None, {}, "stopped", "it did not finish"),
        ({**TOTALS, "prompts": 9}, {}, "stopped", "it has 4 of 9 trees"),
        ({**TOTALS, "prompts": 4}, {}, "finished", ""),
        (TOTALS, {"prompts": "", "limit": 5}, "stopped", "it has 4 of 5 trees"),
        (TOTALS, {"prompts": "", "limit": 4}, "finished", ""),
        (TOTALS, {"prompts": ""}, "stopped", "it has 4 of 100 trees"),
        (TOTALS, {"benchmark": "ifeval"}, "stopped", "it has no results.json"),
    ],
)
def test_a_stopped_run(
    tmp_path: Path, totals: dict[str, Any] | None, config: dict[str, Any], state: str, why: str
) -> None:
    """A run that did not finish is stopped, if its files show it."""
    run = read(make(tmp_path / "a", totals, **config))
    assert (run.state, run.reason) == (state, why)


def test_a_run_that_was_resumed_and_killed(tmp_path: Path) -> None:
    """Its trees are much newer than its totals."""
    make(tmp_path)
    os.utime(tmp_path / "summary.json", (1000, 1000))
    assert read(tmp_path).state == "stopped"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not JSON"),
        ("[]", "expected a JSON object"),
        ('{"schema_version": 99}', "has schema version 99"),
        ("{}", "is not the manifest of a run"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_broken_run(tmp_path: Path, text: str, why: str) -> None:
    """The reason is one line; nothing crashes."""
    (tmp_path / "run.json").write_text(text)
    run = read(tmp_path)
    assert run.state == "broken"
    assert why in run.reason and "\n" not in run.reason


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"trees": "x", "solved": null, "passed_after": []}']
)
def test_damaged_totals(tmp_path: Path, text: str) -> None:
    """An empty summary counts as none."""
    make(tmp_path)
    (tmp_path / "summary.json").write_text(text)
    run = read(tmp_path)
    assert (run.trees, run.solved, run.truth) == (None, None, None)


def test_an_evaluation(tmp_path: Path) -> None:
    """Results beside the trees make it one, and give its ground truth; its stages are decode runs below."""
    run = make(tmp_path / "nano-if", benchmark="nano-if")
    make(run / "judge", benchmark="nano-if")
    put(run / "results.json", {"benchmark": "nano-if", "metrics": {"pass": {"value": 0.9}}})
    runs = list(RunWalk(tmp_path))
    assert [(r.kind, r.state, r.truth, r.parent) for r in runs] == [
        ("evaluation", "finished", 0.9, None),
        ("decode", "finished", 0.5, run),
    ]
    assert runs[0].benchmark == "nano-if"


def test_an_evaluation_of_given_answers(tmp_path: Path) -> None:
    """It has no trees and no summary; nobody knows the model and the search that wrote them."""
    run = make(tmp_path / "nano-if", None, benchmark="nano-if", responses="answers.jsonl")
    (run / "trees.jsonl").unlink()
    results = {"benchmark": "nano-if", "n": 10, "metrics": {"pass": {"value": 0.9}}}
    put(run / "results.json", {**results, "run": {"model": ""}})
    found = read(run)
    assert (found.kind, found.state, found.truth, found.trees) == (
        "evaluation",
        "finished",
        0.9,
        10,
    )
    assert (found.strategy, found.budget, found.models, found.judge) == ("", None, (), "")


def make_loop(directory: Path, **config: Any) -> Path:
    """A training loop of two iterations, the second one not finished."""
    settings = {"begins": {}, "iterations": 2, "benchmarks": ["b"], **config}
    put(directory / "run.json", Manifest(spar_version="0", config=settings).model_dump())
    for number, state in ((0, "done"), (1, "done"), (2, "failed")):
        home = directory / f"iteration-{number}"
        put(home / "eval.json", {"stage": "eval", "state": state, "message": "out of\nmemory"})
        make(home / "search")
        put(home / "dpo" / "run.json", Manifest(spar_version="0", config={"beta": 1}).model_dump())
    put(
        directory / "iteration-1" / "eval" / "scores.json",
        {"greedy": {"pass": {"value": 0.8}}, "sampled": {"pass": {"value": 0.7}}},
    )
    return directory


def test_a_training(tmp_path: Path) -> None:
    """Its stages are listed below it, a trainer's folder is not a run, and its latest score is shown."""
    loop = make_loop(tmp_path / "loop")
    runs = list(RunWalk(tmp_path))
    assert [str(r.directory.relative_to(tmp_path)) for r in runs] == [
        "loop",
        *(f"loop/iteration-{n}/search" for n in range(3)),
    ]
    assert [r.parent for r in runs] == [None, loop, loop, loop]
    assert (runs[0].kind, runs[0].state, runs[0].truth) == ("training", "stopped", 0.8)
    assert runs[0].reason == "stage 2/eval: out of memory"
    assert runs[0].iterations == tuple(loop / f"iteration-{n}" for n in range(3))
    assert [r.browsable for r in runs] == [False, True, True, True]


def test_a_finished_training(tmp_path: Path) -> None:
    """It is finished when the last stage of its last iteration is done."""
    loop = make_loop(tmp_path / "loop")
    put(loop / "iteration-2" / "eval.json", {"state": "done"})
    assert read(loop).state == "finished"
    put(loop / "iteration-2" / "eval.json", {"state": "running"})
    assert read(loop).reason == "stage 2/eval: interrupted"
    assert read(make_loop(tmp_path / "one", iterative=False, iterations=3)).state == "finished"


def test_an_evaluation_that_a_training_runs(tmp_path: Path) -> None:
    """It is one before its results are there, though it lies below another run."""
    loop = make_loop(tmp_path / "loop")
    folder = make(loop / "iteration-1" / "eval" / "greedy" / "nano-if", benchmark="nano-if")
    assert read(folder, loop).kind == "evaluation"


def test_the_folder_may_be_a_run_itself(tmp_path: Path) -> None:
    """Near runs come first, by name, and those below a run know it."""
    make(tmp_path)
    make(tmp_path / "b")
    make(tmp_path / "a" / "x")
    make(tmp_path / "b" / "drafts")
    assert found(tmp_path) == [".", "b", "a/x", "b/drafts"]
    assert [run.parent for run in RunWalk(tmp_path)][-1] == tmp_path / "b"


def test_loops_of_links_end(tmp_path: Path) -> None:
    """A link to a parent, to itself, to nothing or to a visited run adds nothing."""
    make(tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "twin").symlink_to(tmp_path / "a")
    assert found(tmp_path) == ["a"]


def test_a_linked_run_is_found(tmp_path: Path) -> None:
    """A link to a run elsewhere is followed."""
    make(tmp_path / "far" / "run")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "link").symlink_to(tmp_path / "far")
    assert found(tmp_path / "near") == ["link/run"]


def test_what_cannot_be_read_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without permission is skipped, the others are found."""
    make(tmp_path / "a")
    make(tmp_path / "b")
    real = os.scandir

    def scandir(path: Path) -> Any:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    walk = RunWalk(tmp_path)
    assert [run.directory.name for run in walk] == ["b"]
    assert (walk.unreadable, walk.truncated) == (1, False)


@pytest.mark.parametrize(
    "limits", [WalkLimits(depth=1), WalkLimits(directories=3), WalkLimits(seconds=-1)]
)
def test_limits(tmp_path: Path, limits: WalkLimits) -> None:
    """A walk stops at each of its limits and is marked as truncated."""
    make(tmp_path / "a")
    make(tmp_path / "b" / "c")
    walk = RunWalk(tmp_path, limits)
    assert len(list(walk)) < 2
    assert walk.truncated
    assert found(tmp_path) == ["a", "b/c"]


def test_hidden_folders_are_skipped(tmp_path: Path) -> None:
    """Hidden folders are skipped."""
    make(tmp_path / ".hidden" / "a")
    make(tmp_path / "__pycache__")
    assert found(tmp_path) == []


def test_no_such_folder(tmp_path: Path) -> None:
    """A path that is not a folder is a usage error."""
    with pytest.raises(UsageError, match="there is no folder"):
        list(RunWalk(tmp_path / "gone"))


def test_a_run_in_progress_counts_trees(tmp_path: Path) -> None:
    """Each prompt once, by its last tree, as exports do; a line that is half written is none."""
    run = make(tmp_path / "a", None)
    lines = [tree("b", stop="budget"), tree("a", stop="budget"), tree("b")]
    append(run / "trees.jsonl", *lines)
    append(run / "trees.jsonl", line_of(tree("c"))[:300], end=b"")
    watcher = RunWatcher([tmp_path])
    watcher.scan()
    [counted] = watcher.latest.runs
    assert (counted.trees, counted.solved, counted.tokens_each) == (2, 0.5, 23)
    append(run / "trees.jsonl", line_of(tree("c"))[300:])
    watcher.scan()
    [counted] = watcher.latest.runs
    assert (counted.trees, counted.solved) == (3, 2 / 3)
    watcher.close()
