"""Loops of several arms and seeds at once: as many as were asked for, with the same results, and an end for all."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spar.errors import RunStopped
from spar.experiments.experiment import Plan
from spar.experiments.loops import pool
from spar.experiments.loops.loops import Loops, Sizes
from spar.experiments.loops.pool import (
    WHOLE,
    Arm,
    last_end,
    num_parallel,
    one_thread,
    run_loops,
)
from spar.listener import Activity, Listener
from spar.stage_processes import stage_processes
from spar.store import read_trees
from spar.train.recipe import TrainConfig
from spar.train.stage import Stage
from spar.worker import execute_in_process

PLAN = Plan(seeds=2, quick=True, listener=Listener())
SHUFFLED = Arm("shuffled", ("shuffle_labels=true",))


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops are not read from their folders."""
    monkeypatch.setattr(pool, "read_loop", lambda _: SimpleNamespace(scores={0: {}}))


@pytest.mark.parametrize("parallel", [1, 2, 4])
async def test_loops_of_arms_and_seeds_share_the_processes(
    parallel: int, folders: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many run at once as the plan says, each once with its own settings, whatever that number is."""
    running_now, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(parallel, timeout=120)
    trained: dict[str, tuple[int, bool]] = {}

    def train(config: TrainConfig, *, out: Path, **_: Any) -> None:
        nonlocal running_now, most
        with lock:
            running_now += 1
            most = max(most, running_now)
        together.wait()
        with lock:
            running_now -= 1
            assert out.name not in trained
            trained[out.name] = config.seed, config.shuffle_labels

    monkeypatch.setattr(pool, "train", train)
    plan = replace(PLAN, runs=tmp_path, parallel_loops=parallel)
    loops = await run_loops(plan, WHOLE, SHUFFLED)
    assert most == parallel
    assert [[folder.name for folder in each.folders] for each in loops] == [
        ["nano-seed-0", "nano-seed-1"],
        ["shuffled-seed-0", "shuffled-seed-1"],
    ]
    assert trained == {
        "nano-seed-0": (0, False),
        "nano-seed-1": (1, False),
        "shuffled-seed-0": (0, True),
        "shuffled-seed-1": (1, True),
    }


def endless(started: list[int], ended: list[int]) -> Callable[..., None]:
    """A training that goes on until its listener ends it, which takes a moment."""

    def train(config: TrainConfig, *, listener: Listener, **_: Any) -> None:
        started.append(config.seed)
        try:
            while True:
                time.sleep(0.01)
                listener.progress(Activity("1/draft"))
        finally:
            time.sleep(0.1)
            ended.append(config.seed)

    return train


async def test_a_loop_that_fails_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is raised once their stages have ended; loops that wait for their turn are not started."""
    started: list[int] = []
    ended: list[int] = []

    def train(config: TrainConfig, **more: Any) -> None:
        if config.seed == 0:
            time.sleep(0.1)
            raise RunStopped("the disk is full")
        endless(started, ended)(config, **more)

    monkeypatch.setattr(pool, "train", train)
    plan = replace(PLAN, seeds=3, runs=tmp_path, parallel_loops=2)
    with pytest.raises(RunStopped, match="nano-seed-0: the disk is full"):
        await run_loops(plan, WHOLE)
    assert started == ended == [1]


async def test_an_interrupt_ends_every_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is passed on."""
    started: list[int] = []
    ended: list[int] = []
    monkeypatch.setattr(pool, "train", endless(started, ended))
    plan = replace(PLAN, seeds=3, runs=tmp_path, parallel_loops=2)
    task = asyncio.create_task(run_loops(plan, WHOLE))
    while len(started) < 2:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(started) == sorted(ended) == [0, 1]


@pytest.mark.parametrize(
    ("cores", "gib", "gpus", "expected"),
    [(2, 16, (), 2), (16, 9, (), 4), (4, 1, (), 1), (16, 99, ("one",), 1)],
)
def test_cores_and_memory_limit_how_many_loops_run_at_once(
    cores: int,
    gib: int,
    gpus: tuple[str, ...],
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two GB each; with GPUs, which a stage uses all, it is one. What the plan says is taken as it is."""
    monkeypatch.setattr(pool, "usable_cores", lambda: cores)
    monkeypatch.setattr(pool, "available_memory", lambda: gib << 30)
    monkeypatch.setattr(pool, "visible_gpus", lambda: gpus)
    assert num_parallel(PLAN) == expected
    assert num_parallel(replace(PLAN, parallel_loops=7)) == 7


@pytest.mark.parametrize(
    ("durations", "at_once", "end"),
    [((), 2, 0), ((3, 3, 3), 1, 9), ((3, 3, 3), 2, 6), ((1, 5, 1, 1), 2, 5), ((4, 4), 8, 4)],
)
def test_loops_end_when_the_last_of_them_does(
    durations: tuple[float, ...], at_once: int, end: float
) -> None:
    """Each starts when one before it has ended."""
    assert last_end(durations, at_once) == end


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops of one iteration."""
    monkeypatch.setattr(Sizes, "of", classmethod(lambda cls, _: cls(1, 6, 2, 2)))


SMALL = (
    *("measure_start=false", "samples=2", "decode.votes=1", "decode.budget=3", "min_pairs=1"),
    *("methods=[dpo]", "dpo.epochs=1", "dpo.warmup_ratio=0"),
)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(600)
async def test_what_loops_learn_does_not_depend_on_how_their_stages_run(
    small: None, tmp_path: Path
) -> None:
    """Alone in processes of their own, or beside another as forks: the same drafts, weights to the last bit, and scores.

    Loops that are trained start no stage again.
    """
    arms = (Arm("nano", SMALL), Arm("independent", (*SMALL, "pairs=independent")))
    titles: list[str] = []

    def counted(execute: Callable[..., None], stage: Stage, tick: Callable[[], None]) -> None:
        titles.append(stage.title)
        execute(stage, tick)

    learnt = []
    with stage_processes(one_thread()) as execute:
        for parallel, how in ((1, execute_in_process), (2, execute)):
            plan = replace(PLAN, seeds=1, runs=tmp_path / str(parallel), parallel_loops=parallel)
            plan = replace(plan, execute_stage=partial(counted, how))
            loops = await run_loops(plan, *arms[:parallel])
            learnt.append([what_is_learnt(each) for each in loops])
            num_stages = len(titles)
            await run_loops(plan, arms[0])
            assert len(titles) == num_stages
            assert {"1/draft", "1/dpo", "1/eval"} <= set(titles)
    assert learnt[0] == learnt[1][:1]
    assert learnt[1][0] != learnt[1][1]


def what_is_learnt(loops: Loops) -> tuple[dict[str, list[str]], bytes, list[Any]]:
    """Texts by prompt, weights, and which examples pass at each iteration."""
    (folder,) = loops.folders
    texts = {
        tree.prompt.id: [node.response for node in tree.nodes]
        for tree in read_trees(folder / "iteration-1" / "draft")
    }
    weights = (folder / "iteration-1" / "dpo" / "model" / "model.safetensors").read_bytes()
    return texts, weights, [loops.shares("sampled", "pass", time) for time in loops.times]
