"""`spar train` end to end on the embedded model: every stage a process, killed and resumed, and errors."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from spar.cli import run_train
from spar.cli.app import app
from spar.cli.invocation import Invocation
from spar.errors import UsageError
from spar.estimate import requirements
from spar.experiments.loops.loops import Loops
from spar.store import read_trees
from spar.subprocesses import await_end, family
from spar.train.recipe import TrainConfig
from spar.train.status import read_loop
from tests.cli.test_decode import spar
from tests.forked import run_spar, start_spar
from tests.requires import requires

pytestmark = requires("trl")

SMALL = (
    "prompts_per_iteration=8",
    "min_pairs=1",
    "eval.limit=6",
    *(f"{name}.batch=4" for name in ("dpo", "rft")),
    *(f"{name}.micro_batch=4" for name in ("dpo", "rft")),
    *(f"{name}.epochs=1" for name in ("dpo", "rft")),
    *(f"{name}.checkpoint_steps=1" for name in ("dpo", "rft")),
)
DATA = ("build/dpo.jsonl", "build/rft.jsonl", "eval/scores.json")
WEIGHTS = ("dpo/model/model.safetensors", "rft/model/model.safetensors")


def command(out: Path, *more: str) -> list[str]:
    """A small loop of one iteration."""
    changes = [part for change in SMALL for part in ("--set", change)]
    return ["train", "--iterations", "1", "--out", str(out), "--display", "plain", *changes, *more]


@pytest.fixture(scope="session")
def finished_loop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted loop."""
    run = tmp_path_factory.mktemp("train") / "whole"
    completed = subprocess.run(
        [sys.executable, "-m", "spar", *command(run)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return run


def test_the_loop_leaves_two_models_and_scores(finished_loop: Path) -> None:
    """Every stage is done, and the scores before and after are written."""
    state = read_loop(finished_loop)
    assert [stage.state for stage in state.stages] == ["done"] * 8
    for iteration in (0, 1):
        assert set(state.scores[iteration]) == {"greedy", "sampled", "refiner"}
        assert state.scores[iteration]["greedy"]["pass"]["n"] == 6
    for name in WEIGHTS:
        assert (finished_loop / "iteration-1" / name).is_file()


def test_a_report_reads_scores_and_tokens_of_the_loop(finished_loop: Path) -> None:
    """Every test prompt's share at each iteration, and the tokens that its training data took."""
    loops = Loops((finished_loop,), (0, 1))
    assert [len(loops.shares("greedy", "pass", time)[0]) for time in loops.times] == [6, 6]
    spent = {
        stage: [
            tree.usage.completion_tokens
            for tree in read_trees(finished_loop / "iteration-1" / stage)
        ]
        for stage in ("draft", "judge", "search")
    }
    assert sum(spent["draft"]) < loops.tokens(1) <= sum(map(sum, spent.values()))
    assert loops.tokens(0) == 0
    assert loops.models(1)[0].actor == str(finished_loop / "iteration-1" / "dpo" / "model")
    with pytest.raises(UsageError, match="no evaluation 'other'"):
        loops.shares("other", "pass", 0)


def test_the_drafts_are_judged_as_they_were_written(finished_loop: Path) -> None:
    """The judged run has the same drafts, with five votes each; a search starts from a failing draft."""
    home = finished_loop / "iteration-1"
    written = {tree.prompt.id: tree for tree in read_trees(home / "draft")}
    judged = {tree.prompt.id: tree for tree in read_trees(home / "judge")}
    assert judged.keys() == written.keys() and len(judged) == 8
    for id_, tree in judged.items():
        drafts = [node.response for node in written[id_].nodes]
        assert [node.response for node in tree.nodes] == drafts
        assert all(n.judgement and len(n.judgement.verdicts) == 5 for n in tree.nodes)
    for tree in read_trees(home / "search"):
        root = tree.nodes[0]
        assert root.judgement is not None and not root.judgement.passed(0.5)
        assert root.response in {node.response for node in judged[tree.prompt.id].nodes}
        assert len(tree.nodes) + len(tree.faults) <= 16


def test_the_trained_models_answer(finished_loop: Path) -> None:
    """The actor is an ordinary model folder for `spar decode`."""
    model = finished_loop / "iteration-1" / "dpo" / "model"
    completed = spar(
        "decode", "--prompt", "Write something short.", "--model", str(model), "--json"
    )
    assert json.loads(completed.stdout.splitlines()[-1])["trees"] == 1


def test_a_finished_loop_is_shown_again(finished_loop: Path) -> None:
    """Nothing runs; stages and scores are printed."""
    before = (finished_loop / "iteration-1" / "dpo.json").read_bytes()
    completed = spar("train", "--out", str(finished_loop), "--display", "plain")
    assert completed.returncode == 0, completed.stderr
    assert "every selected stage is done" in completed.stderr
    assert "sampled pass" in completed.stdout
    assert (finished_loop / "iteration-1" / "dpo.json").read_bytes() == before


def test_status(finished_loop: Path) -> None:
    """As a table and as JSON, without a model."""
    completed = spar("train", "status", str(finished_loop), "--json")
    facts = json.loads(completed.stdout)
    assert [s["stage"] for s in facts["stages"]][1:4] == ["draft", "judge", "search"]
    assert facts["scores"]["1"]["greedy"]["pass"]["n"] == 6
    assert "scores after each iteration" in spar("train", "status", str(finished_loop)).stdout
    refused = spar("train", "status", str(finished_loop / "iteration-1"))
    assert (refused.returncode, refused.stdout) == (2, "")


def test_a_loop_killed_in_every_stage_ends_the_same(finished_loop: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of each stage: the same data files, weights and scores."""
    run = tmp_path / "killed"
    for name in ("draft", "judge", "search", "build", "dpo", "rft", "eval"):
        _kill_in(run, name)
    completed = run_spar(command(run), tmp_path / "last")
    assert completed.returncode == 0, completed.stderr
    for name in (*DATA, *WEIGHTS):
        mine, other = (folder / "iteration-1" / name for folder in (run, finished_loop))
        assert mine.read_bytes() == other.read_bytes(), name
    starts = {one.stage.title: one.record.starts for one in read_loop(run).stages if one.record}
    assert starts["1/search"] >= 2 and starts["1/eval"] >= 2


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.skipif(sys.platform != "linux", reason="kill -9, and forks")
def test_nothing_outlives_a_killed_loop(tmp_path: Path) -> None:
    """kill -9 of the command while the process that its stages are forks of imports torch, then while such a fork drafts."""
    run = tmp_path / "run"
    home = run / "iteration-1"
    arguments = command(run, "--set", "measure_start=false", "--stop-after", "draft")
    for started, num_processes in ((home / "draft.json", 2), (home / "draft" / "trees.jsonl", 3)):
        with subprocess.Popen([sys.executable, "-m", "spar", *arguments]) as loop:
            while not (started.exists() and len(family([loop.pid])) == num_processes):
                assert loop.poll() is None
                time.sleep(0.02)
            members = family([loop.pid])
            loop.kill()
        assert await_end(members, 5) == []


def test_pairs_of_independent_drafts_from_the_same_searches(
    finished_loop: Path, tmp_path: Path
) -> None:
    """An ablation reuses the stages of a loop: another recipe is allowed from `build` on, and only there."""
    run = tmp_path / "copy"
    shutil.copytree(finished_loop, run)
    completed = _spar(
        [
            "train",
            "--out",
            str(run),
            "--rerun-from",
            "build",
            "--stop-after",
            "build",
            "--set",
            "pairs=independent",
            "--display",
            "plain",
        ]
    )
    assert completed.returncode == 0, completed.stderr
    report = json.loads((run / "iteration-1" / "build" / "build.json").read_text())
    assert report["pairing"] == "independent"
    assert "pairs: 'refined'" not in completed.stderr
    assert (run / "replaced" / "1" / "iteration-1" / "dpo" / "model").is_dir()


def test_too_few_pairs_stop_before_training(finished_loop: Path, tmp_path: Path) -> None:
    """The message has both numbers."""
    run = tmp_path / "copy"
    shutil.copytree(finished_loop, run)
    completed = _spar(
        [
            "train",
            "--out",
            str(run),
            "--rerun-from",
            "build",
            "--set",
            "min_pairs=8",
            "--display",
            "none",
        ]
    )
    assert completed.returncode == 2
    assert "stage 1/build" in completed.stderr and "8 are required" in completed.stderr
    assert f"; to go on: spar train --out {run} --set min_pairs=" in completed.stderr
    assert "Traceback" not in completed.stderr
    assert not (run / "iteration-1" / "dpo").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "dpo.learning_rat=1"], "learning_rat"),
        (["--recipe", "llama9"], "llama9"),
        (["--set", "decode.base_url=[http://127.0.0.1:9/v1]"], "cannot train those of a server"),
        pytest.param(["--model", "nowhere/at-all"], "nowhere/at-all", marks=pytest.mark.model),
        (["--rerun-from", "dop", "--out", "OUT"], "dop"),
        (
            ["--rerun-from", "dpo", "--stop-after", "build", "--dry-run"],
            "ends before it, with 1/build",
        ),
        (["missing.jsonl"], "missing.jsonl"),
        (["bad.jsonl"], "bad.jsonl:2"),
        (["-"], "give a file"),
    ],
)
def test_usage_errors_are_one_line(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, one line, before anything is loaded or written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_text('{"prompt": "Write."}\n{"promt": "Write."}\n')
    completed = spar("train", *arguments, "--display", "none")
    assert completed.returncode == 2
    assert words in completed.stderr and "Traceback" not in completed.stderr


def test_a_missing_encoder_is_an_early_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The pairs are measured after hours of search, so the package must be installed before."""
    monkeypatch.setattr(requirements, "has_package", lambda name: name != "sentence_transformers")
    config = TrainConfig(embedding_model="some/encoder")
    with pytest.raises(
        UsageError, match="the package 'sentence_transformers', for embedding_model"
    ):
        run_train.run(config, Invocation(tmp_path / "run", display="none"))
    assert not (tmp_path / "run").exists()


def test_a_dry_run_of_selected_stages(finished_loop: Path) -> None:
    """The stages from `--rerun-from` to `--stop-after` are counted."""
    completed = spar(
        "train",
        "--out",
        str(finished_loop),
        "--dry-run",
        "--rerun-from",
        "dpo",
        "--stop-after",
        "rft",
    )
    assert "2 stages to run, 1/dpo to 1/rft" in completed.stderr


def test_a_dry_run_prints_the_cost(tmp_path: Path) -> None:
    """Generations, steps and disk, and nothing is written."""
    completed = spar("train", "--dry-run", "--out", str(tmp_path / "run"))
    assert completed.returncode == 0, completed.stderr
    assert (
        "drafts" in completed.stderr and "steps" in completed.stderr and "disk" in completed.stderr
    )
    assert not (tmp_path / "run").exists()


def _spar(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spar", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def _kill_in(run: Path, name: str) -> None:
    """Start the loop, and kill it once the stage has started to write; its worker then ends by itself."""
    loop = start_spar(command(run), run.with_name(name))
    record, stop = run / "iteration-1" / f"{name}.json", time.monotonic() + 120
    try:
        while not (record.exists() and _has_started(run / "iteration-1", name)):
            assert loop.is_alive() and time.monotonic() < stop, f"{name} did not start"
            time.sleep(0.02)
    finally:
        assert loop.pid
        members = family([loop.pid])
        loop.kill()
        loop.join()
    assert await_end(members, 30) == []


def _has_started(home: Path, name: str) -> bool:
    """Whether a stage has written something; a fast stage may only have started."""
    marks = {"draft": "trees.jsonl", "judge": "trees.jsonl", "search": "trees.jsonl"}
    marks |= {"dpo": "metrics.jsonl", "rft": "metrics.jsonl"}
    if name not in marks:
        return (home / f"{name}.order.json").exists()
    path = home / name / marks[name]
    return path.exists() and path.stat().st_size > 0


@pytest.mark.vllm
def test_the_trained_models_answer_on_vllm(
    finished_loop: Path, forked_vllm: None, tmp_path: Path
) -> None:
    """Actor and refiner of an iteration run a search."""
    home = finished_loop / "iteration-1"
    actor, refiner = (str(home / name / "model") for name in ("dpo", "rft"))
    models = ("--actor-model", actor, "--refiner-model", refiner)
    small = (
        "--engine-arg",
        "enforce_eager=true",
        "--engine-arg",
        f"kv_cache_memory_bytes={1 << 28}",
    )
    args = ("--engine", "vllm", *small, "--limit", "2", "--budget", "4", "--out", tmp_path / "run")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        app(["decode", *models, *map(str, args), "--json"], standalone_mode=False)
    assert json.loads(printed.getvalue())["trees"] == 2
    assert all(tree.answer for tree in read_trees(tmp_path / "run"))
