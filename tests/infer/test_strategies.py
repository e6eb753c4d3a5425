"""Every listed strategy keeps the search's promises; BFS, DFS and the others by hand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.errors import UsageError
from spar.infer.roles import Generation, Seeds
from spar.infer.search import Budget, SearchSettings, run_search
from spar.infer.strategies.ab_mcts import ABMCTSOptions, GaussianPosterior, _Tree
from spar.infer.strategy import Expand, SearchConfig
from spar.plugins import STRATEGIES, strategy_with
from spar.types import Node, Prompt, SearchTree, best
from tests.fakes import (
    DelayedEngine,
    TableRoles,
    World,
    kind_of,
    make_prompt,
    make_root,
    make_settings,
    real_roles,
    timeless,
)
from tests.strategies import searches, worlds

orders = st.integers(0, 99)
"""Which replies come first."""


async def grow(world: World, settings: SearchSettings, order: int = 0) -> SearchTree:
    """One search with spar's own roles, replies in an order of their own."""
    return await run_search(make_prompt(), real_roles(DelayedEngine(world, order)), settings)


@given(worlds, searches())
async def test_a_tree_is_sound(world: World, settings: SearchSettings) -> None:
    """Ids are positions, parents come before children, depths count the steps from a draft."""
    tree = await grow(world, settings)
    for index, node in enumerate(tree.nodes):
        assert node.id == index
        if node.parent is None:
            assert node.depth == 0
        else:
            assert node.parent < node.id
            assert node.depth == tree.nodes[node.parent].depth + 1


@given(worlds, searches())
async def test_the_budget_is_never_exceeded(world: World, settings: SearchSettings) -> None:
    """Nodes and faults together never outnumber the responses that the budget allows."""
    engine = DelayedEngine(world, 0)
    tree = await run_search(make_prompt(), real_roles(engine), settings)
    unjudged = sum(fault.stage == "judge" and fault.parent is None for fault in tree.faults)
    assert len(tree.nodes) + len(tree.faults) - unjudged <= settings.budget.responses
    written = {
        (kind_of(request), request.messages, request.sampling.seed)
        for request in engine.requests
        if kind_of(request) == "draft"
    }
    assert len(written) <= settings.budget.responses


@given(worlds, searches())
async def test_solved_means_that_a_node_passes(world: World, settings: SearchSettings) -> None:
    """A search is solved exactly when some node is above the gate, and then the answer is."""
    tree = await grow(world, settings)
    passing = [n.id for n in tree.nodes if n.judgement and n.judgement.passed(tree.gate)]
    assert tree.solved == bool(passing)
    assert not passing or tree.selected in passing


@given(worlds, searches())
async def test_the_best_node_answers(world: World, settings: SearchSettings) -> None:
    """The selected node is the best one; there is none exactly where no node is."""
    tree = await grow(world, settings)
    assert tree.selected == (best(tree.nodes)[0].id if tree.nodes else None)


@given(worlds, searches())
async def test_nothing_grows_below_a_passing_node(world: World, settings: SearchSettings) -> None:
    """The wave in which a node passes is the last one."""
    tree = await grow(world, settings)
    passing = [n.id for n in tree.nodes if n.judgement and n.judgement.passed(tree.gate)]
    assert all(node.parent not in passing for node in tree.nodes)


@given(worlds, searches(), orders, orders)
async def test_a_seed_gives_one_tree(
    world: World, settings: SearchSettings, one: int, other: int
) -> None:
    """The tree does not depend on which reply comes first."""
    first, second = await grow(world, settings, one), await grow(world, settings, other)
    assert timeless(first) == timeless(second)


@given(worlds, searches())
async def test_a_grown_tree_survives_json(world: World, settings: SearchSettings) -> None:
    """What a search made comes back equal from its line."""
    tree = await grow(world, settings)
    assert SearchTree.from_json(tree.to_json()) == tree


@given(worlds, searches())
async def test_every_call_is_in_the_record(world: World, settings: SearchSettings) -> None:
    """The tree's usage counts each request that reached the engine once."""
    engine = DelayedEngine(world, 0)
    tree = await run_search(make_prompt(), real_roles(engine), settings)
    assert tree.usage.calls == len(engine.requests)


async def shape_of(
    table: TableRoles,
    name: str,
    *,
    rooted: bool = True,
    budget: int = 15,
    options: Mapping[str, object] | None = None,
    **shape: int,
) -> SearchTree:
    """A search that follows a table, from the root `r` unless told otherwise."""
    settings = make_settings(
        name,
        strategy=strategy_with(name, options or {}).plan,
        shape=SearchConfig(**shape),
        budget=Budget(budget),
    )
    roots = [make_root()] if rooted else []
    return await run_search(make_prompt(), table.roles, settings, roots=roots)


def descendants(response: str, depth: int) -> list[str]:
    """A response and what its refinements may be called, `depth` levels down."""
    if depth == 0:
        return [response]
    return [response, *(text for c in "abcd" for text in descendants(response + c, depth - 1))]


async def test_bfs_spends_the_papers_fifteen() -> None:
    """Branch 3, keep 2, depth 3 below a given root is 3 + 6 + 6 responses, then nothing is left."""
    table = TableRoles()
    tree = await shape_of(table, "bfs", budget=99)
    depths = [node.depth for node in tree.nodes]
    assert [depths.count(depth) for depth in range(5)] == [1, 3, 6, 6, 0]
    assert tree.stop == "exhausted"


async def test_bfs_keeps_the_best_two() -> None:
    """The higher score goes on, and of equal ones the first made."""
    table = TableRoles({"rb": 1, "rc": 2, "rcc": 2, "rba": 1, "rca": 1})
    tree = await shape_of(table, "bfs")
    assert table.refined == [
        *("ra", "rb", "rc"),
        *("rca", "rcb", "rcc", "rba", "rbb", "rbc"),
        *("rcca", "rccb", "rccc", "rcaa", "rcab", "rcac"),
    ]
    assert tree.answer == "rc"


async def test_bfs_stops_at_the_level_that_passes() -> None:
    """A level is made and judged whole, then the best of it answers."""
    table = TableRoles({"rab": 3, "rac": 5})
    tree = await shape_of(table, "bfs")
    assert len(table.judged) == 3 + 6
    assert (tree.stop, tree.answer) == ("solved", "rac")


async def test_bfs_goes_on_with_what_came_through() -> None:
    """A level with faults keeps its nodes; a level of faults alone ends the search."""
    table = TableRoles({"ra": 2}, broken=("ra", "rb"))
    tree = await shape_of(table, "bfs", depth=2)
    assert table.refined == ["ra", "rb", "rc", "rca", "rcb", "rcc"]
    lost = await shape_of(TableRoles(broken=("ra", "rb", "rc")), "bfs")
    assert (len(tree.faults), len(lost.faults), lost.stop) == (2, 3, "exhausted")
    assert lost.answer == "r"


async def test_dfs_reaches_twenty_one() -> None:
    """Without a binding budget, 3 + 2 x (3 + 2 x 3) responses."""
    table = TableRoles()
    tree = await shape_of(table, "dfs", budget=99)
    assert len(table.refined) == 21
    assert tree.stop == "exhausted"


async def test_dfs_is_bound_by_the_budget() -> None:
    """At the paper's 15 it stops in the second child's branch, and says so."""
    table = TableRoles()
    tree = await shape_of(table, "dfs")
    assert table.refined == [
        *("ra", "rb", "rc", "raa", "rab", "rac"),
        *("raaa", "raab", "raac", "raba", "rabb", "rabc"),
        *("rba", "rbb", "rbc"),
    ]
    assert tree.stop == "budget"


async def test_dfs_descends_into_the_best_first() -> None:
    """The best child's whole branch comes before the second best's."""
    table = TableRoles({"rc": 2, "rb": 1, "rcb": 1})
    await shape_of(table, "dfs", depth=2)
    assert table.refined == ["ra", "rb", "rc", "rca", "rcb", "rcc", "rba", "rbb", "rbc"]


@pytest.mark.parametrize("name", ["bfs", "dfs", "iterative"])
async def test_a_search_without_roots_drafts_until_it_has_one(name: str) -> None:
    """A draft that fails costs one attempt, and another is asked for."""
    table = TableRoles({"sa": 5}, broken=("r",))
    tree = await shape_of(table, name, rooted=False, branching=1)
    assert table.drafted == ["r", "s"]
    assert [node.response for node in tree.nodes] == ["s", "sa"]


async def test_iterative_is_a_chain() -> None:
    """Each refinement is made from the one before, until the budget binds."""
    table = TableRoles()
    tree = await shape_of(table, "iterative", budget=4)
    assert table.refined == ["ra", "raa", "raaa", "raaaa"]
    assert [node.parent for node in tree.nodes] == [None, 0, 1, 2, 3]
    assert tree.stop == "budget"


async def test_iterative_tries_again_below_the_same_node() -> None:
    """A fault does not break the chain; its retry has another seed."""
    table = TableRoles({"raba": 5}, broken=("raa",))
    tree = await shape_of(table, "iterative")
    assert table.refined == ["ra", "raa", "rab", "raba"]
    assert [fault.parent for fault in tree.faults] == [1]
    assert len({node.seed for node in tree.nodes[1:]}) == 3


async def test_best_of_n_is_one_wave() -> None:
    """All drafts are made whatever passes; the best one answers."""
    table = TableRoles({"r": 3, "t": 5})
    tree = await shape_of(table, "best-of-n", rooted=False, budget=5)
    assert table.drafted == ["r", "s", "t", "u", "v"]
    assert tree.answer == "t"


async def test_growing_waves_stop_at_a_pass() -> None:
    """1, 1, 2, 4 ... drafts, none after the wave in which one passes; the drafts are those of one wave."""
    table = TableRoles({"t": 5})
    tree = await shape_of(table, "best-of-n", rooted=False, budget=9, options={"waves": "growing"})
    assert table.drafted == ["r", "s", "t", "u"]
    assert (tree.stop, tree.answer) == ("solved", "t")
    whole = await shape_of(TableRoles({"t": 5}), "best-of-n", rooted=False, budget=9)
    assert [node.seed for node in tree.nodes] == [node.seed for node in whole.nodes[:4]]


async def test_growing_waves_double() -> None:
    """Where nothing passes, each wave doubles the number of drafts, and the last is cut at the budget."""
    waves = strategy_with("best-of-n", {"waves": "growing"}).plan((), SearchConfig())
    sizes = [next(waves)[0].n, *(waves.send(())[0].n for _ in range(4))]
    assert sizes == [1, 1, 2, 4, 8]


async def test_iterative_restarts_with_a_new_draft() -> None:
    """After so many attempts a new draft begins the next chain."""
    table = TableRoles({"ta": 5})
    tree = await shape_of(table, "iterative", rooted=False, options={"restart_after": 2})
    assert table.drafted == ["r", "s", "t"]
    assert table.refined == ["ra", "raa", "sa", "saa", "ta"]
    assert tree.stop == "solved"


async def test_best_first_leaves_a_branch_for_a_better_node() -> None:
    """The best unrefined node is next, whatever its depth; equal ones shallowest first."""
    table = TableRoles({"rb": 1, "rba": 2})
    tree = await shape_of(table, "best-first", branching=2, budget=8)
    assert table.refined == ["ra", "rb", "rba", "rbb", "rbaa", "rbab", "raa", "rab"]
    assert [node.statistics["waiting"] for node in tree.nodes[1::2]] == [0, 1, 2, 3]


async def test_the_beam_takes_in_new_drafts() -> None:
    """Each wave refines the beam and drafts anew; the best of both go on, none beyond the depth."""
    table = TableRoles({"s": 2, "ra": 1})
    await shape_of(table, "beam", branching=1, depth=1, rooted=False, budget=7)
    assert table.drafted == ["r", "s", "t", "u"]
    assert table.refined == ["ra", "sa", "ta"]


class MergingTable(TableRoles):
    """A table whose refiner also merges: `r` and `s` become `(r+s)`."""

    async def merge(self, prompt: Prompt, parents: tuple[Node, Node], seeds: Seeds) -> Generation:
        """Both responses in brackets."""
        response = f"({parents[0].response}+{parents[1].response})"
        self.refined.append(response)
        return self._write(response, seeds)


async def test_merge_makes_one_out_of_the_two_best() -> None:
    """Each wave merges the best pair that was not merged yet, the better one first, and drafts anew."""
    table = MergingTable({"s": 2, "(s+r)": 1}, broken=("(s+t)",))
    tree = await shape_of(table, "merge", rooted=False, budget=9)
    assert table.drafted == ["r", "s", "t", "u", "v"]
    assert table.refined == ["(s+r)", "(s+(s+r))", "(s+t)", "(s+u)"]
    made = tree.nodes[2]
    assert (made.response, made.parent, made.second_parent) == ("(s+r)", 1, 0)
    assert made.statistics == {"rank": 2.5 / 6, "second_rank": 0.5 / 6}


async def test_a_failed_merge_says_of_which_two() -> None:
    """The fault has both parents, and the pair is not tried again."""
    tree = await shape_of(MergingTable(broken=("(r+s)",)), "merge", rooted=False, budget=6)
    (fault,) = tree.faults
    assert (fault.parent, fault.second_parent) == (0, 1)
    pairs = [(node.parent, node.second_parent) for node in tree.nodes if node.parent is not None]
    assert (0, 1) not in pairs


async def test_a_refiner_that_cannot_merge_refines_the_better_one() -> None:
    """Then the node has one parent."""
    table = TableRoles({"s": 2})
    tree = await shape_of(table, "merge", rooted=False, budget=4)
    assert table.refined == ["sa"]
    assert (tree.nodes[2].parent, tree.nodes[2].second_parent) == (1, None)


async def test_the_model_reads_both_responses_and_critiques() -> None:
    """The judge's conversation of the better one is the prefix, as for any refinement."""
    engine = DelayedEngine(World(yes=0.0), 0)
    tree = await run_search(
        make_prompt(), real_roles(engine), make_settings("merge", budget=Budget(4))
    )
    merged = next(node for node in tree.nodes if node.second_parent is not None)
    (request,) = [r for r in engine.requests if kind_of(r) == "refine"]
    first, second = tree.nodes[merged.parent or 0], tree.nodes[merged.second_parent or 0]
    assert first.response in request.messages[0].content
    assert request.messages[1].content == (first.judgement and first.judgement.critique)
    assert second.response in request.messages[2].content
    assert "- the wording: not met." in request.messages[2].content


async def test_mcts_descends_to_the_best_value() -> None:
    """Two drafts; the better one is refined first, and what comes of it counts for all nodes above."""
    table = TableRoles({"s": 2})
    tree = await shape_of(
        table, "mcts", rooted=False, branching=2, budget=6, options={"exploration": 0.0}
    )
    assert table.drafted == ["r", "s"]
    assert table.refined == ["sa", "sb", "saa", "sab"]
    assert tree.nodes[2].statistics == {"visits": 1, "value": pytest.approx(2.5 / 6)}


async def test_mcts_tries_what_was_seldom_visited() -> None:
    """With a large weight of exploration the other draft is refined, too."""
    table = TableRoles({"s": 2})
    await shape_of(table, "mcts", rooted=False, branching=2, budget=8, options={"exploration": 9.0})
    assert table.refined[:4] == ["sa", "sb", "ra", "rb"]


@pytest.mark.parametrize("posterior", ["beta", "gaussian"])
async def test_ab_mcts_goes_where_the_votes_are(posterior: str) -> None:
    """More nodes are made below a draft if it and what comes of it get votes than if they do not."""
    below = []
    for num_yes in (0, 2):
        table = TableRoles(dict.fromkeys(descendants("r", 4), num_yes))
        tree = await shape_of(
            table, "ab-mcts", rooted=False, budget=40, options={"posterior": posterior}
        )
        below.append(sum(node.response.startswith("r") for node in tree.nodes))
        assert {node.statistics["arm"] for node in tree.nodes} == {"draft", "refine"}
    assert below[1] > below[0] + 5


@pytest.mark.parametrize("posterior", ["beta", "gaussian"])
def test_a_childs_own_score_may_count_where_it_is_descended_into(posterior: str) -> None:
    """TreeQuest's rule: of three drafts that nothing was made of, the one with votes is entered most."""
    shares = []
    for own_score in (False, True):
        options = ABMCTSOptions.model_validate({"posterior": posterior, "own_score": own_score})
        tree = _Tree(random.Random(0), options)
        for number, num_yes in enumerate((0, 2, 0)):
            tree.add(None, make_root(num_yes=num_yes, node_id=number))
        entered = Counter(tree._best_child(range(3)) for _ in range(2000))
        shares.append(entered[1] / 2000)
    assert shares[0] == pytest.approx(1 / 3, abs=0.04) and shares[1] > 0.5


def test_the_gaussian_posterior_is_that_of_all_observations() -> None:
    """Updated one by one as the closed form of a normal-inverse-gamma with all of them at once."""
    values = [0.1, 0.5, 0.4]
    posterior = GaussianPosterior()
    for value in values:
        posterior.observe(0, 0, value)
    average = sum(values) / 3
    spread = sum((value - average) ** 2 for value in values)
    assert posterior.mean == pytest.approx(3 * average / 4)
    assert (posterior.kappa, posterior.nu) == (4, 4)
    expected = (0.1 + spread + 3 * average**2 / 4) / 4
    assert posterior.tau_squared == pytest.approx(expected)


async def test_ab_mcts_drafts_anew_below_bad_drafts() -> None:
    """Where nothing ever gets a vote, both arms go on being used."""
    tree = await shape_of(TableRoles(), "ab-mcts", rooted=False, budget=10)
    assert 1 < sum(node.parent is None for node in tree.nodes) < 10


async def test_ab_mcts_draws_by_the_prompt() -> None:
    """The same prompt and seed give the same tree, another seed or prompt another one."""
    shapes = []
    for seed, prompt_id in ((0, "p"), (0, "p"), (1, "p"), (0, "q")):
        settings = make_settings("ab-mcts", seed=seed, budget=Budget(15))
        prompt = make_prompt(prompt_id=prompt_id)
        tree = await run_search(prompt, TableRoles().roles, settings)
        shapes.append([node.parent for node in tree.nodes])
    assert shapes[0] == shapes[1]
    assert shapes[0] not in shapes[2:]


async def test_greedy_is_one_call() -> None:
    """One draft, no vote, one node."""
    engine = DelayedEngine(World(), 0)
    tree = await run_search(make_prompt(), real_roles(engine), make_settings("greedy"))
    assert [kind_of(request) for request in engine.requests] == ["draft"]
    assert engine.requests[0].sampling.temperature == 0
    assert (len(tree.nodes), tree.nodes[0].judgement, tree.stop) == (1, None, "exhausted")


def test_the_table_lists_what_is_tested_by_hand() -> None:
    """A strategy that joins the table wants its own hand-worked tree here."""
    assert set(STRATEGIES) == {
        *("greedy", "best-of-n", "iterative", "bfs", "dfs"),
        *("best-first", "beam", "merge", "mcts", "ab-mcts"),
    }


async def test_a_wave_that_the_budget_cut_ends_the_tree_as_budget() -> None:
    """BFS with its own draft wants 16 responses; at 15 the budget bound, at 16 nothing is left."""
    stops = []
    for budget in (15, 16):
        tree = await shape_of(TableRoles(), "bfs", rooted=False, budget=budget)
        stops.append(tree.stop)
    assert stops == ["budget", "exhausted"]


@pytest.mark.parametrize("value", [None, float("nan"), [1]])
def test_statistics_that_no_record_holds_are_refused(value: object) -> None:
    """A list, nothing, or a number that is none would not come back from the file."""
    with pytest.raises(UsageError, match="statistic 'x' of an Expand is"):
        Expand(None, 1, statistics={"x": value})  # type: ignore[dict-item]  # the mistake


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((None, -10), "n of an Expand is -10"),
        ((None, 2.0), r"n of an Expand is 2\.0; expected a whole number"),
        ((None, None), "n of an Expand is None"),
        ((make_root(), 1), r"parent of an Expand is a Node; .* such as node\.id"),
        ((0, 1, True, "1"), "second_parent of an Expand is '1'"),
    ],
)
def test_ids_and_numbers_that_are_none_are_refused(arguments: tuple[Any, ...], words: str) -> None:
    """Fewer than no children would add to the budget; a node is not its id."""
    with pytest.raises(UsageError, match=words):
        Expand(*arguments)


def test_numbers_of_numpy_are_taken() -> None:
    """A strategy that draws with NumPy is given its integers, which the record of a node does not take."""
    numpy = pytest.importorskip("numpy")
    expand = Expand(numpy.int64(3), numpy.int32(2), second_parent=numpy.int64(0))
    assert expand == Expand(3, 2, second_parent=0)
    assert {type(expand.parent), type(expand.n), type(expand.second_parent)} == {int}
