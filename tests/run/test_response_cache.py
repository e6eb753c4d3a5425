"""Runs with a response cache: what one run was answered, another does not ask for; whose replies may be shared."""

from __future__ import annotations

import contextlib
import csv
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import spar
from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT
from spar.errors import SparError, UsageError
from spar.infer.engine import Deployment
from spar.infer.response_cache import FROM_CACHE
from spar.listener import Listener
from spar.run.cached_engine import model_stamps, namespace, stamps_once_opened
from spar.run.resume import load_summary
from spar.store import read_summary, read_trees
from tests.answers import Script
from tests.fakes import timeless
from tests.servers import ScriptedServer

SETTINGS: dict[str, Any] = {"budget": 7, "votes": 3, "seed": 1}


def trees(directory: Path) -> dict[str, str]:
    """Prompt id to tree, without times and without the digest of the settings."""
    return {
        tree.prompt.id: timeless(tree).model_copy(update={"config_digest": ""}).to_json()
        for tree in read_trees(directory)
    }


def test_a_run_takes_the_replies_of_another(tmp_path: Path) -> None:
    """Another directory, another strategy with the same drafts: trees and costs are as without a cache."""
    prompts = [f"prompt number {number}" for number in range(6)]
    cache = tmp_path / "cache.db"
    with ScriptedServer(Script()) as server:
        settings = {**SETTINGS, "base_url": server.url}
        spar.decode(prompts, out=tmp_path / "plain", strategy="bfs", **settings)
        asked = server.num_requests
        spar.decode(
            prompts, out=tmp_path / "first", strategy="bfs", response_cache=cache, **settings
        )
        assert server.num_requests == 2 * asked
        spar.decode(
            prompts, out=tmp_path / "again", strategy="bfs", response_cache=cache, **settings
        )
        assert server.num_requests == 2 * asked
        spar.decode(prompts, out=tmp_path / "dfs", strategy="dfs", response_cache=cache, **settings)
        assert server.num_requests - 2 * asked < asked / 2
    assert trees(tmp_path / "plain") == trees(tmp_path / "first") == trees(tmp_path / "again")
    plain, again = (read_summary(tmp_path / name) for name in ("plain", "again"))
    for count in ("calls", "prompt_tokens", "completion_tokens", "nodes", "solved"):
        assert plain[count] == again[count]
    (engine,) = again["engines"].values()
    assert (engine["calls"], engine["from_cache"]) == (0, plain["calls"])
    log = (tmp_path / "again" / "log.txt").read_text()
    assert f"{plain['calls']} of {plain['calls']} replies are from {cache}" in log


def test_a_run_may_be_resumed_with_a_cache_or_without(tmp_path: Path) -> None:
    """It does not decide what a run is."""
    with ScriptedServer(Script()) as server:
        settings = {**SETTINGS, "base_url": server.url, "out": tmp_path / "run"}
        spar.decode(["one"], response_cache=tmp_path / "cache.db", **settings)
        spar.decode(["one", "two"], **settings)
        spar.decode(["one", "two", "three"], response_cache=tmp_path / "cache.db", **settings)
    assert len(list(read_trees(tmp_path / "run"))) == 3


@pytest.mark.model
def test_a_sweep_with_a_cache_has_no_seconds(tmp_path: Path) -> None:
    """Its other numbers are those without one."""
    rows = []
    for name in ("plain", "cached"):
        spar.sweep(
            "nano-if-answers",
            strategies=["bfs", "best-of-n:waves=growing"],
            budgets=[1, 3],
            limit=4,
            out=tmp_path / name,
            response_cache="" if name == "plain" else tmp_path / "cache.db",
        )
        with (tmp_path / name / "nano-if-answers" / "sweep.csv").open() as file:
            rows.append(list(csv.DictReader(file)))
    plain, cached = rows
    assert all(row.pop("seconds") for row in plain)
    assert not any(row.pop("seconds") for row in cached)
    assert plain == cached


def test_an_interrupted_sweep_goes_on_at_every_strategy(tmp_path: Path) -> None:
    """Its strategies run at the same time; what each has is kept, and the table is that of a sweep in one go."""
    settings: dict[str, Any] = {
        "strategies": ["bfs", "best-of-n:waves=growing", "iterative"],
        "budgets": [1, 3],
        "limit": 5,
        "retry_for": 0.1,
    }
    said: list[str] = []

    class Noting(Listener):
        def note(self, line: str) -> None:
            said.append(line)

    with ScriptedServer(Script()) as server:
        settings["base_url"] = server.url
        spar.sweep("nano-if-answers", out=tmp_path / "whole", **settings)
        asked, server.seen = server.num_requests, []
        cached = {
            "out": tmp_path / "cut",
            "response_cache": tmp_path / "cache.db",
            **settings,
        }

        def fail(number: int) -> None:
            if number > asked // 6:
                server.script = replace(
                    server.script, answer=lambda _: (404, {"error": {"message": "gone"}})
                )

        server.on_request = fail
        with pytest.raises(SparError):
            spar.sweep("nano-if-answers", **cached)
        answered = server.num_requests
        server.on_request = lambda _: None
        server.script = Script()
        spar.sweep("nano-if-answers", listener=Noting(), **cached)
        assert server.num_requests - answered < asked
    tables = []
    for name in ("whole", "cut"):
        with (tmp_path / name / "nano-if-answers" / "sweep.csv").open() as file:
            rows = list(csv.DictReader(file))
        tables.append([{**row, "seconds": "", "replayed": ""} for row in rows])
    assert tables[0] == tables[1]
    assert len(said) == len({*said})


def test_whose_replies_may_be_shared(tmp_path: Path) -> None:
    """Those of one model in one format on one kind of machine; how many rows it has there does not matter."""
    here = Deployment(str(tmp_path), engine="hf")
    there = Deployment("m", ("http://one/v1",), engine="openai")

    def of(deployment: Deployment = here, stamp: str = "a", **settings: Any) -> str:
        return namespace(deployment, DecodeConfig(**settings), {str(tmp_path): stamp})

    first = of()
    assert first == of(device="cpu") == of(max_batch_size=3) == of(seed=9, votes=7)
    others = [
        of(stamp="b"),
        of(dtype="bf16"),
        of(device="cuda:0"),
        of(replace(here, engine="vllm")),
        of(there),
        of(replace(there, urls=("http://two/v1",))),
        of(there, extra_body={"a": 1}),
        of(there, header={"X-Model": "env:MODEL"}),
    ]
    assert len({first, *others}) == 1 + len(others)


def test_a_models_files_tell_when_they_change(tmp_path: Path) -> None:
    """In a folder, or as a server's model, which has none here."""
    (tmp_path / "weights").write_text("one")
    here, named = Deployment(str(tmp_path)), Deployment("no-such/model")
    first = model_stamps(here)
    assert first == model_stamps(here) and first[str(tmp_path)]
    (tmp_path / "weights").write_text("another")
    assert model_stamps(here) != first
    assert model_stamps(named) == {"no-such/model": ""}
    assert model_stamps(Deployment("m", ("http://one/v1",))) == {}


def test_a_model_that_is_downloaded_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are known only then; a folder of one's own counts as it was before."""
    own, snapshot = tmp_path / "own", tmp_path / "snapshot"
    for folder in (own, snapshot):
        folder.mkdir()
        (folder / "weights").write_text("one")
    found: dict[str, Path | None] = {str(own): own, "hub/model": None}
    monkeypatch.setattr("spar.run.cached_engine.local_files", found.get)
    deployment = Deployment("hub/model", adapters=(str(own),))
    before = model_stamps(deployment)
    found["hub/model"] = snapshot
    (own / "weights").write_text("changed")
    opened = stamps_once_opened(deployment, before)
    assert opened[str(own)] == before[str(own)] != model_stamps(deployment)[str(own)]
    assert opened["hub/model"] == model_stamps(deployment)["hub/model"] != before["hub/model"]


@pytest.mark.model
def test_a_session_keeps_to_the_model_that_it_has_loaded(tmp_path: Path) -> None:
    """Weights that are written anew under it are another model's, which only who loads them may answer from."""
    model, cache = tmp_path / "model", tmp_path / "cache.db"
    shutil.copytree(CHECKPOINT, model)
    settings: dict[str, Any] = {"model": str(model), "engine": "hf", "strategy": "greedy"}
    with spar.open_session(response_cache=cache, **settings) as session:
        session.search("Write a line.")
        (model / "config.json").write_text((model / "config.json").read_text() + " ")
        session.search("Write two lines.")
    before = len(replies(cache))
    spar.search("Write two lines.", response_cache=cache, **settings)
    assert len(replies(cache)) > before
    assert not cache.with_name("cache.db-wal").exists()  # everybody has closed it


def replies(path: Path) -> list[tuple[str, str]]:
    """What a cache holds."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        return list(database.execute("SELECT key, reply FROM replies"))


@pytest.mark.parametrize("name", ["folder", "other.db", "folder/none", "text.txt/a.db"])
def test_a_wrong_file_is_refused_before_a_model_is_loaded(tmp_path: Path, name: str) -> None:
    """And left as it was."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.txt").write_text("a")
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE replies (key TEXT PRIMARY KEY, reply TEXT)")
    (tmp_path / "folder" / "none").write_text("none")
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    with pytest.raises(UsageError, match="--response-cache"):
        spar.decode(["one"], engine="fake", out=tmp_path / "run", response_cache=tmp_path / name)
    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before


def test_a_sweep_without_the_cache_that_it_had_still_has_no_seconds(tmp_path: Path) -> None:
    """What is stored was not waited for."""
    settings: dict[str, Any] = {
        "strategies": ["bfs"],
        "budgets": [1, 3],
        "limit": 2,
        "engine": "fake",
        "out": tmp_path / "sweep",
    }
    first = spar.sweep("nano-if-answers", response_cache=tmp_path / "cache.db", **settings)
    again = spar.sweep("nano-if-answers", **settings)
    assert [row.seconds for row in (*first, *again)] == [None] * 4
    shown = (tmp_path / "sweep" / "nano-if-answers" / "sweep.md").read_text()
    assert "so there are no seconds" in shown and "admission" not in shown


def test_each_run_of_a_sweep_counts_its_own_calls(tmp_path: Path) -> None:
    """Though all strategies are searched concurrently on one engine."""
    spar.sweep(
        "nano-if-answers",
        strategies=["bfs", "dfs", "best-of-n"],
        budgets=[3],
        limit=8,
        engine="fake",
        response_cache=tmp_path / "cache.db",
        out=tmp_path / "sweep",
    )
    runs = [path.parent for path in (tmp_path / "sweep").glob("*/*/summary.json")]
    shared = 0.0
    for run in runs:
        (counts,) = load_summary(run).engines.values()
        asked = sum(tree.usage.calls for tree in spar.read_trees(run))
        assert counts["calls"] + counts[FROM_CACHE] == asked > 0
        shared += counts[FROM_CACHE]
    assert len(runs) == 3 and shared > 0
