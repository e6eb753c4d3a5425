"""The driver: budgets and caps, order, seeds, duplicates, faults."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from spar.errors import PromptTooLong
from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine
from spar.infer.roles import AttemptFailed, Generation, Seeds, refine_messages
from spar.infer.search import Budget, SearchSettings, run_search
from spar.infer.strategy import UNLIMITED, Expand, Plan, SearchConfig
from spar.templates import load
from spar.types import Finding, Judgement, Node, Prompt, SearchTree, Usage
from tests.fakes import (
    MUTE,
    NO,
    YES,
    DelayedEngine,
    TableRoles,
    World,
    kind_of,
    make_prompt,
    make_root,
    make_settings,
    real_roles,
    refined,
)


def one_wave(*expands: Expand) -> SearchSettings:
    """A search of a single wave."""

    def strategy(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
        yield list(expands)

    return SearchSettings(strategy, "one-wave")


class GivingUp(TableRoles):
    """Refines all but `r`, at which no further attempt would do better."""

    async def refine(self, prompt: Prompt, parent: Node, seeds: Seeds) -> Generation:
        """As the table, or a final fault without a cost."""
        if parent.response == "r":
            raise AttemptFailed("no program can fix it", "", Usage(), is_final=True)
        return await TableRoles.refine(self, prompt, parent, seeds)


async def test_a_wave_is_clipped_to_the_budget() -> None:
    """What the budget leaves goes to the wave's first children."""
    table = TableRoles()
    settings = one_wave(Expand(0, 2), Expand(1, 2), Expand(2, UNLIMITED))
    roots = [make_root("r"), make_root("s", node_id=1), make_root("t", node_id=2)]
    settings = replace(settings, budget=Budget(3))
    await run_search(make_prompt(), table.roles, settings, roots=roots)
    assert table.refined == ["ra", "rb", "sa"]


@pytest.mark.parametrize(
    ("budget", "stop", "refined"),
    [
        (1, "budget", []),
        (2, "budget", ["sa"]),
        (3, "exhausted", ["sa", "sb"]),
        (4, "exhausted", ["sa", "sb"]),
        (9, "exhausted", ["sa", "sb"]),
    ],
)
async def test_what_an_attempt_gives_back_goes_to_the_rest_of_its_wave(
    budget: int, stop: str, refined: list[str]
) -> None:
    """A refiner that gives up on a node says so once; the budget had cut off the wave's other node."""
    table = GivingUp()
    settings = replace(one_wave(Expand(0, 3), Expand(1, 2)), budget=Budget(budget))
    roots = [make_root("r"), make_root("s", node_id=1)]
    tree = await run_search(make_prompt(), table.roles, settings, roots=roots)
    assert [node.response for node in tree.nodes[2:]] == refined
    assert (len(tree.faults), tree.stop) == (1, stop)


async def test_the_answer_passes_where_a_node_does() -> None:
    """With several questions a node that fails one of them may have the higher mean score."""

    class Judge(TableRoles):
        async def judge(
            self, prompt: Prompt, response: str, seeds: Seeds
        ) -> tuple[Judgement, Usage]:
            shares = (1.0, 1.0, 0.4) if response == "r" else (0.6, 0.6, 0.6)
            found = tuple(
                Finding(type="list", constraint=str(share), met=share > 0.5, share=share)
                for share in shares
            )
            return Judgement(verdicts=(), critique="", findings=found), Usage()

    table = Judge()
    tree = await run_search(make_prompt(), table.roles, make_settings("iterative"))
    draft, refined = tree.nodes
    assert draft.score > refined.score and tree.stop == "solved" and tree.answer == "ra"


async def test_a_fault_costs_one_attempt() -> None:
    """Failed attempts are of the budget, as responses are."""
    table = TableRoles(broken=("ra", "rb"))
    settings = make_settings("iterative", budget=Budget(4))
    tree = await run_search(make_prompt(), table.roles, settings, roots=[make_root()])
    assert table.refined == ["ra", "rb", "rc", "rca"]
    assert (len(tree.nodes), len(tree.faults), tree.stop) == (3, 2, "budget")
    assert [(fault.stage, fault.parent, fault.text) for fault in tree.faults] == [
        ("refine", 0, "ra"),
        ("refine", 0, "rb"),
    ]


async def test_a_wave_is_judged_whole() -> None:
    """Though the first child passes, its siblings are judged, and the best of them answers."""
    table = TableRoles({"ra": 3, "rc": 5})
    tree = await run_search(make_prompt(), table.roles, make_settings("bfs"), roots=[make_root()])
    assert table.judged == ["ra", "rb", "rc"]
    assert (tree.stop, tree.answer) == ("solved", "rc")


async def test_a_given_root_that_passes_ends_the_search() -> None:
    """Nothing is spent on a response that is good already."""
    table = TableRoles()
    roots = [make_root(num_yes=3)]
    tree = await run_search(make_prompt(), table.roles, make_settings("bfs"), roots=roots)
    assert (tree.stop, tree.selected, table.refined) == ("solved", 0, [])


@pytest.mark.parametrize(
    ("budget", "num_nodes"),
    [
        (Budget(15, calls=1), 1),
        (Budget(15, calls=6), 1),
        (Budget(15, calls=7), 2),
        (Budget(15, tokens=1), 1),
        (Budget(15, tokens=10**6), 15),
        (Budget(15, seconds=1e-9), 0),
    ],
)
async def test_caps_are_tested_before_each_wave(budget: Budget, num_nodes: int) -> None:
    """A wave that was started is finished; none is started once a cap is reached."""
    engine = DelayedEngine(World(yes=0), 0)
    settings = make_settings("iterative", budget=budget)
    tree = await run_search(make_prompt(), real_roles(engine), settings)
    assert (len(tree.nodes), tree.stop) == (num_nodes, "budget")


async def test_a_wave_costs_the_same_however_many_nodes_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was spent and whether a node passes is remembered: twice as many waves add up and compare twice as often."""
    counts: Counter[str] = Counter()
    add, passed = Usage.__add__, Judgement.passed

    def counted_add(one: Usage, other: Usage) -> Usage:
        counts["add"] += 1
        return add(one, other)

    def counted_passed(judgement: Judgement, gate: float) -> bool:
        counts["passed"] += 1
        return passed(judgement, gate)

    monkeypatch.setattr(Usage, "__add__", counted_add)
    monkeypatch.setattr(Judgement, "passed", counted_passed)
    totals = []
    for responses in (20, 40):
        counts.clear()
        settings = make_settings("iterative", budget=Budget(responses, calls=10**6))
        tree = await run_search(make_prompt(), TableRoles().roles, settings, roots=[make_root()])
        assert len(tree.nodes) == 1 + responses
        totals.append(counts.total())
    assert totals[1] < 2.5 * totals[0]


async def test_a_given_root_is_free_of_every_cap() -> None:
    """What a root cost before the search is not held against it."""
    table = TableRoles()
    settings = make_settings("iterative", budget=Budget(2, calls=10))
    roots = [make_root(calls=100)]
    tree = await run_search(make_prompt(), table.roles, settings, roots=roots)
    assert table.refined == ["ra", "raa"]
    assert tree.nodes[0] == roots[0]


async def test_seeds_follow_from_positions() -> None:
    """Every request of a search has its own seed, but for identical responses' shared votes."""
    engine = DelayedEngine(World(yes=0, mute=0.4, broken=0.3), 0)
    await run_search(make_prompt(), real_roles(engine), make_settings("bfs"))
    seeds = [request.sampling.seed for request in engine.requests]
    assert None not in seeds
    assert len(set(seeds)) == len(seeds) > 50


@pytest.mark.parametrize("change", ["seed", "prompt"])
async def test_another_run_has_other_seeds(change: str) -> None:
    """The run's seed and the prompt's id are part of every position."""
    settings = make_settings("best-of-n")
    other = replace(settings, seed=1) if change == "seed" else settings
    other_id = "q" if change == "prompt" else "p"
    one = await run_search(make_prompt(), TableRoles().roles, settings)
    two = await run_search(make_prompt(prompt_id=other_id), TableRoles().roles, other)
    assert not {n.seed for n in one.nodes} & {n.seed for n in two.nodes}


async def test_an_unseeded_run_stays_unseeded() -> None:
    """Where the run has no seed, no request and no node has one."""
    engine = DelayedEngine(World(broken=0.3), 0)
    tree = await run_search(make_prompt(), real_roles(engine), make_settings("bfs", seed=None))
    assert {request.sampling.seed for request in engine.requests} == {None}
    assert {node.seed for node in tree.nodes} == {None}


async def test_identical_responses_are_judged_once() -> None:
    """They share one judgement, and the first of them in the record pays for it."""
    engine = DelayedEngine(World(yes=0, variety=1), 3)
    tree = await run_search(make_prompt(), real_roles(engine), make_settings("bfs"))
    assert [kind_of(request) for request in engine.requests].count("judge") == 5
    assert [node.usage.calls for node in tree.nodes] == [6] + [1] * 14
    assert len({node.judgement.critique for node in tree.nodes if node.judgement}) == 1


async def test_a_copy_of_a_given_root_is_not_judged_again() -> None:
    """A refinement that changed nothing has its root's judgement."""
    engine = FakeEngine(lambda r: YES if kind_of(r) == "judge" else refined("r"))
    settings = make_settings("iterative", budget=Budget(2))
    roots = [make_root("r", num_yes=1)]
    tree = await run_search(make_prompt(), real_roles(engine), settings, roots=roots)
    assert [kind_of(request) for request in engine.requests] == ["refine", "refine"]
    assert [node.score for node in tree.nodes] == [0.2, 0.2, 0.2]


def reply_by_kind(**replies: str) -> FakeEngine:
    """An engine that says one thing to each role."""
    return FakeEngine(lambda request: replies[kind_of(request)])


async def bfs(engine: FakeEngine, budget: int = 2, *, rooted: bool = True) -> SearchTree:
    """A BFS over real roles."""
    settings = make_settings("bfs", budget=Budget(budget), shape=SearchConfig(branching=1))
    roots = [make_root()] if rooted else []
    return await run_search(make_prompt(), real_roles(engine), settings, roots=roots)


async def test_an_unparsable_refinement_is_tried_three_times() -> None:
    """Then it is one fault, with the text and the cost of all three, and one attempt."""
    engine = reply_by_kind(refine="Final Refined Output:\n[[start]]\ncut o", judge=NO)
    tree = await bfs(engine)
    (fault,) = tree.faults
    assert (fault.stage, fault.parent, fault.usage.calls) == ("refine", 0, 3)
    assert "[[end]]" in fault.reason
    assert fault.text.endswith("cut o")
    assert len({request.sampling.seed for request in engine.requests}) == 3
    assert tree.stop == "exhausted"


async def test_a_refinement_that_is_never_decided_is_dropped() -> None:
    """Three rounds of votes, then a fault with the whole cost; no node."""
    engine = reply_by_kind(refine=refined("new"), judge=MUTE)
    tree = await bfs(engine)
    (fault,) = tree.faults
    assert (fault.stage, fault.parent, fault.text) == ("judge", 0, MUTE)
    assert fault.usage.calls == 1 + 15
    assert [node.response for node in tree.nodes] == ["r"]


async def test_a_draft_that_is_never_decided_still_answers() -> None:
    """It stays as an unjudged node beside its fault, and is not refined."""
    engine = reply_by_kind(draft="draft", judge=MUTE)
    tree = await bfs(engine, rooted=False)
    assert [(node.response, node.judgement) for node in tree.nodes] == [("draft", None)] * 2
    assert [fault.stage for fault in tree.faults] == ["judge", "judge"]
    assert (tree.answer, tree.selected, tree.stop) == ("draft", 0, "budget")
    assert tree.usage.calls == len(engine.requests) == 2 + 15


async def test_an_empty_draft_is_a_fault() -> None:
    """Blank text answers nothing."""
    tree = await bfs(reply_by_kind(draft=" \n\t ", judge=YES), rooted=False)
    assert tree.nodes == ()
    assert [(f.stage, f.parent, f.usage.calls) for f in tree.faults] == [("draft", None, 1)] * 2
    assert (tree.selected, tree.answer) == (None, None)


@pytest.mark.parametrize("stage", ["draft", "judge", "refine"])
async def test_a_prompt_that_is_too_long_is_a_fault(stage: str) -> None:
    """It costs the attempt and names itself; the run goes on."""

    def reply(request: Request) -> str:
        if kind_of(request) == stage:
            raise PromptTooLong("the prompt has 9 tokens")
        return NO if kind_of(request) == "judge" else refined("new", kind_of(request))

    tree = await bfs(FakeEngine(reply), rooted=stage != "draft")
    assert {(fault.stage, fault.reason) for fault in tree.faults} == {
        (stage, "the prompt has 9 tokens")
    }


async def test_the_refine_conversation_extends_the_judges() -> None:
    """Same first turn, then the stored critique, then the fixed request: one prefix for the cache."""
    engine = reply_by_kind(draft="a draft with [[start]]", judge=NO, refine=refined("new"))
    tree = await bfs(engine, rooted=False)
    judge = next(r for r in engine.requests if kind_of(r) == "judge")
    refine = next(r for r in engine.requests if kind_of(r) == "refine")
    assert refine.messages[:1] == judge.messages
    assert [message.role for message in refine.messages] == ["user", "assistant", "user"]
    assert refine.messages[1].content == NO
    assert refine.messages[2].content == load().refine
    assert refine.messages == refine_messages(load(), make_prompt(), tree.nodes[0])


async def test_observers_hear_of_each_node_in_order() -> None:
    """Every new node is reported once, as it stands in the record; a given root is not news."""
    heard: list[Node] = []
    tree = await run_search(
        make_prompt(),
        TableRoles(broken=("ra",)).roles,
        make_settings("bfs"),
        roots=[make_root()],
        on_node=heard.append,
    )
    assert tuple(heard) == tree.nodes[1:]
    assert len(heard) > 5
