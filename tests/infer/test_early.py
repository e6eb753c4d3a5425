"""Early refining: the same trees, sooner; every call in the record, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.infer.engine import Completion, Engine, Request
from spar.infer.engine_wrappers import EngineWrapper, InstrumentedEngine, free_requests
from spar.infer.engines.fake import FakeEngine, Reply
from spar.infer.replay import replay
from spar.infer.reporting import EarlyJudge
from spar.infer.roles import AttemptFailed
from spar.infer.search import Budget, SearchSettings, StopRule, run_search
from spar.infer.strategy import Expand, Plan, SearchConfig
from spar.infer.votes import Forecast, Vote, VoteRule
from spar.types import Judgement, Node, SearchTree
from tests.fakes import (
    MUTE,
    NO,
    YES,
    DelayedEngine,
    World,
    kind_of,
    make_prompt,
    make_settings,
    real_roles,
    refined,
    timeless,
)
from tests.strategies import searches, worlds

CERTAIN: tuple[VoteRule, ...] = ("full", "majority", "posterior")
"""Rules whose judgement does not depend on which vote is fast."""
orders = st.integers(0, 99)


def bare(tree: SearchTree) -> SearchTree:
    """The tree without clock readings and the cost of what was started in vain."""
    return timeless(tree).model_copy(update={"cancelled_usage": {}})


@given(
    worlds,
    searches(),
    st.sampled_from(CERTAIN),
    st.sampled_from([1, 4, 5, 7]),
    orders,
    st.sampled_from([0.3, 0.5, 0.8]),
)
async def test_early_refining_changes_no_tree(
    world: World, settings: SearchSettings, rule: VoteRule, votes: int, order: int, threshold: float
) -> None:
    """Whatever comes first, nodes, faults, answer and stop are those of a search that waits for each wave."""
    seed = settings.seed or 0
    trees = []
    for early in ("off", "auto"):
        roles = real_roles(DelayedEngine(world, order), votes=votes, vote_rule=rule)
        chosen = replace(settings, early_refine=early, seed=seed, threshold=threshold)
        trees.append(await run_search(make_prompt(), roles, chosen))
    assert bare(trees[0]) == bare(trees[1])
    assert await replay(trees[1], chosen) is not None
    assert timeless(await replay(trees[1], chosen) or trees[0]) == timeless(trees[1])


@given(
    worlds,
    searches(),
    st.sampled_from([*CERTAIN, "race"]),
    st.sampled_from(get_args(StopRule)),
    orders,
)
async def test_every_early_call_is_in_the_record(
    world: World, settings: SearchSettings, rule: VoteRule, stop_rule: StopRule, order: int
) -> None:
    """Replies of no use are counted with their tokens, requests that were cut off as aborted; no task is left."""
    engine = DelayedEngine(world, order)
    settings = replace(settings, early_refine="auto", stop_rule=stop_rule)
    tree = await run_search(make_prompt(), real_roles(engine, vote_rule=rule), settings)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    usage = tree.usage
    assert usage.calls <= len(engine.requests) <= usage.calls + usage.aborted_calls
    assert len(tree.nodes) <= settings.budget.responses


class HeldVotes(FakeEngine):
    """Answers only the first `free` votes before a refinement has been requested."""

    def __init__(self, reply: Reply, free: int) -> None:
        super().__init__(reply)
        self.free = free
        self.refining = asyncio.Event()
        self.num_votes = 0

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order."""
        kinds = [kind_of(request) for request in requests]
        if "refine" in kinds:
            self.refining.set()
        self.num_votes += kinds.count("judge")
        if self.num_votes > self.free:
            await self.refining.wait()
        return await super().generate(requests)


def failing(request: Request) -> str:
    """A world in which no response passes."""
    if kind_of(request) == "judge":
        return NO
    return refined(f"answer {request.sampling.seed}", kind_of(request))


@pytest.mark.parametrize("early", ["off", "auto"])
async def test_refining_starts_on_the_first_no(early: str) -> None:
    """The refinements are requested while a vote on the draft is still out; without early refining they wait for it."""
    settings = make_settings("bfs", early_refine=early)
    search = run_search(make_prompt(), real_roles(HeldVotes(failing, 4)), settings)
    if early == "auto":
        assert len((await asyncio.wait_for(search, 5)).nodes) == 15
    else:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(search, 0.05)


async def test_a_strategy_that_fails_over_children_to_come_is_asked_no_further() -> None:
    """It may count on all that it asked for; only what its real plan raises is an error."""

    def two_chains(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
        first, second = roots or (yield [Expand(None, 2)])
        for _ in range(config.depth):
            first, second = yield [Expand(first.id, 1), Expand(second.id, 1)]

    trees, reported = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    for early in ("off", "auto"):
        settings = make_settings("bfs", strategy=two_chains, early_refine=early)
        roles = real_roles(DelayedEngine(failing, 3))
        trees.append(bare(await run_search(make_prompt(), roles, settings)))
    assert len(trees[0].nodes) > 4 and trees[1] == trees[0]
    assert not reported


async def test_what_was_refined_early_and_fails_to_be_asked_for_is_counted() -> None:
    """A first No that four Yes outvote: its refinements are no part of the tree, and their cost is."""

    def reply(request: Request) -> str:
        if kind_of(request) == "judge":
            votes.append(request.sampling.seed)
            return NO if len(votes) == 1 else YES
        return refined("answer", kind_of(request))

    votes: list[int | None] = []
    engine = HeldVotes(reply, 1)
    settings = make_settings("bfs", early_refine="auto")
    tree = await asyncio.wait_for(run_search(make_prompt(), real_roles(engine), settings), 5)
    assert (tree.stop, len(tree.nodes)) == ("solved", 1)
    spent = tree.cancelled_usage["refiner"]
    assert spent.calls + spent.aborted_calls == 3
    assert tree.usage.calls + tree.usage.aborted_calls == len(engine.requests)


class FullEngine(EngineWrapper):
    """Has room for so many requests."""

    @property
    def capacity(self) -> int:
        """Two, of which early refining may use one."""
        return 2


@pytest.mark.parametrize(
    ("engine", "settings", "starts"),
    [
        (InstrumentedEngine, {}, True),
        (lambda inner: InstrumentedEngine(FullEngine(inner)), {}, False),
        (FullEngine, {}, False),  # its requests are not counted
        (lambda inner: inner, {"budget": Budget(15, calls=80)}, False),
        (lambda inner: inner, {"budget": Budget(15, tokens=9999)}, False),
        (lambda inner: inner, {"budget": Budget(257)}, False),
    ],
)
async def test_nothing_starts_early_without_room_or_with_a_limit_of_calls(
    engine: type[EngineWrapper], settings: dict[str, object], starts: bool
) -> None:
    """Every request is then one that the search asked for."""
    inner: Engine = DelayedEngine(World(yes=0.3), 3)
    chosen = make_settings("bfs", early_refine="auto", **settings)
    tree = await run_search(make_prompt(), real_roles(engine(inner)), chosen)
    assert len(tree.nodes) == 10
    assert bool(tree.cancelled_usage) == starts


@pytest.mark.parametrize(
    ("letters", "calls"), [("nnnyy", 3), ("ynnny", 4), ("yynnn", 5), ("y-nnn", 5)]
)
async def test_race_sends_as_many_votes_as_may_decide_where_the_engine_is_full(
    letters: str, calls: int
) -> None:
    """Three first, and another only when those under way cannot make a majority any more; the rest is skipped."""
    verdicts = {"y": YES, "n": NO, "-": MUTE}
    votes = iter(letters)
    fake = FakeEngine(lambda _: verdicts[next(votes)])
    engine = InstrumentedEngine(FullEngine(fake))
    judge = real_roles(engine, vote_rule="race").judge
    judgement, usage = await judge.judge(make_prompt(), "r", lambda _: 1)
    assert len(fake.requests) == len(judgement.verdicts) == usage.calls == calls
    assert usage.skipped_calls == 5 - calls
    assert not judgement.passed(0.5)


@given(
    worlds,
    st.sampled_from([*CERTAIN, "race"]),
    st.integers(1, 7),
    orders,
)
async def test_a_failing_judgement_has_the_critique_that_was_reported(
    world: World, rule: VoteRule, votes: int, order: int
) -> None:
    """Whichever votes are fast, the last judgement to expect has the critique of the one that comes, also in a later round."""
    judge = real_roles(DelayedEngine(world, order), votes=votes, vote_rule=rule).judge
    reports: list[Judgement | None] = []
    assert isinstance(judge, EarlyJudge)
    try:
        judgement, _ = await judge.judge_early(make_prompt(), "r", lambda n: n, reports.append)
    except AttemptFailed:
        return
    if judgement.passed(0.5):
        assert reports[-1] is None
    else:
        assert reports[-1] is not None
        assert reports[-1].critique == judgement.critique


async def test_free_requests_are_those_not_in_flight() -> None:
    """Capacity less the requests in flight; any number without a limit, none where they are not counted."""
    fake = FakeEngine(failing)
    full = FullEngine(fake)
    counted = InstrumentedEngine(full, in_flight=1)
    assert free_requests(fake) == free_requests(InstrumentedEngine(fake)) == float("inf")
    assert (free_requests(full), free_requests(EngineWrapper(counted))) == (0, 1)
    assert free_requests(counted, 0.5) == 0


@pytest.mark.parametrize(
    ("rule", "arrivals", "verdicts", "critique"),
    [
        ("full", "1n", None, None),  # the vote at 0 may still be the critique
        ("full", "0n", (False,) * 5, "0"),
        ("full", "3y 0n", (False, False, False, True, False), "0"),
        ("full", "1n 0y", (True, False, False, False, False), "1"),
        ("full", "0n 1y 2y 3y", None, None),
        ("majority", "0n", (False,) * 3, "0"),
        ("majority", "0n 1y", (False, True, False, False, False), "0"),
        ("majority", "0- 1n", (None, False, False, False, False), "1"),
        ("posterior", "0n 1y", (False, True, False, False), "0"),
        ("race", "3n", (False,) * 3, "3"),
        ("race", "3y 1n", (True, False, False, False), "1"),
        ("race", "4n 0n", (False,) * 3, "4"),
    ],
)
def test_the_judgement_to_expect(
    rule: VoteRule, arrivals: str, verdicts: tuple[bool, ...] | None, critique: str | None
) -> None:
    """The votes that are in, the rest No, as many as the rule would cast; the critique is the one that will be chosen."""
    reports: list[Judgement | None] = [None]
    forecast = Forecast(rule, 5, reports.append)
    for arrival in arrivals.split():
        place, letter = arrival[0], arrival[1]
        verdict = {"y": True, "n": False, "-": None}[letter]
        forecast.add(int(place), Vote(place, verdict))
    expected = reports[-1]
    assert (expected and expected.verdicts) == verdicts
    assert (expected and expected.critique) == critique
