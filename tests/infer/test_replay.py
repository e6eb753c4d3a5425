"""Replay: the tree of a smaller or another search out of a recorded one is the one that it really makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.eval.given_responses import judged_roots
from spar.infer.decode import RootsProvider
from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine
from spar.infer.replay import dependent_steps, replay
from spar.infer.roles import Roles
from spar.infer.search import Budget, SearchSettings, run_search
from spar.infer.strategy import Expand, Plan, SearchConfig
from spar.types import Fault, Node, Prompt, SearchTree, Usage
from tests.fakes import (
    MUTE,
    NO,
    DelayedEngine,
    TableRoles,
    World,
    kind_of,
    make_judgement,
    make_prompt,
    make_root,
    make_settings,
    real_roles,
    refined,
    timeless,
)
from tests.strategies import searches, worlds


async def search(world: World, settings: SearchSettings) -> SearchTree:
    """What the driver really makes."""
    roles = real_roles(FakeEngine(world), vote_rule="majority")
    return await run_search(make_prompt(), roles, settings)


async def is_held(tree: SearchTree, world: World, settings: SearchSettings) -> bool:
    """Whether a record holds a search; if so, the replay must be what the search makes."""
    replayed = await replay(tree, settings)
    if replayed is None:
        return False
    assert timeless(replayed) == timeless(await search(world, settings))
    return True


@given(worlds, searches(), st.integers(1, 16))
async def test_smaller_budgets_are_held(
    world: World, settings: SearchSettings, budget: int
) -> None:
    """A seeded record holds the trees of all smaller budgets, faults, usage and stop included."""
    settings = replace(settings, seed=settings.seed or 0)
    tree = await search(world, settings)
    smaller = replace(settings, budget=Budget(min(budget, settings.budget.responses)))
    assert await is_held(tree, world, smaller)


@given(worlds, searches(), searches(), st.sampled_from([0.0, 0.5, 0.9]))
async def test_a_replay_is_never_wrong(
    world: World, recorded: SearchSettings, wanted: SearchSettings, gate: float
) -> None:
    """Whatever is asked of whatever record: the real tree, or none."""
    tree = await search(world, replace(recorded, seed=0))
    await is_held(tree, world, replace(wanted, seed=0, threshold=gate))


@given(worlds, searches())
async def test_greedy_is_held_by_every_record(world: World, settings: SearchSettings) -> None:
    """All strategies start from the same draft; greedy's is not judged."""
    tree = await search(world, replace(settings, seed=0))
    assert await is_held(tree, world, make_settings("greedy", budget=Budget(1)))


async def test_the_refiners_own_words_are_held() -> None:
    """A reply that is not in the canonical form stands in the replayed node as in the recorded one."""
    world = World(yes=0.0, dressed=0.5)
    tree = await search(world, make_settings("bfs"))
    smaller = await replay(tree, make_settings("bfs", budget=Budget(10)))
    assert smaller is not None
    assert smaller.nodes == tree.nodes[:10]
    kept = [node.text is not None for node in smaller.nodes[1:]]
    assert True in kept
    assert False in kept


@pytest.mark.parametrize("name", ["iterative", "bfs", "dfs"])
async def test_larger_budgets_are_held_where_the_search_had_ended(name: str) -> None:
    """A search that was solved within its budget is the same with any larger one."""
    world = World(seed=3, yes=1.0)
    tree = await search(world, make_settings(name, budget=Budget(4)))
    assert tree.solved
    assert await is_held(tree, world, make_settings(name, budget=Budget(31)))


async def test_a_deeper_breadth_first_tree_holds_the_shallower_one() -> None:
    """Levels come in order, so the deeper search begins with the whole shallower one."""
    world = World(seed=1, yes=0.0, broken=0.2)
    deep = make_settings("bfs", shape=SearchConfig(depth=6), budget=Budget(31))
    tree = await search(world, deep)
    for budget in (1, 3, 7, 15, 16, 31):
        assert await is_held(tree, world, make_settings("bfs", budget=Budget(budget)))


async def test_a_deeper_depth_first_tree_holds_no_more_than_the_first_descent() -> None:
    """Then the shallower search turns back, and its nodes would have other ids, hence other seeds."""
    world = World(seed=1, yes=0.0)
    deep = make_settings("dfs", shape=SearchConfig(depth=6), budget=Budget(31))
    tree = await search(world, deep)
    held = [
        budget
        for budget in range(1, 32)
        if await is_held(tree, world, make_settings("dfs", budget=Budget(budget)))
    ]
    assert held == list(range(1, 11))


async def unseeded(*broken: str) -> SearchTree:
    """Nine drafts `r`, `s` ... `z` without seeds, some of which fail."""
    settings = make_settings("best-of-n", seed=None, budget=Budget(9))
    return await run_search(make_prompt(), TableRoles(broken=broken).roles, settings)


@pytest.mark.parametrize("broken", [(), tuple("rstuvwxyz")], ids=["nodes", "faults"])
async def test_unseeded_records_are_read_in_order(broken: tuple[str, ...]) -> None:
    """Without seeds, children of a parent are taken in the order in which they were written down."""
    tree = await unseeded(*broken)
    smaller = await replay(tree, make_settings("best-of-n", seed=None, budget=Budget(4)))
    assert smaller is not None
    assert (smaller.nodes, smaller.faults) == (tree.nodes[:4], tree.faults[:4])


async def test_unseeded_records_with_faults_are_ambiguous() -> None:
    """Nobody can tell which of the drafts it was that failed."""
    tree = await unseeded("t")
    assert (len(tree.nodes), len(tree.faults)) == (8, 1)
    assert await replay(tree, make_settings("best-of-n", seed=None, budget=Budget(4))) is None


@pytest.mark.parametrize(
    "settings",
    [
        make_settings("bfs", seed=1, budget=Budget(3)),
        make_settings("bfs", budget=Budget(3, seconds=60)),
        make_settings("best-of-n", budget=Budget(2)),
        make_settings("bfs", budget=Budget(8)),
        make_settings("bfs", shape=SearchConfig(branching=4), budget=Budget(5)),
    ],
    ids=["seed", "seconds", "strategy", "budget", "branch"],
)
async def test_what_a_record_does_not_hold(settings: SearchSettings) -> None:
    """Another seed, a cap in seconds, other attempts: the search must really run."""
    tree = await search(World(yes=0.0), make_settings("bfs", budget=Budget(7)))
    assert await replay(tree, settings) is None


async def test_an_unjudged_record_holds_no_judged_search() -> None:
    """Greedy's draft was never judged."""
    tree = await search(World(), make_settings("greedy"))
    assert await replay(tree, make_settings("bfs", budget=Budget(1))) is None


async def test_caps_on_calls_bind_as_they_do_in_a_search() -> None:
    """Usages are recorded, so the driver's caps see them."""
    world = World(yes=0.0)
    tree = await search(world, make_settings("iterative", budget=Budget(15)))
    capped = make_settings("iterative", budget=Budget(15, calls=9))
    replayed = await replay(tree, capped)
    assert replayed is not None
    assert replayed.stop == "budget"
    assert 1 < len(replayed.nodes) < 15
    assert await is_held(tree, world, capped)


async def test_cut_off_attempts_are_not_held() -> None:
    """With `--early-stop first` a solved wave depends on who was fast, in the record and in the replay."""
    roles = real_roles(DelayedEngine(World(seed=3, yes=1.0), 0))
    first = make_settings("best-of-n", budget=Budget(9), stop_rule="first")
    tree = await run_search(make_prompt(), roles, first)
    assert (tree.stop, tree.cancelled > 0) == ("solved", True)
    assert await replay(tree, first) is None
    assert await replay(tree, replace(first, stop_rule="wave")) is None


async def test_faults_among_cut_off_attempts_are_ambiguous() -> None:
    """Of a missing draft nobody can tell whether it failed or was cut off."""
    settings = make_settings("best-of-n", budget=Budget(9))
    tree = await run_search(make_prompt(), TableRoles(broken=("t",)).roles, settings)
    assert await replay(tree, settings) is not None
    assert await replay(tree.model_copy(update={"cancelled": 1}), settings) is None


def from_roots(*roots: Node) -> Callable[[Roles], RootsProvider]:
    """What lets every search start from these roots."""

    async def given(prompt: Prompt) -> Sequence[Node]:
        return roots

    return lambda roles: given


async def test_given_roots_are_given_again() -> None:
    """A root from elsewhere has a seed of its own and is free of the budget; another one will not do."""
    settings = make_settings("bfs", budget=Budget(9))
    root = make_root(calls=7)
    tree = await run_search(make_prompt(), TableRoles().roles, settings, roots=[root])
    smaller = replace(settings, budget=Budget(4))
    replayed = await replay(tree, smaller, roots=from_roots(root))
    assert replayed is not None
    assert replayed.nodes[0] == root
    real = await run_search(make_prompt(), TableRoles().roles, smaller, roots=[root])
    assert timeless(replayed) == timeless(real)
    assert await replay(tree, smaller) is None
    assert await replay(tree, smaller, roots=from_roots(make_root("s"))) is None


@given(worlds, searches(), st.integers(1, 16))
async def test_judged_roots_are_judged_from_the_record(
    world: World, settings: SearchSettings, budget: int
) -> None:
    """A root whose judgement is asked for anew has the recorded one, or none where no vote decided."""
    settings = replace(settings, seed=settings.seed or 0)
    prompt = make_prompt().model_copy(update={"meta": {"response": "given"}})
    roles = real_roles(FakeEngine(world))
    roots = judged_roots(settings.seed)

    async def really(wanted: SearchSettings) -> SearchTree:
        return await run_search(prompt, roles, wanted, roots=await roots(roles)(prompt))

    tree = await really(settings)
    smaller = replace(settings, budget=Budget(min(budget, settings.budget.responses)))
    replayed = await replay(tree, smaller, roots=roots)
    real = await really(smaller)
    assert replayed is not None
    assert timeless(replayed) == timeless(real)


def in_waves(*waves: tuple[int | None, int]) -> SearchSettings:
    """A search that makes so many children of a node in each wave."""

    def strategy(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
        for parent, n in waves:
            yield [Expand(parent, n)]

    return SearchSettings(strategy, "in-waves")


async def test_a_node_in_another_ones_place_is_not_refined_from_the_record() -> None:
    """Seeds go by the parent's id: here 3 is a child of 1, and in the record a child of 2 with a child."""
    world = World(yes=0.0)
    tree = await search(world, in_waves((None, 1), (0, 2), (2, 1), (1, 1), (3, 1)))
    assert [node.parent for node in tree.nodes] == [None, 0, 0, 2, 1, 3]
    assert await is_held(tree, world, in_waves((None, 1), (0, 2), (1, 1)))
    assert not await is_held(tree, world, in_waves((None, 1), (0, 2), (1, 1), (3, 1)))


async def test_lost_refinements_are_held_in_their_order_only() -> None:
    """The first of two identical ones paid for the votes, and no record says which two are identical."""

    def reply(request: Request) -> str:
        if kind_of(request) == "judge":
            return MUTE if "doubtful" in request.messages[-1].content else NO
        if kind_of(request) == "draft":
            return "first"
        if "of first" in request.messages[0].content:
            return refined("doubtful")
        return refined(f"of first {request.sampling.seed}")

    async def really(settings: SearchSettings) -> SearchTree:
        return await run_search(make_prompt(), real_roles(FakeEngine(reply)), settings)

    tree = await really(in_waves((None, 1), (0, 2), (1, 1), (2, 1)))
    assert [(fault.parent, fault.judge_usage.calls) for fault in tree.faults] == [(1, 15), (2, 0)]
    for wanted in (
        in_waves((None, 1), (0, 2), (1, 1)),
        in_waves((None, 1), (0, 2), (1, 1), (2, 1)),
    ):
        replayed = await replay(tree, wanted)
        assert replayed is not None
        assert timeless(replayed) == timeless(await really(wanted))
    assert await replay(tree, in_waves((None, 1), (0, 2), (2, 1))) is None


async def test_a_lost_refinement_is_not_shown_where_nobody_judges() -> None:
    """A strategy without judgements would have its text, which the record has not."""

    def unjudged(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
        yield [Expand(None, 1)]
        yield [Expand(0, 1, judged=False)]

    def reply(request: Request) -> str:
        if kind_of(request) == "judge":
            return MUTE if "doubtful" in request.messages[-1].content else NO
        return refined("first" if kind_of(request) == "draft" else "doubtful", kind_of(request))

    roles = real_roles(FakeEngine(reply))
    tree = await run_search(make_prompt(), roles, in_waves((None, 1), (0, 1)))
    assert [fault.stage for fault in tree.faults] == ["judge"]
    assert await replay(tree, SearchSettings(unjudged, "unjudged")) is None


def timed_tree() -> SearchTree:
    """Three drafts, made at once: 2 s and 1 s of votes, 5 s and no votes, 1 s and 3 s of votes."""

    def node(index: int, response: str, written: float, votes: float) -> Node:
        return Node(
            id=index,
            parent=None,
            depth=0,
            response=response,
            judgement=make_judgement(0),
            usage=Usage(calls=2, seconds=written + votes),
            judge_usage=Usage(calls=1, seconds=votes),
        )

    return SearchTree(
        prompt=make_prompt(),
        strategy="best-of-n",
        config="",
        nodes=(node(0, "a", 2, 1), node(1, "b", 5, 0), node(2, "c", 1, 3)),
        selected=0,
        stop="budget",
        seconds=5.5,
    )


@pytest.mark.parametrize(
    ("name", "budget", "seconds"),
    [("best-of-n", 1, 3.0), ("best-of-n", 2, 5.0), ("best-of-n", 3, 5.5), ("greedy", 1, 2.0)],
)
async def test_time_is_that_of_the_slowest_attempts(name: str, budget: int, seconds: float) -> None:
    """The slowest attempt of each wave, votes included where they are asked; a whole tree keeps its own."""
    wanted = make_settings(name, budget=Budget(budget), seed=None)
    replayed = await replay(timed_tree(), wanted)
    assert replayed is not None
    assert replayed.seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("name", "budget", "steps"),
    [("greedy", 15, 1), ("best-of-n", 15, 2), ("iterative", 4, 8), ("bfs", 15, 8)],
)
async def test_dependent_steps_are_the_longest_chain(name: str, budget: int, steps: int) -> None:
    """A wave's responses are one step and their votes another: BFS at 15 waits for four waves, and so eight times."""
    written = iter(range(1000))

    def reply(request: Request) -> str:
        if kind_of(request) == "judge":
            return NO
        return refined(f"response {next(written)}", kind_of(request))

    settings = make_settings(name, budget=Budget(budget))
    tree = await run_search(make_prompt(), real_roles(FakeEngine(reply)), settings)
    assert await dependent_steps(tree, settings, votes=5) == steps


async def test_a_prompt_without_an_answer_is_replayed() -> None:
    """Faults are all that a record may have."""
    prompt = Prompt(id="p", messages=make_prompt().messages)
    faults = tuple(Fault(parent=None, stage="draft", reason=f"{n}") for n in range(3))
    tree = SearchTree(prompt=prompt, strategy="bfs", config="", faults=faults, stop="exhausted")
    replayed = await replay(tree, make_settings("bfs", budget=Budget(2)))
    assert replayed is not None
    assert (replayed.faults, replayed.stop, replayed.selected) == (faults[:2], "budget", None)
