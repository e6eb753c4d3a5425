"""A run in two halves gives the trees of a run with every model loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from spar.errors import EngineError, RunStopped
from spar.infer.decode import decode
from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine, Reply
from spar.infer.roles import AttemptFailed, Generation, Seeds
from spar.infer.search import Budget, SearchSettings, run_search
from spar.infer.strategy import DRAFT_ATTEMPTS, Expand, Plan, SearchConfig
from spar.infer.summary import Summary
from spar.listener import Listener
from spar.manifest import Manifest
from spar.plugins import STRATEGIES, strategy_with
from spar.run.two_phase import (
    FOLDER,
    DraftPhase,
    StoredDrafts,
    discard_drafts,
    missing_drafts,
)
from spar.store import TREES, RunStore, read_trees, stored_trees
from spar.types import Node, Prompt, SearchTree, Usage, best
from tests.fakes import World, make_prompt, make_settings, real_roles, timeless
from tests.strategies import SEARCHED, worlds

PROMPTS = [make_prompt(f"Write line {i}.", f"p{i}") for i in range(12)]
MANIFEST = Manifest(spar_version="0", config={})


def settings_for(name: str, options: Mapping[str, Any] | None = None) -> SearchSettings:
    """Seven responses a tree."""
    strategy = strategy_with(name, options or {}).plan
    return make_settings(name, strategy=strategy, budget=Budget(7))


def room() -> int:
    """A few trees at once."""
    return 4


def phase(
    directory: Path, name: str = "bfs", options: Mapping[str, Any] | None = None
) -> DraftPhase:
    """The first phase of a run."""
    settings = settings_for(name, options)
    num_drafts = strategy_with(name, options or {}).num_drafts(settings.budget.responses)
    return DraftPhase(directory, MANIFEST, settings, num_drafts)


async def whole(
    search: tuple[str, Mapping[str, Any]], world: World, directory: Path
) -> dict[str, SearchTree]:
    """The trees of an ordinary run."""
    with RunStore.open(directory, MANIFEST) as store:
        roles = real_roles(FakeEngine(world))
        await decode(PROMPTS, roles, settings_for(*search), store, summary=Summary(), room=room)
    return {tree.prompt.id: timeless(tree) for tree in read_trees(directory)}


async def halves(
    search: tuple[str, Mapping[str, Any]], world: World, directory: Path
) -> dict[str, SearchTree]:
    """The trees of a run whose drafts are written first."""
    with RunStore.open(directory, MANIFEST) as store:
        stage = phase(directory, *search)
        await stage.write(PROMPTS, real_roles(FakeEngine(world)), room, Listener())
        rest = real_roles(FakeEngine(no_drafts(world)))
        roles = type(rest)(StoredDrafts(directory / FOLDER, 0), rest.judge, rest.refiner)
        await decode(PROMPTS, roles, settings_for(*search), store, summary=Summary(), room=room)
    return {tree.prompt.id: timeless(tree) for tree in read_trees(directory)}


def no_drafts(world: World) -> Reply:
    """The world, but whoever asks it for a draft is wrong."""

    def reply(request: Request) -> str:
        assert request.messages[-1].content.startswith("Write line") is False
        return world(request)

    return reply


def beam_of_four(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Four drafts at once, and the best two of each level refined."""
    frontier = roots or (yield [Expand(None, 4)])
    for _ in range(config.depth):
        frontier = best(frontier, 2)
        if not frontier:
            return
        frontier = yield [Expand(node.id, 2) for node in frontier]


STRATEGIES_TO_TEST = [*SEARCHED, (STRATEGIES.name_of(beam_of_four), {})]


@pytest.mark.parametrize("search", STRATEGIES_TO_TEST, ids=str)
@settings(max_examples=5)
@given(world=worlds)
async def test_two_phases_make_the_same_trees(
    search: tuple[str, Mapping[str, Any]], world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """For every strategy: same drafts, seeds and cost, also where drafts are empty or undecided."""
    folder = tmp_path_factory.mktemp("run")
    one_phase = await whole(search, world, folder / "one")
    assert await halves(search, world, folder / "two") == one_phase
    assert len(one_phase) == len(PROMPTS)


async def test_drafts_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    """A first half that was stopped goes on where it was."""
    asked: list[str] = []

    def reply(request: Request) -> str:
        asked.append(request.messages[-1].content)
        if len(asked) == 5:
            raise EngineError("gone")
        return "a draft"

    with RunStore.open(tmp_path, MANIFEST):
        stage = phase(tmp_path)
        roles = real_roles(FakeEngine(reply))
        with pytest.raises(RunStopped, match="resume"):
            await stage.write(PROMPTS, roles, lambda: 1, Listener())
        await stage.write(PROMPTS, roles, lambda: 1, Listener())
    assert len(asked) == DRAFT_ATTEMPTS * (len(PROMPTS) + 1)
    assert [tree.prompt.id for tree in read_trees(tmp_path / FOLDER)] == [p.id for p in PROMPTS]


async def test_an_empty_draft_is_a_fault_in_both_halves(tmp_path: Path) -> None:
    """The second half reports what went wrong in the first."""
    stage = phase(tmp_path)
    with RunStore.open(tmp_path, MANIFEST):
        roles = real_roles(FakeEngine(lambda _: " "))
        await stage.write(PROMPTS[:1], roles, room, Listener())
    kept = StoredDrafts(tmp_path / FOLDER, 0)
    with pytest.raises(AttemptFailed, match="empty"):
        await kept.draft(PROMPTS[0], 0, lambda _: 0)
    with pytest.raises(AttemptFailed, match="not loaded"):
        await kept.draft(PROMPTS[0], DRAFT_ATTEMPTS, lambda _: 0)
    with pytest.raises(AttemptFailed, match="not loaded"):
        await kept.draft(PROMPTS[1], 0, lambda _: 0)


class _FailsTwice:
    """Drafts of which the second and the fourth fail, each at a cost of its own."""

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """Fail, or write a line."""
        usage = Usage(calls=1, completion_tokens=10 * (index + 1))
        if index in (1, 3):
            raise AttemptFailed(f"draft {index} is empty", f"text {index}", usage)
        return Generation(f"line {index}", None, usage, seeds(0))


@pytest.mark.parametrize("seed", [7, None])
async def test_each_failed_draft_keeps_its_own_reason_and_cost(
    tmp_path: Path, seed: int | None
) -> None:
    """The second half names the draft that failed, and counts what it cost; without seeds the failed ones come last."""
    searched = replace(settings_for("best-of-n"), budget=Budget(5), seed=seed)
    roles = real_roles(FakeEngine(World()))
    stage = DraftPhase(tmp_path, MANIFEST, searched, 5)
    with RunStore.open(tmp_path, MANIFEST):
        await stage.write(PROMPTS[:1], replace(roles, actor=_FailsTwice()), room, Listener())
    stored = StoredDrafts(tmp_path / FOLDER, seed)
    whole, half = [
        timeless(await run_search(PROMPTS[0], replace(roles, actor=actor), searched))
        for actor in (_FailsTwice(), stored)
    ]
    assert [fault.reason for fault in whole.faults] == ["draft 1 is empty", "draft 3 is empty"]
    assert half.faults == whole.faults and half.usage == whole.usage


def ids(prompts: Sequence[Prompt]) -> list[str]:
    """Of the prompts, in order."""
    return [prompt.id for prompt in prompts]


def lacking(directory: Path, searched: Sequence[Prompt]) -> list[str]:
    """Ids of the searched prompts without drafts."""
    return [name for name, _ in missing_drafts(directory, [(each, 0) for each in searched])]


async def test_drafts_are_missing_until_each_prompt_has_its_own_or_its_tree(tmp_path: Path) -> None:
    """A run whose drafts are all there need not load the actor again; a fresh one forgets them."""
    stage = phase(tmp_path)
    with RunStore.open(tmp_path, MANIFEST):
        assert lacking(tmp_path, PROMPTS) == ids(PROMPTS)
        await stage.write(PROMPTS[:8], real_roles(FakeEngine(World())), room, Listener())
    assert lacking(tmp_path, PROMPTS) == ids(PROMPTS[8:])
    assert lacking(tmp_path, PROMPTS[:8]) == []
    foreign = tmp_path / "mine"
    RunStore.open(foreign, MANIFEST.model_copy(update={"created": "another time"})).close()
    RunStore.open(tmp_path, MANIFEST, fresh=True).close()
    assert not (tmp_path / FOLDER).exists() and (foreign / "run.json").exists()


async def test_drafts_of_another_text_or_without_an_answer_are_made_again(tmp_path: Path) -> None:
    """A prompt that changed before its search has no drafts; those that all failed are dropped on request."""
    stage = phase(tmp_path)
    with RunStore.open(tmp_path, MANIFEST):
        await stage.write(PROMPTS[:1], real_roles(FakeEngine(lambda _: " ")), room, Listener())
        await stage.write(PROMPTS[1:3], real_roles(FakeEngine(World())), room, Listener())
    changed = make_prompt("Write another line.", PROMPTS[1].id)
    prompts = [PROMPTS[0], changed, PROMPTS[2]]
    assert lacking(tmp_path, PROMPTS[:3]) == []
    assert lacking(tmp_path, prompts) == [changed.id]
    discard_drafts(tmp_path, MANIFEST, prompts, unanswered=False)
    assert [*stored_trees(tmp_path / FOLDER / TREES)] == [PROMPTS[0].id, PROMPTS[2].id]
    discard_drafts(tmp_path, MANIFEST, prompts, unanswered=True)
    assert [*stored_trees(tmp_path / FOLDER / TREES)] == [PROMPTS[2].id]
