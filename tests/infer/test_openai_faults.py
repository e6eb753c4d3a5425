"""Searches against faulty servers: every prompt gets one tree, the same as without faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spar.config import load_decode
from spar.errors import RunStopped
from spar.infer.decode import decode
from spar.infer.engine import Deployment
from spar.infer.engines.openai.engine import OpenAIEngine, OpenAISettings
from spar.infer.summary import Summary
from spar.run.build import make_manifest
from spar.store import RunStore, read_trees
from tests.answers import FAULTS, Script
from tests.fakes import World, make_prompt, make_settings, real_roles
from tests.servers import ScriptedServer

SETTINGS = OpenAISettings(timeout=60.0, retry_for=120.0, initial_backoff=0.05)
WORLD = World(yes=0.05)


async def search(
    folder: Path,
    servers: list[ScriptedServer],
    *,
    settings: OpenAISettings = SETTINGS,
    num_prompts: int = 12,
    concurrency: int = 256,
    tell: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Decode prompts by BFS into a folder; returns its trees without their costs, by prompt."""
    deployment = Deployment("tiny", tuple(server.url for server in servers))
    engine = OpenAIEngine(deployment, settings, tell)
    prompts = [make_prompt(f"Write line {i}.", str(i)) for i in range(num_prompts)]
    manifest = make_manifest(load_decode(None, {"engine": "fake"}))
    try:
        with RunStore.open(folder, manifest) as store:
            await decode(
                prompts,
                real_roles(engine),
                make_settings("bfs"),
                store,
                summary=Summary(),
                room=lambda: concurrency,
            )
    finally:
        await engine.aclose()
    return written(folder)


def written(folder: Path) -> list[dict[str, Any]]:
    """The trees of a run directory without costs and clock readings, by prompt."""
    costs = {"usage", "judge_usage"}
    fields: Any = {"nodes": {"__all__": costs}, "faults": {"__all__": costs}, "seconds": True}
    trees = [tree.model_dump(exclude=fields) for tree in read_trees(folder)]
    return sorted(trees, key=lambda tree: int(tree["prompt"]["id"]))


def differences(
    trees: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> list[tuple[str, str, Any, Any]]:
    """What is not as it should be: prompt id, field, both values. Whole trees side by side are a hundred pages."""
    assert [tree["prompt"]["id"] for tree in trees] == [tree["prompt"]["id"] for tree in expected]
    return [
        (tree["prompt"]["id"], field, tree[field], other[field])
        for tree, other in zip(trees, expected, strict=True)
        for field in other
        if tree[field] != other[field]
    ]


@pytest.fixture(scope="module")
async def faultless(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Thirty trees from a server without faults."""
    with ScriptedServer(Script(WORLD), keep=False) as server:
        return await search(tmp_path_factory.mktemp("faultless"), [server], num_prompts=30)


async def test_trees_are_the_same_when_a_fifth_of_all_requests_fails(
    tmp_path: Path, faultless: list[dict[str, Any]]
) -> None:
    """Errors, lost connections, timeouts and invalid replies change no tree; the notes name them."""
    notes: list[str] = []
    settings = replace(SETTINGS, timeout=0.5)
    quick = tuple(fault for fault in FAULTS if fault != "stall")
    with ScriptedServer(Script(WORLD, fault_share=0.2, faults=(*FAULTS, *quick, *quick))) as server:
        trees = await search(
            tmp_path, [server], settings=settings, num_prompts=30, tell=notes.append
        )
    assert [tree["prompt"]["id"] for tree in trees] == [str(i) for i in range(30)]
    assert not differences(trees, faultless)
    failed = {seen.fault for seen in server.seen if seen.fault}
    assert failed == set(server.script.faults)
    log = "\n".join(notes)
    for words in [
        "HTTP 500",
        "HTTP 429",
        "connection was lost",
        "no response in 0.5 s",
        "invalid JSON",
        "without choices",
    ]:
        assert words in log
    assert "wrong number of choices" in log
    assert len(notes) < 40


async def test_requests_wait_for_a_server_that_restarts(
    tmp_path: Path, faultless: list[dict[str, Any]]
) -> None:
    """The trees are the same as those of a server that stayed up."""
    notes: list[str] = []
    server = ScriptedServer(Script(WORLD, seconds=0.005))

    def tell(line: str) -> None:
        notes.append(line)
        if "down" in line:
            server.start()

    def die(number: int) -> None:
        if number == 150:
            server.kill()

    server.on_request = die
    with server:
        trees = await search(tmp_path, [server], tell=tell)
    assert not differences(trees, faultless[:12])
    assert any("down" in line for line in notes)
    assert any("back" in line for line in notes)


async def test_a_run_stopped_by_a_dead_server_can_be_resumed(
    tmp_path: Path, faultless: list[dict[str, Any]]
) -> None:
    """The error says how to resume; the resumed run has every prompt once."""
    server = ScriptedServer(Script(WORLD, seconds=0.005))
    settings = replace(SETTINGS, retry_for=0.5)

    def die(number: int) -> None:
        if number == 300:
            server.kill()

    server.on_request = die
    with server:
        with pytest.raises(RunStopped, match=r"gave up after .* resume"):
            await search(tmp_path, [server], settings=settings)
        assert len(written(tmp_path)) < 12
        server.start()
        trees = await search(tmp_path, [server], settings=settings)
    assert not differences(trees, faultless[:12])


async def test_trees_of_a_dead_server_move_to_the_other(
    tmp_path: Path, faultless: list[dict[str, Any]]
) -> None:
    """At once, and for good."""
    notes: list[str] = []
    mortal, other = (ScriptedServer(Script(WORLD, seconds=0.002)) for _ in range(2))

    def die(number: int) -> None:
        if number == 80:
            mortal.kill()

    mortal.on_request = die
    with mortal, other:
        trees = await search(tmp_path, [mortal, other], tell=notes.append)
        assert not differences(trees, faultless[:12])
        assert mortal.num_requests >= 80
        assert other.num_requests > 200
    assert any("down" in line and "other servers" in line for line in notes)
